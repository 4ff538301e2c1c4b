// The counts, by window: the data of the chart and the table. It uses no page.

import { totals } from "./format.js";

const MOST_WINDOWS = 60;

/** A collection of counts that keeps the newest windows. */
export function windows() {
  const byStart = new Map();
  return {
    /** Takes a count; it replaces the earlier count of its window and user. */
    add(count) {
      const start = Date.parse(count.window_start);
      if (!byStart.has(start)) byStart.set(start, new Map());
      byStart.get(start).set(count.user_id, count);
      if (byStart.size > MOST_WINDOWS) byStart.delete(Math.min(...byStart.keys()));
    },
    has: (start) => byStart.has(start),
    /** Orders in the window that begins at `start`. */
    orders: (start) => orders(byStart.get(start)),
    /** [{start, orders, counts}], newest window first, busiest customer first. */
    list: () =>
      [...byStart]
        .sort(([one], [other]) => other - one)
        .map(([start, counts]) => ({
          start,
          orders: orders(counts),
          counts: [...counts.values()].sort(busiestFirst),
        })),
  };
}

// Amounts of different currencies are not compared: the higher one comes first within each.
function busiestFirst(one, other) {
  return other.order_count - one.order_count || higherFirst(totals(one), totals(other)) || one.user_id - other.user_id;
}

function higherFirst([one, ...ones], [other, ...others]) {
  if (!one || !other) return one ? 1 : other ? -1 : 0;
  if (one.currency !== other.currency) return one.currency < other.currency ? -1 : 1;
  return other.minor_units - one.minor_units || higherFirst(ones, others);
}

function orders(counts) {
  return counts ? [...counts.values()].reduce((total, { order_count }) => total + order_count, 0) : 0;
}
