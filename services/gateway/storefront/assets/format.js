// Money, times and numbers as people read them.

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat([], { dateStyle: "medium" });
const monies = new Map();

// Digits of the minor unit where there are not two, as in ISO 4217. Intl follows the Unicode CLDR, which leaves them out of
// currencies whose minor unit is hardly used: 1500 fils of Iraq, 1.500 dinars, would be shown as 1,500.
const DIGITS = {
  0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
  3: "BHD IQD JOD KWD LYD OMR TND",
  4: "CLF UYW",
};
const digitsOf = new Map(Object.entries(DIGITS).flatMap(([digits, codes]) => codes.split(" ").map((code) => [code, Number(digits)])));

/** 1999, "USD" → $19.99; 1500, "JPY" → ¥1,500 */
export function money(minorUnits, currency) {
  const digits = digitsOf.get(currency) ?? 2;
  if (!monies.has(currency)) {
    const style = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
    monies.set(currency, new Intl.NumberFormat([], style));
  }
  return monies.get(currency).format(minorUnits / 10 ** digits);
}

/** The totals of a count, one for each currency: ¥1,500 + $19.99 */
export function sums(count) {
  return totals(count)
    .map(({ currency, minor_units }) => money(minor_units, currency))
    .join(" + ");
}

/** [{currency, minor_units}]. A service of the earlier version did not state the currency. */
export function totals({ totals, total_cents }) {
  return totals ?? [{ currency: "XXX", minor_units: total_cents }];
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

/** An address on one line. */
export function onOneLine({ name, street, postcode, city, country }) {
  return [name, street, [postcode, city].filter(Boolean).join(" "), country].join(", ");
}
