// The basket: its products, and its order.

import { askWho } from "./account.js";
import { call } from "./api.js";
import { basket, changes, customer, empty, forgetOrderKey, leave, orderKey, put, reprice, totals } from "./customer.js";
import { delivery } from "./delivery.js";
import { dialog } from "./dialog.js";
import { button, element, notice } from "./dom.js";
import { money } from "./format.js";
import { receipt } from "./receipt.js";

let opened;
let endReceipt;

/** Opens the basket. */
export function openBasket() {
  if (!opened) {
    opened = dialog("basket");
    opened.node.addEventListener("close", () => endReceipt?.());
    changes.addEventListener("basket", () => opened.node.open && !endReceipt && show());
  }
  endReceipt = null;
  show();
}

function show(trouble = "") {
  const lines = basket();
  if (lines.length === 0) {
    const look = button("Look around", () => opened.close(), "quiet");
    opened.show("Your basket", notice("Nothing in it yet", "What you add on the shop's page waits here.", look));
    return;
  }
  const focused = document.activeElement?.id;
  opened.show("Your basket", element("ul", { class: "lines" }, lines.map(line)), checkout(lines, trouble));
  if (focused) document.getElementById(focused)?.focus();
}

function line({ product, quantity }) {
  const change = (by) => () => put(product, quantity + by);
  const step = (by, sign, verb) =>
    element(
      "button",
      { type: "button", id: `${verb}-${product.id}`, "aria-label": `${verb} ${product.name}`, on: { click: change(by) } },
      sign,
    );
  return element(
    "li",
    { class: "line" },
    element("div", { class: "line-name" }, product.name),
    element("div", { class: "figure line-price" }, money(product.price_cents * quantity, product.currency)),
    element(
      "div",
      { class: "stepper" },
      step(-1, "−", "Fewer"),
      element("span", { class: "figure", "aria-label": `Quantity ${quantity}`, role: "status" }, String(quantity)),
      step(1, "+", "More"),
    ),
  );
}

function checkout(lines, trouble) {
  const sums = totals(lines);
  const isMixed = sums.length > 1;
  const way = delivery();
  const place = element("button", { class: "button", type: "button", disabled: isMixed, on: { click: () => order(place, way) } }, "Place the order");
  return element(
    "div",
    { class: "stack checkout" },
    element(
      "p",
      { class: "sum" },
      element("span", {}, "Total"),
      element("strong", { class: "figure" }, sums.map(([currency, cents]) => money(cents, currency)).join(" + ")),
    ),
    isMixed && element("p", { class: "complaint" }, "An order has one currency. Take out the products in other currencies, and order them separately."),
    way.node,
    element("p", { class: "complaint", role: "alert" }, trouble),
    place,
    element("p", { class: "soft small" }, "You pay in the next step. No money moves: this is a demonstration shop."),
  );
}

async function order(place, way) {
  place.disabled = true;
  place.textContent = "Placing the order…";
  const destination = way.value();
  const user = customer() ?? (await askWho());
  if (!user) return show("Log in or choose a customer first, and place the order again.");
  const lines = basket();
  const items = lines.map(({ product, quantity }) => ({ product_id: product.id, quantity }));
  try {
    const placed = await call("/orders", {
      method: "POST",
      body: { user_id: user.id, items, total_cents: totals(lines)[0][1], delivery: destination },
      headers: { "idempotency-key": orderKey(user.id) },
    });
    succeed(placed);
  } catch (problem) {
    if (way.complain(problem.field ?? "", problem.message)) return again(place);
    show(await explain(problem).catch(({ message }) => message));
  }
}

function again(place) {
  place.disabled = false;
  place.textContent = "Place the order";
}

// A price has changed: the basket shows the current prices and stock, and the customer must place the order again.
async function askAgain() {
  const before = basket();
  const ids = before.map(({ product }) => product.id).join(",");
  const { items } = await call(`/products?ids=${ids}`);
  reprice(items);
  const changed = items.flatMap((now) => {
    const { product } = before.find(({ product }) => product.id === now.id);
    if (product.price_cents === now.price_cents) return [];
    return [`${now.name} is ${money(now.price_cents, now.currency)} now, and was ${money(product.price_cents, product.currency)}.`];
  });
  return [...changed, "Nothing was ordered yet: look at the new total, and place the order if it suits you."].join(" ");
}

async function explain({ field = "", message }) {
  if (field === "total_cents") return askAgain();
  if (field === "user_id") {
    leave();
    return "Your account no longer exists. Place the order again to log in or sign up.";
  }
  const at = field.match(/^items\[(\d+)\]/)?.[1];
  if (!at) return message;
  const { id, name } = basket()[at].product;
  return message.includes(id) ? message.replace(id, `“${name}”`) : `${name}: ${message}`;
}

function succeed(placed) {
  forgetOrderKey();
  const { node, end } = receipt(placed, () => opened.close());
  endReceipt = end;
  empty();
  opened.show(`Order ${placed.id} is placed`, node);
  opened.focusTitle();
}
