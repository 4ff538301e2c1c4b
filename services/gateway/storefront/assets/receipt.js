// An order after it is placed: it is paid, its minute closes, the stream job counts it, and the count is shown.

import { everySecond, WINDOW_MS, windowStart } from "./clock.js";
import { follow } from "./counts.js";
import { button, element } from "./dom.js";
import { minute, money, plural, sums } from "./format.js";
import { gauge } from "./gauge.js";
import { payment } from "./pay.js";

/** {node, end}: the receipt, and a function that stops its updates. */
export function receipt(order, close) {
  const start = windowStart(Date.parse(order.created_at));
  const closes = start + WINDOW_MS;
  const tide = gauge();
  const state = element("p", { class: "receipt-state", role: "status" });
  const countdown = element("p", { class: "soft figure" });
  const node = element(
    "div",
    { class: "stack receipt" },
    element("p", {}, `${money(order.total_cents, order.currency)} · ${plural(things(order), "item")}`),
    element("div", { class: "receipt-pay" }, payment(order, paid)),
    element("div", { class: "receipt-tide" }, tide.node, element("div", { class: "stack" }, state, countdown)),
    element("a", { class: "button", href: "/live" }, "Watch the live board"),
    button("Back to the shop", close, "quiet"),
  );
  function paid(now) {
    const line = element("p", { role: "status" }, `Order ${now.id} is ${now.status}.`);
    node.querySelector(".receipt-pay").replaceChildren(line);
  }
  state.textContent = `Your order will be counted when its minute, ${minute(start)}, closes.`;
  const stopClock = everySecond((now) => {
    tide.rise(now < closes ? (now - start) / WINDOW_MS : 1);
    countdown.textContent =
      now < closes ? `In ${Math.ceil((closes - now) / 1_000)} s.` : "The minute has closed. Waiting for late orders…";
  });
  const stopCounts = follow({
    user: order.user_id,
    onCount(count) {
      if (Date.parse(count.window_start) !== start) return;
      stopClock();
      tide.rise(1);
      node.classList.add("counted");
      state.textContent = `Counted: ${plural(count.order_count, "order")} of yours in the minute of ${minute(start)}.`;
      countdown.textContent = `${sums(count)} in all.`;
    },
  });
  return { node, end: () => (stopClock(), stopCounts()) };
}

function things({ items = [] }) {
  return items.reduce((sum, { quantity }) => sum + quantity, 0);
}
