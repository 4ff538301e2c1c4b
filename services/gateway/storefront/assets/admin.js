// For admins: the orders by their state, the newest first, with the next steps.

import "./masthead.js";
import { askWho } from "./account.js";
import { call, isOpen } from "./api.js";
import { bearer, changes } from "./customer.js";
import { say } from "./dialog.js";
import { button, deliberate, element, notice } from "./dom.js";
import { date, minute, money, onOneLine } from "./format.js";

const place = document.querySelector("#orders");
const states = document.querySelector("#states");
const PAGE = 20;
const STATES = ["paid", "shipped", "delivered", "pending", "cancelled", "expired", "refunded"];
/** The next states of an order in a state, and the words for each. */
const STEPS = {
  pending: [["cancelled", "Cancel"]],
  paid: [
    ["shipped", "Ship"],
    ["cancelled", "Cancel"],
  ],
  shipped: [
    ["delivered", "Mark as delivered"],
    ["refunded", "Refund"],
  ],
  delivered: [["refunded", "Refund"]],
};
const GRAVE = ["cancelled", "refunded"];

let turn = 0;

function chosen() {
  const asked = new URLSearchParams(location.search).get("status");
  return STATES.includes(asked) ? asked : "paid";
}

function showStates() {
  const link = (state) => element("a", { href: `/admin?status=${state}`, "aria-current": state === chosen() && "page" }, state);
  states.replaceChildren(...STATES.map((state) => element("li", {}, link(state))));
}

async function load() {
  turn += 1;
  const mine = turn;
  showStates();
  place.setAttribute("aria-busy", "true");
  try {
    if (!(await isOpen()) && !bearer()?.isAdmin) return place.replaceChildren(stranger());
    await page(null, element("ol", { class: "orders" }), mine);
    await showMail();
  } catch (problem) {
    place.replaceChildren(notice("The order book is out of reach", problem.message, button("Try again", load, "quiet")));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

async function page(cursor, orders, mine) {
  const query = new URLSearchParams({ status: chosen(), limit: PAGE, ...(cursor && { cursor }) });
  const { items, next } = await call(`/orders?${query}`);
  if (mine !== turn) return;
  orders.append(...items.map(card));
  if (orders.children.length === 0) return place.replaceChildren(notice("None", `No order is ${chosen()} now.`));
  const older = next && button("Show older orders", () => page(next, orders, mine).catch((problem) => older.replaceWith(problem.message)), "quiet");
  place.replaceChildren(orders, ...(older ? [older] : []));
}

// If there is no mail server, links to confirm an address or to set a password are shown here.
async function showMail() {
  const { items } = await call("/notifications/account-mail");
  document.querySelector("#mail").hidden = items.length === 0;
  document.querySelector("#mails").replaceChildren(...items.map(mailCard));
}

function mailCard({ id, to, subject, link, taken_at }) {
  const title = `mail-${id}`;
  const at = Date.parse(taken_at);
  const words = element("div", { class: "order-head" }, element("h3", { id: title }, subject));
  const when = element("p", { class: "soft small figure" }, `${date(at)}, ${minute(at)}, to ${to}`);
  return element("li", {}, element("article", { class: "order", "aria-labelledby": title }, words, when, link && element("a", { href: link }, "Open its link")));
}

function card(order) {
  const at = Date.parse(order.created_at);
  const title = `order-${order.id}`;
  const { delivery } = order;
  const item = element(
    "li",
    {},
    element(
      "article",
      { class: "order", "aria-labelledby": title },
      element("div", { class: "order-head" }, element("h2", { id: title, tabindex: "-1" }, `Order ${order.id}`), element("span", { class: "status", "data-status": order.status }, order.status)),
      element("p", { class: "soft small figure" }, `${date(at)}, ${minute(at)}, customer ${order.user_id}`),
      element("p", { class: "small" }, delivery ? `To ${onOneLine(delivery)}` : "To be collected at the quay"),
      element("p", { class: "sum" }, element("span", {}, "Total"), element("strong", { class: "figure" }, money(order.total_cents, order.currency))),
      steps(order, (changed) => {
        item.replaceWith(card(changed));
        document.querySelector(`#${title}`).focus();
      }),
    ),
  );
  return item;
}

function steps(order, show) {
  const trouble = element("p", { class: "complaint", role: "alert" });
  const take = async (status) => {
    show(await call(`/orders/${order.id}`, { method: "PATCH", body: { status } }));
    say(`Order ${order.id} is ${status}.`);
  };
  const step = ([status, words]) => {
    const text = `${words}: order ${order.id}`;
    if (GRAVE.includes(status)) return deliberate(text, `Yes, ${text}`, () => take(status));
    return button(text, () => take(status).catch(({ message }) => (trouble.textContent = message)));
  };
  return element("div", { class: "stack" }, (STEPS[order.status] ?? []).map(step), trouble);
}

function stranger() {
  return notice("This page is for admins", "Log in as an admin to see all orders.", button("Log in", askWho, "quiet"));
}

changes.addEventListener("customer", load);
load();
