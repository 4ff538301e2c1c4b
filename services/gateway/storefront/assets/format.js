// Money, times and numbers as people read them.

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat([], { dateStyle: "medium" });
const monies = new Map();

/** 1999, "USD" → $19.99 */
export function money(cents, currency = "USD") {
  if (!monies.has(currency)) monies.set(currency, new Intl.NumberFormat([], { style: "currency", currency }));
  const format = monies.get(currency);
  return format.format(cents / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** The minute of the day: 15:41 */
export function minute(at) {
  return clock.format(new Date(at));
}

/** The day: 22 Nov 2026 */
export function date(at) {
  return day.format(new Date(at));
}

/** plural(1, "order") → 1 order */
export function plural(count, noun) {
  return `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
}

/** 37701 → 37.7 kB */
export function size(bytes) {
  const at = Math.min(Math.floor((String(bytes).length - 1) / 3), 3);
  if (at === 0) return plural(bytes, "byte");
  return `${(bytes / 1_000 ** at).toLocaleString([], { maximumFractionDigits: 1 })} ${["", "kB", "MB", "GB"][at]}`;
}
