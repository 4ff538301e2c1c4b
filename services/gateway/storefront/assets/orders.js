// My orders: newest first, each with its things; one that is not on its way yet can be cancelled.

import "./masthead.js";
import { askWho } from "./account.js";
import { call } from "./api.js";
import { changes, customer } from "./customer.js";
import { say } from "./dialog.js";
import { button, deliberate, element, notice } from "./dom.js";
import { date, minute, money, plural } from "./format.js";

const place = document.querySelector("#orders");
const whose = document.querySelector("#whose");
const PAGE = 20;
const CANCELLABLE = ["pending", "paid"];
const names = new Map();

let shown = 0;

async function load() {
  const user = customer();
  shown += 1;
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
  const ids = new Set(orders.flatMap(({ items = [] }) => items.map(({ product_id }) => product_id)));
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
  const things = (order.items ?? []).map(({ product_id, quantity, unit_price_cents }) =>
    element("li", {}, element("span", {}, `${quantity} × ${names.get(product_id) ?? "a product of the past"}`), element("span", { class: "figure soft" }, money(quantity * unit_price_cents, order.currency))),
  );
  const item = element(
    "li",
    {},
    element(
      "article",
      { class: "order", "aria-labelledby": title },
      element("div", { class: "order-head" }, element("h2", { id: title, tabindex: "-1" }, `Order ${order.id}`), element("span", { class: "status", "data-status": order.status }, order.status)),
      element("p", { class: "soft small figure" }, `${date(at)}, ${minute(at)}`),
      element("ul", { class: "order-lines small" }, things),
      element("p", { class: "sum" }, element("span", {}, plural(count(order), "item")), element("strong", { class: "figure" }, money(order.total_cents, order.currency))),
      CANCELLABLE.includes(order.status) && deliberate("Cancel the order", `Yes, cancel order ${order.id}`, () => cancel(order, item)),
    ),
  );
  return item;
}

async function cancel({ id }, item) {
  const replace = (order) => {
    item.replaceWith(card(order));
    document.querySelector(`#order-${id}`).focus();
  };
  try {
    replace(await call(`/orders/${id}`, { method: "PATCH", body: { status: "cancelled" } }));
    say(`Order ${id} is cancelled.`);
  } catch (problem) {
    if (problem.status !== 409) throw problem;
    // The shop was faster: how far the order has come says why.
    replace(await call(`/orders/${id}`));
    say(problem.message);
  }
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
