// Pays an order with one of the simulated provider's cards.

import { call } from "./api.js";
import { element } from "./dom.js";
import { minute, money } from "./format.js";

/** The cards, by the provider's tokens. */
const CARDS = { "sim-approve": "A card with money on it", "sim-decline": "A card without" };

/** The form that pays an order. `onPaid` receives the order afterwards. */
export function payment(order, onPaid) {
  const trouble = element("p", { class: "complaint", role: "alert" });
  const name = `card-${order.id}`;
  const cards = Object.entries(CARDS).map(([token, text], at) =>
    element("label", { class: "choice" }, element("input", { type: "radio", name, value: token, checked: at === 0 }), text),
  );
  const pay = element("button", { class: "button", type: "submit" }, `Pay ${money(order.total_cents, order.currency)}`);
  const node = element(
    "form",
    { class: "stack choices", on: { submit } },
    element("fieldset", { class: "stack choices" }, element("legend", {}, "Pay with"), cards),
    trouble,
    pay,
    element("p", { class: "soft small" }, `Until ${minute(Date.parse(order.expires_at))}; then the order expires. No money moves: the cards are simulated.`),
  );

  async function submit(event) {
    event.preventDefault();
    trouble.textContent = "";
    pay.disabled = true;
    try {
      const token = new FormData(node).get(name);
      await call(`/orders/${order.id}/payments`, { method: "POST", body: { token } });
      onPaid(await call(`/orders/${order.id}`));
    } catch (problem) {
      // Another tab has paid, or the order has expired: its state shows which.
      if (problem.status === 409 && problem.field === "status") onPaid(await call(`/orders/${order.id}`));
      else trouble.textContent = problem.message;
    } finally {
      pay.disabled = false;
    }
  }

  return node;
}
