//! The aggregates of a key's events: commutative monoids.
//!
//! Aggregates merge to the same result in any order and grouping. That is all an aggregate needs to
//! be folded in its pane, sent between workers, checkpointed, restored and combined into windows.
//! Tuples of aggregates are aggregates. `tests/it/aggregates.rs` tests these laws for each kind
//! defined here.

mod distinct;
mod joined;
mod sessions;
mod to_aggregates;
mod top;

use std::fmt::Debug;
use std::hash::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use distinct::{Distinct, DistinctExact};
pub use joined::Joined;
pub use sessions::{Session, Sessions};
pub use to_aggregates::ToAggregates;
pub use top::{Tally, Top};

/// Plain data in a total order, of which aggregates and keys consist. Implemented for every type
/// that meets the bounds.
pub trait Value:
    Clone + Debug + Ord + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<V: Clone + Debug + Ord + Serialize + DeserializeOwned + Send + Sync + 'static> Value for V {}

/// A summary of some events that can be merged with a summary of others.
///
/// `merge` must be associative and commutative: records reach a window in any order and grouping.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use stream::{Aggregate, Count, Max, Min, Sum, Tally, Value};
///
/// /// The parity of a number of events.
/// #[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
/// struct Parity(bool);
///
/// impl Aggregate for Parity {
///     fn merge(&mut self, other: &Self) {
///         self.0 ^= other.0;
///     }
/// }
///
/// fn merged<A: Aggregate>(parts: impl IntoIterator<Item = A>) -> A {
///     let whole = parts.into_iter().reduce(|mut all, part| {
///         all.merge(&part);
///         all
///     });
///     whole.expect("there are parts")
/// }
///
/// assert_eq!(merged([Parity(true), Parity(true), Parity(true)]), Parity(true));
/// assert_eq!(merged([(Sum(3), Min(3)), (Sum(4), Min(4))]), (Sum(7), Min(3)));
/// assert_eq!(merged([(Count(1), Max("a")), (Count(1), Max("b"))].map(owned)), (Count(2), Max("b".to_owned())));
/// assert_eq!(merged(["b", "a", "b"].map(|word| Tally::of(word.to_owned(), 1))).most_frequent(1), [(&"b".to_owned(), 2)]);
///
/// fn owned((count, Max(word)): (Count, Max<&str>)) -> (Count, Max<String>) {
///     (count, Max(word.to_owned()))
/// }
/// fn is_plain_data<V: Value>() {}
/// is_plain_data::<(u64, Max<String>)>();
/// ```
pub trait Aggregate: Value {
    /// Adds the events of `other`.
    fn merge(&mut self, other: &Self);

    /// Returns the name of the kind of aggregate in checkpoints. A job does not continue from a
    /// checkpoint of another kind. The name must change when the encoding or the meaning changes.
    /// It must stay when the type is only renamed: override this function then.
    fn signature() -> String {
        name_of::<Self>()
    }

    /// Returns the names of the earlier kinds whose encoding this kind reads, too. A job continues
    /// from a checkpoint of one of them.
    fn earlier_signatures() -> Vec<String> {
        Vec::new()
    }
}

/// Returns whether a key with an aggregate has a row in a window. An aggregate that has one keeps it
/// when others are merged into it.
pub type IsRow<A> = fn(&A) -> bool;

/// A key by which events are grouped.
///
/// `stable_hash` determines the sink slot that commits a key's results. It must never change while
/// a checkpoint exists.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use stream::{DistinctExact, Key, hash_bytes};
///
/// #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
/// struct Country(String);
///
/// impl Key for Country {
///     fn stable_hash(&self) -> u64 {
///         hash_bytes(self.0.as_bytes())
///     }
/// }
///
/// let countries = DistinctExact::of(Country("NL".to_owned()));
/// assert_eq!(countries.0.len(), 1);
/// ```
pub trait Key: Value + Hash {
    /// Returns a well-mixed hash that is the same in every process and version.
    fn stable_hash(&self) -> u64;

    /// Returns the name of the kind of key in checkpoints, like [`Aggregate::signature`].
    fn signature() -> String {
        name_of::<Self>()
    }
}

/// Returns the name of a type without its paths.
pub(crate) fn name_of<T>() -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut name = String::new();
    let mut rest = std::any::type_name::<T>();

    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length.max(first.len_utf8()));
        name.push_str(word.rsplit("::").next().unwrap_or(word));
        rest = after;
    }

    name
}

/// Returns the names of all kinds whose encoding `A` reads: its own, then the earlier ones.
fn signatures<A: Aggregate>() -> Vec<String> {
    let mut all = vec![A::signature()];
    all.extend(A::earlier_signatures());
    all
}

/// The number of events.
///
/// ```
/// use stream::{Aggregate, Count};
/// let mut count = Count(2);
/// count.merge(&Count(3));
/// assert_eq!(count, Count(5));
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Count(pub u64);

/// The sum of a number; it saturates at the largest number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Sum(pub u64);

/// The least of the values.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Min<V>(pub V);

/// The greatest of the values.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Max<V>(pub V);

/// Nothing: the rows of a window are its distinct keys.
impl Aggregate for () {
    fn merge(&mut self, _: &Self) {}

    fn signature() -> String {
        "nothing".to_owned()
    }
}

impl Aggregate for Count {
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn signature() -> String {
        "count".to_owned()
    }
}

impl Aggregate for Sum {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    fn signature() -> String {
        "sum".to_owned()
    }
}

impl<V: Value> Aggregate for Min<V> {
    fn merge(&mut self, other: &Self) {
        if other.0 < self.0 {
            self.0.clone_from(&other.0);
        }
    }

