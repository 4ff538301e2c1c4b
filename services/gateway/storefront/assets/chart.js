// The chart: a staff for each of the last minutes, a mark on it for each order.

import { WINDOW_MS } from "./clock.js";
import { element } from "./dom.js";
import { minute, plural } from "./format.js";

const MINUTES = 15;
// Largest number of orders that are drawn as separate marks; more marks would be thinner than a line.
const MARKS = 20;

/** Returns a function that draws the chart into `node` and its sum into `sum`. The table has the same numbers. */
export function chart(node, sum) {
  return (windows, current) => {
    const starts = Array.from({ length: MINUTES + 1 }, (_, i) => current - (MINUTES - i) * WINDOW_MS);
    const orders = starts.map((start) => windows.orders(start));
    const most = top(Math.max(...orders));
    const total = orders.reduce((all, some) => all + some, 0);
    sum.textContent = windows.inWords?.() ?? `${plural(total, "order")} counted`;
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `Orders counted in each of the last ${MINUTES} minutes: ${orders.slice(0, -1).join(", ")}.`);
    node.replaceChildren(scale(most), ...starts.map((start, at) => staff({ start, orders: orders[at], most, isOpen: start === current })));
  };
}

// Returns the next round number from `most` upwards: 4, 10, 20, 40, 100, 200, 400, …
function top(most) {
  const steps = [4, 10, 20];
  for (let power = 1; ; power *= 10) {
    const step = steps.find((step) => step * power >= most);
    if (step) return step * power;
  }
}

function scale(most) {
  const line = (value) => element("span", { class: "figure", style: { "--share": value / most } }, String(value));
  return element("div", { class: "scale" }, line(0), line(most / 2), line(most));
}

function staff({ start, orders, most, isOpen }) {
  const bar = element("div", {
    class: orders <= MARKS ? "bar marks" : "bar",
    style: { "--orders": Math.max(orders, 1) },
  });
  const name = isOpen ? "now" : minute(start);
  return element(
    "div",
    {
      class: isOpen ? "staff open" : "staff",
      title: isOpen ? "Still open" : `${name}: ${plural(orders, "order")}`,
      style: { "--share": orders / most },
    },
    element("span", { class: "value figure" }, orders || ""),
    bar,
    element("span", { class: "tick figure" }, name),
  );
}
