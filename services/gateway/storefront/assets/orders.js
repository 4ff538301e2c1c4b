// My orders, newest first, each with its items. An unpaid order can be paid, and an order that is not on its way yet can be
// cancelled. The states of orders that may still change are polled.

import "./masthead.js";
import { askWho } from "./account.js";
import { call } from "./api.js";
import { changes, customer } from "./customer.js";
import { say } from "./dialog.js";
import { button, deliberate, element, notice } from "./dom.js";
import { date, minute, money, onOneLine, plural } from "./format.js";
import { payment } from "./pay.js";

const place = document.querySelector("#orders");
const whose = document.querySelector("#whose");
const PAGE = 20;
const CANCELLABLE = ["pending", "paid"];
const MOVING = ["pending", "paid", "shipped", "cancelled"];
const LOOK_EVERY_MS = 3_000;
/** The meaning of an order's state for its customer. */
const SAID = {
  pending: "It waits to be paid.",
  paid: "We are packing it.",
  shipped: "It is on its way to you.",
  delivered: "It has arrived.",
  cancelled: "It was cancelled; what you paid goes back to you.",
  expired: "It was not paid in time.",
  refunded: "Your money went back to you.",
};
const names = new Map();
/** The orders on the page, by id. */
const known = new Map();

let shown = 0;

async function load() {
  const user = customer();
  shown += 1;
  known.clear();
  const turn = shown;
  whose.textContent = user ? `What ${user.name} ordered, newest first.` : "What you ordered, newest first.";
  if (!user) {
    place.removeAttribute("aria-busy");
    const who = button("Log in or sign up", askWho, "quiet");
    return place.replaceChildren(notice("Who are you?", "Orders are kept by customer. Say who you are to see yours.", who));
  }
  place.setAttribute("aria-busy", "true");
  place.replaceChildren(...Array.from({ length: 3 }, () => element("div", { class: "order bone", "aria-hidden": "true" })));
  try {
    await page(user, null, element("ol", { class: "orders" }), turn);
  } catch (problem) {
    if (turn !== shown) return;
    place.replaceChildren(notice("The order book is out of reach", problem.message, button("Try again", load, "quiet")));
  } finally {
    if (turn === shown) place.removeAttribute("aria-busy");
  }
}

async function page(user, cursor, orders, turn) {
  const query = new URLSearchParams({ user_id: user.id, limit: PAGE, ...(cursor && { cursor }) });
  const { items, next } = await call(`/orders?${query}`);
  await learnNames(items);
  // The customer changed while the answer was on its way.
  if (turn !== shown) return;
  orders.append(...items.map(card));
  if (orders.children.length === 0) return place.replaceChildren(none());
  const older = next && button("Show older orders", () => page(user, next, orders, turn).catch((problem) => older.replaceWith(problem.message)), "quiet");
  place.replaceChildren(orders, ...(older ? [older] : []));
}

async function learnNames(orders) {
  // Orders of earlier versions do not have the names of their products.
  const nameless = orders.flatMap(({ items = [] }) => items.filter(({ name }) => !name));
  const ids = new Set(nameless.map(({ product_id }) => product_id));
  const unknown = [...ids].filter((id) => !names.has(id)).slice(0, 100);
  if (unknown.length === 0) return;
  try {
    for (const { id, name } of (await call(`/products?ids=${unknown.join(",")}`)).items) names.set(id, name);
  } catch {
    // An order is worth showing without its products' names.
  }
}

function card(order) {
  const at = Date.parse(order.created_at);
  const title = `order-${order.id}`;
  const things = (order.items ?? []).map(({ product_id, name, quantity, unit_price_cents }) =>
    element("li", {}, element("span", {}, `${quantity} × ${name ?? names.get(product_id) ?? "a product that is gone"}`), element("span", { class: "figure soft" }, money(quantity * unit_price_cents, order.currency))),
  );
  known.set(order.id, order);
  const item = element(
    "li",
    { id: `slip-${order.id}` },
    element(
      "article",
      { class: "order", "aria-labelledby": title },
      element("div", { class: "order-head" }, element("h2", { id: title, tabindex: "-1" }, `Order ${order.id}`), element("span", { class: "status", "data-status": order.status }, order.status)),
      element("p", { class: "soft small figure" }, `${date(at)}, ${minute(at)}`),
      element("ul", { class: "order-lines small" }, things),
      element("p", { class: "sum" }, element("span", {}, plural(count(order), "item")), element("strong", { class: "figure" }, money(order.total_cents, order.currency))),
      element("p", { class: "small", role: "status" }, SAID[order.status]),
      order.delivery && element("p", { class: "soft small" }, `To ${onOneLine(order.delivery)}`),
      order.status === "pending" && element("details", { class: "disclosure" }, element("summary", {}, "Pay"), payment(order, replace)),
      CANCELLABLE.includes(order.status) && deliberate("Cancel the order", `Yes, cancel order ${order.id}`, () => cancel(order)),
    ),
  );
  return item;
}

/** Shows an order as it is now, and gives it the focus if the focused element is gone. */
function replace(order) {
  const old = document.querySelector(`#slip-${order.id}`);
  const hadFocus = old.contains(document.activeElement);
  old.replaceWith(card(order));
  if (hadFocus) document.querySelector(`#order-${order.id}`).focus();
}

async function cancel({ id }) {
  try {
    replace(await call(`/orders/${id}`, { method: "PATCH", body: { status: "cancelled" } }));
    say(`Order ${id} is cancelled.`);
  } catch (problem) {
    if (problem.status !== 409) throw problem;
    // The order has changed meanwhile: its new state shows the reason.
    replace(await call(`/orders/${id}`));
    say(problem.message);
  }
}

/** Shows the newest orders whose state has changed. Other orders are left alone: a form that is open in one stays open. */
async function look() {
  const user = customer();
  const moving = [...known.values()].filter(({ status }) => MOVING.includes(status));
  if (!user || document.hidden || moving.length === 0) return;
  const turn = shown;
  const { items } = await call(`/orders?${new URLSearchParams({ user_id: user.id, limit: PAGE })}`);
  if (turn !== shown) return;
  for (const order of items) {
    const before = known.get(order.id);
    if (before && before.status !== order.status) replace(order);
  }
}

async function watch() {
  // Orders that cannot be read now are read the next time.
  await look().catch(() => {});
  setTimeout(watch, LOOK_EVERY_MS);
}

function count({ items = [] }) {
  return items.reduce((sum, { quantity }) => sum + quantity, 0);
}

function none() {
  const shop = element("a", { class: "button quiet", href: "/" }, "Go to the shop");
  return notice("No orders yet", "What you order shows up here at once.", shop);
}

changes.addEventListener("customer", load);
load();
watch();
