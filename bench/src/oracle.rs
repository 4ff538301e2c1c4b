//! The expected results, computed in another way than in the job: sort, group, fold.

use events::OrderCreated;

/// The expected count of one user and window.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Expected {
    /// First instant of the window.
    pub window_start_ms: u64,
    /// The user.
    pub user_id: u64,
    /// Orders in the window.
    pub order_count: u64,
    /// Sum of their totals.
    pub total_cents: u64,
}

/// Returns the counts per user and tumbling window, sorted by window and user.
pub fn counts(orders: impl Iterator<Item = OrderCreated>, window_ms: u64) -> Vec<Expected> {
    let row = |order: OrderCreated| {
        let at = order.created_at.as_ms();
        (at - at % window_ms, order.user_id, order.total_cents)
    };
    let mut rows: Vec<_> = orders.map(row).collect();
    rows.sort_unstable();

    let groups = rows.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
    let fold = |group: &[(u64, u64, u64)]| Expected {
        window_start_ms: group[0].0,
        user_id: group[0].1,
        order_count: group.len() as u64,
        total_cents: group.iter().map(|row| row.2).sum(),
    };
    groups.map(fold).collect()
}
