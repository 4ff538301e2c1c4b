// The board for visitors who are not logged in: orders and customers of each minute, without names and amounts.

import { call } from "./api.js";
import { element } from "./dom.js";
import { minute, plural } from "./format.js";
import { isMinute } from "./windows.js";

const ASK_EVERY_MS = 5_000;

/** Polls the public board. `onBoard` receives {has(start), orders(start), customers(start), table()}, `onState` receives "asking" or "away". */
export function followPublic({ onBoard, onState = () => {} }) {
  const ask = async () => {
    try {
      const { items } = await call("/analytics/board", { isAnonymous: true });
      onBoard(publicBoard(items));
      onState("asking");
    } catch {
      onState("away");
    }
    setTimeout(ask, ASK_EVERY_MS);
  };
  ask();
}

function publicBoard(items) {
  const byStart = new Map(items.map((item) => [Date.parse(item.window_start), item]));
  const isByMinute = items.every(isMinute);
  return {
    isByMinute: () => isByMinute,
    /** The sum in words where the windows have no minutes; the job adds up sessions by day. */
    inWords: () => (isByMinute ? null : `${plural(items[0].order_count, "order")} counted since ${minute(Date.parse(items[0].window_start))}`),
    has: (start) => isByMinute && byStart.has(start),
    orders: (start) => (isByMinute && byStart.get(start)?.order_count) || 0,
    customers: (start) => byStart.get(start)?.user_count ?? 0,
    table: () => table([...byStart].sort(([one], [other]) => other - one)),
  };
}

function table(windows) {
  const head = ["Minute", "Customers", "Orders"].map((title, at) => element("th", { scope: "col", class: at > 0 ? "number" : null }, title));
  const row = ([start, { user_count, order_count }]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", class: "figure" }, minute(start)),
      element("td", { class: "number figure" }, user_count.toLocaleString()),
      element("td", { class: "number figure" }, order_count.toLocaleString()),
    );
  const caption = element("caption", { class: "visually-hidden" }, "Orders and customers per minute");
  return element("table", { class: "counts" }, caption, element("thead", {}, element("tr", {}, head)), element("tbody", {}, windows.map(row)));
}