    fn signature() -> String {
        format!("min {}", name_of::<V>())
    }
}

impl<V: Value> Aggregate for Max<V> {
    fn merge(&mut self, other: &Self) {
        if other.0 > self.0 {
            self.0.clone_from(&other.0);
        }
    }

    fn signature() -> String {
        format!("max {}", name_of::<V>())
    }
}

impl<A: Aggregate, B: Aggregate> Aggregate for (A, B) {
    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
        self.1.merge(&other.1);
    }

    fn signature() -> String {
        format!("({}, {})", A::signature(), B::signature())
    }

    fn earlier_signatures() -> Vec<String> {
        let named = |a: &String, b: &String| format!("({a}, {b})");
        let firsts = signatures::<A>();
        let seconds = signatures::<B>();

        let pairs = firsts
            .iter()
            .flat_map(|a| seconds.iter().map(move |b| named(a, b)));
        pairs.skip(1).collect()
    }
}

impl<A: Aggregate, B: Aggregate, C: Aggregate> Aggregate for (A, B, C) {
    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
        self.1.merge(&other.1);
        self.2.merge(&other.2);
    }

    fn signature() -> String {
        let a = A::signature();
        let b = B::signature();
        let c = C::signature();
        format!("({a}, {b}, {c})")
    }

    fn earlier_signatures() -> Vec<String> {
        let mut all = Vec::new();
        for a in signatures::<A>() {
            for b in signatures::<B>() {
                all.extend(signatures::<C>().iter().map(|c| format!("({a}, {b}, {c})")));
            }
        }

        all.split_off(1)
    }
}

impl Key for u64 {
    fn stable_hash(&self) -> u64 {
        mix(*self)
    }

    fn signature() -> String {
        "u64".to_owned()
    }
}

impl Key for () {
    fn stable_hash(&self) -> u64 {
        hash_bytes(&[])
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn stable_hash(&self) -> u64 {
        let hashes = [self.0.stable_hash(), self.1.stable_hash()];
        hash_bytes(hashes.map(u64::to_le_bytes).as_flattened())
    }
}

impl Key for String {
    fn stable_hash(&self) -> u64 {
        hash_bytes(self.as_bytes())
    }

    fn signature() -> String {
        "string".to_owned()
    }
}

impl<const N: usize> Key for [u8; N]
where
    Self: Serialize + DeserializeOwned,
{
    fn stable_hash(&self) -> u64 {
        hash_bytes(self)
    }

    fn signature() -> String {
        format!("{N} bytes")
    }
}

/// Returns the FNV-1a hash of the bytes, mixed. For implementations of [`Key`].
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_ones_that_checkpoints_were_written_with() {
        assert_eq!(42_u64.stable_hash(), 0xa759_ea27_d472_7622);
        assert_eq!("tidemark".to_owned().stable_hash(), 0xcdf0_a21c_8068_fc1c);
    }

    #[test]
    fn kinds_are_named_as_in_the_checkpoints_that_were_written() {
        let kinds = [
            <(Count, Sum)>::signature(),
            <(Count, Min<u64>, Max<String>)>::signature(),
            Session::<(Count, Sum)>::signature(),
            Sessions::<Count, 1_800_000>::signature(),
            Distinct::signature(),
            DistinctExact::<u64>::signature(),
            Top::<(u64, u64), 3>::signature(),
            Tally::<String>::signature(),
        ];

        let expected = [
            "(count, sum)",
            "(count, min u64, max String)",
            "session of (count, sum)",
            "sessions of count by 1800000 ms",
            "distinct",
            "distinct u64",
            "top 3 (u64, u64)",
            "tally of String",
        ];
        assert_eq!(kinds, expected);

        assert_eq!(
            [
                u64::signature(),
                String::signature(),
                <[u8; 16]>::signature()
            ],
            ["u64", "string", "16 bytes"]
        );
    }

    #[test]
    fn a_kind_of_ones_own_is_named_without_its_path() {
        #[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
        struct Revenue<V>(V);
        impl Aggregate for Revenue<Option<u64>> {
            fn merge(&mut self, _: &Self) {}
        }

        assert_eq!(Revenue::<Option<u64>>::signature(), "Revenue<Option<u64>>");
        assert_eq!(
            <(Revenue<Option<u64>>, Count)>::signature(),
            "(Revenue<Option<u64>>, count)"
        );
    }

    #[test]
    fn what_consists_of_a_kind_reads_what_that_kind_read_earlier() {
        #[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
        struct New;
        impl Aggregate for New {
            fn merge(&mut self, _: &Self) {}

            fn signature() -> String {
                "new".to_owned()
            }

            fn earlier_signatures() -> Vec<String> {
                vec!["old".to_owned()]
            }
        }

        assert!(<(Count, Sum)>::earlier_signatures().is_empty());
        assert_eq!(
            <(New, New)>::earlier_signatures(),
            ["(new, old)", "(old, new)", "(old, old)"]
        );
        assert_eq!(
            <(Count, New, Sum)>::earlier_signatures(),
            ["(count, old, sum)"]
        );
        assert_eq!(Session::<New>::earlier_signatures(), ["session of old"]);
        assert_eq!(
            Sessions::<New, 5>::earlier_signatures(),
            ["sessions of old by 5 ms"]
        );
    }

    #[test]
    fn least_and_greatest_keep_the_extremes() {
        let mut both = (Min(3_u64), Max(3_u64));
        both.merge(&(Min(5), Max(5)));
        both.merge(&(Min(1), Max(1)));
        assert_eq!(both, (Min(1), Max(5)));
    }
}
