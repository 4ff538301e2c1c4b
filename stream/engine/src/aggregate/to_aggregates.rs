//! The function that turns an event into aggregates of keys.

/// A function from an event, or from a row, to any number of keys with an aggregate each.
/// Implemented for every function and closure of this form. The keys can be an array, a vector or
/// an option.
///
/// ```
/// use stream::{ToAggregates, Count, Sum};
///
/// struct Order {
///     user: u64,
///     cents: u64,
/// }
///
/// /// Accepts the functions that a job can aggregate orders by.
/// fn of_orders(function: impl ToAggregates<Order, u64, (Count, Sum)>) -> Vec<(u64, (Count, Sum))> {
///     function(Order { user: 7, cents: 450 }).into_iter().collect()
/// }
///
/// let each = of_orders(|order| [(order.user, (Count(1), Sum(order.cents)))]);
/// assert_eq!(each, [(7, (Count(1), Sum(450)))]);
///
/// let dear = of_orders(|order| (order.cents > 1000).then(|| (order.user, (Count(1), Sum(order.cents)))));
/// assert_eq!(dear, []);
/// ```
pub trait ToAggregates<V, K, A>:
    Fn(V) -> <Self as ToAggregates<V, K, A>>::Parts + Send + Sync + 'static
{
    /// The keys with their aggregates.
    type Parts: IntoIterator<Item = (K, A)>;
}

impl<F, I, V, K, A> ToAggregates<V, K, A> for F
where
    F: Fn(V) -> I + Send + Sync + 'static,
    I: IntoIterator<Item = (K, A)>,
{
    type Parts = I;
}
