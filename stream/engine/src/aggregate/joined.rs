//! The events of two streams.

use serde::{Deserialize, Serialize};

use super::Aggregate;

/// The merged events of a key in each of two streams; none for a stream without events of the key.
/// Rows of a [join](crate::Windowed::join) contain it.
///
/// ```
/// use stream::{Aggregate, Count, Joined, Sum};
///
/// let mut joined = Joined::of_left(Count(1));
/// assert_eq!(joined.both(), None);
///
/// joined.merge(&Joined::of_right(Sum(5)));
/// joined.merge(&Joined::of_left(Count(1)));
/// assert_eq!(joined.both(), Some((&Count(2), &Sum(5))));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Joined<A, B> {
    /// The events of the left stream.
    pub left: Option<A>,
    /// The events of the right stream.
    pub right: Option<B>,
}

impl<A, B> Joined<A, B> {
    /// Creates the value of events of the left stream.
    pub fn of_left(left: A) -> Self {
        Self {
            left: Some(left),
            right: None,
        }
    }

    /// Creates the value of events of the right stream.
    pub fn of_right(right: B) -> Self {
        Self {
            left: None,
            right: Some(right),
        }
    }

    /// Returns the events of both streams, if both have some.
    pub fn both(&self) -> Option<(&A, &B)> {
        self.left.as_ref().zip(self.right.as_ref())
    }
}

impl<A: Aggregate, B: Aggregate> Aggregate for Joined<A, B> {
    fn merge(&mut self, other: &Self) {
        merge(&mut self.left, other.left.as_ref());
        merge(&mut self.right, other.right.as_ref());
    }

    fn signature() -> String {
        format!("joined ({}, {})", A::signature(), B::signature())
    }

    fn earlier_signatures() -> Vec<String> {
        let pairs = <(A, B)>::earlier_signatures().into_iter();
        pairs.map(|pair| format!("joined {pair}")).collect()
    }
}

fn merge<A: Aggregate>(into: &mut Option<A>, other: Option<&A>) {
    match (into, other) {
        (Some(own), Some(other)) => own.merge(other),
        (none, Some(other)) => *none = Some(other.clone()),
        (_, None) => {}
    }
}
