// The counts, by window: what the chart and the table draw from. Knows no page.

const MOST_WINDOWS = 60;

/** A collection of counts that keeps the newest windows. */
export function windows() {
  const byStart = new Map();
  return {
    /** Takes a count; it replaces what was known of its window and user. */
    add(count) {
      const start = Date.parse(count.window_start);
      if (!byStart.has(start)) byStart.set(start, new Map());
      byStart.get(start).set(count.user_id, count);
      if (byStart.size > MOST_WINDOWS) byStart.delete(Math.min(...byStart.keys()));
    },
    has: (start) => byStart.has(start),
    /** Orders in the window that begins at `start`. */
    orders: (start) => sum(byStart.get(start), "order_count"),
    /** [{start, orders, cents, counts}], newest window first, busiest customer first. */
    list: () =>
      [...byStart]
        .sort(([one], [other]) => other - one)
        .map(([start, counts]) => ({
          start,
          orders: sum(counts, "order_count"),
          cents: sum(counts, "total_cents"),
          counts: [...counts.values()].sort(busiestFirst),
        })),
  };
}

function busiestFirst(one, other) {
  return other.order_count - one.order_count || other.total_cents - one.total_cents || one.user_id - other.user_id;
}

function sum(counts, field) {
  return counts ? [...counts.values()].reduce((total, count) => total + count[field], 0) : 0;
}
