// The counts, by window: the data of the chart and the table. Independent of the page.

import { WINDOW_MS } from "./clock.js";
import { totals } from "./format.js";

// Windows are kept for as long as the chart and the table need them.
const KEPT_MS = 60 * WINDOW_MS;

/** A collection of counts that keeps the newest windows. */
export function windows() {
  const byStart = new Map();
  let newest = 0;
  let isByMinute = true;
  return {
    /** Adds a count; it replaces an earlier count of the same window and user. */
    add(count) {
      const start = Date.parse(count.window_start);
      if (!byStart.has(start)) byStart.set(start, new Map());
      byStart.get(start).set(count.user_id, count);
      isByMinute &&= isMinute(count);
      if (start <= newest) return;
      newest = start;
      for (const other of byStart.keys()) if (other <= newest - KEPT_MS) byStart.delete(other);
    },
    has: (start) => byStart.has(start),
    /** Whether each window is a minute; otherwise the job counts sessions, or windows of another length. */
    isByMinute: () => isByMinute,
    /** Orders in the windows that begin in the minute of `start`. */
    orders: (start) => [...byStart].reduce((sum, [at, counts]) => sum + (start <= at && at < start + WINDOW_MS ? orders(counts) : 0), 0),
    /** [{start, orders, customers, counts}], newest window first, busiest customer first. */
    list: () =>
      [...byStart]
        .sort(([one], [other]) => other - one)
        .map(([start, counts]) => ({
          start,
          orders: orders(counts),
          customers: counts.size,
          counts: [...counts.values()].sort(busiestFirst),
        })),
  };
}

/** Whether a window is a whole minute. */
export function isMinute({ window_start, window_end }) {
  const start = Date.parse(window_start);
  return start % WINDOW_MS === 0 && Date.parse(window_end) === start + WINDOW_MS;
}

/** Combines counts with the public board, which includes customers whose counts were not fetched. */
export function withSums(counted, sums) {
  return {
    has: (start) => counted.has(start) || sums.has(start),
    isByMinute: () => counted.isByMinute() && sums.isByMinute(),
    orders: (start) => Math.max(counted.orders(start), sums.orders(start)),
    list: () =>
      counted.list().map((window) => ({
        ...window,
        orders: Math.max(window.orders, sums.orders(window.start)),
        customers: Math.max(window.counts.length, sums.customers(window.start)),
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
