// The table: windows newest first, in each the customers with their counts.

import { customer } from "./customer.js";
import { button, element, notice } from "./dom.js";
import { minute, plural, sums } from "./format.js";

const ROWS_AT_FIRST = 60;

/** Shows the table in `node`, and announces new windows in `news`. */
export function board(node, news) {
  const names = new Map();
  let isReady = null;
  let rows = ROWS_AT_FIRST;
  let newest = 0;

  const draw = (windows) => {
    const all = windows.list();
    if (all.length === 0) return node.replaceChildren(empty(isReady));
    node.replaceChildren(table(all), more(all, windows));
    if (all[0].start > newest) {
      if (newest) news.textContent = announce(all[0]);
      newest = all[0].start;
    }
  };

  const table = (all) => {
    let left = rows;
    const bodies = [];
    for (const window of all) {
      if (left <= 0) break;
      bodies.push(group(window, window.counts.slice(0, left), names));
      left -= window.counts.length;
    }
    const titles = ["Minute", "Customer", "Orders", "Total"];
    const head = titles.map((title, at) => element("th", { scope: "col", class: at > 1 ? "number" : null }, title));
    const caption = element("caption", { class: "visually-hidden" }, "Orders per customer and minute");
    return element("table", { class: "counts" }, caption, element("thead", {}, element("tr", {}, head)), bodies);
  };

  const more = (all, windows) => {
    const total = all.reduce((sum, { counts }) => sum + counts.length, 0);
    if (total <= rows) return "";
    return button(`Show ${total - rows} more`, () => ((rows = total), draw(windows)), "quiet");
  };

  return {
    draw,
    /** Adds the names of customers. */
    meet(users) {
      for (const { id, name } of users) names.set(id, name);
    },
    /** Sets whether counts are available; an empty board shows it. */
    ready(ready) {
      isReady = ready;
      if (!newest) node.replaceChildren(empty(ready));
    },
  };
}

function group(window, counts, names) {
  const mine = customer()?.id;
  return element(
    "tbody",
    {},
    counts.map((count, at) =>
      element(
        "tr",
        { class: count.user_id === mine ? "you" : null },
        at === 0 && element("th", { scope: "rowgroup", rowspan: counts.length, class: "figure" }, minute(window.start), element("span", { class: "soft small" }, plural(window.orders, "order"))),
        element("td", {}, names.get(count.user_id) ?? `Customer ${count.user_id}`, count.user_id === mine && element("span", { class: "you-mark" }, "You"), corrected(count)),
        element("td", { class: "number figure" }, count.order_count.toLocaleString()),
        element("td", { class: "number figure" }, sums(count)),
      ),
    ),
  );
}

// Usually a late order has corrected the count. The stream job may also have recovered from an older checkpoint.
function corrected({ revision }) {
  return revision > 0 && element("span", { class: "corrected", title: `Counted again after its minute had closed: revision ${revision}` }, "counted again");
}

function announce({ start, orders, customers }) {
  return `${minute(start)} was counted: ${plural(orders, "order")} from ${plural(customers, "customer")}.`;
}

function empty(isReady) {
  if (isReady === null) return element("div", { class: "counts-wait bone", "aria-hidden": "true" });
  if (!isReady) return notice("The counts are out of reach", "The analytics service does not answer. The board keeps trying.");
  const shop = element("a", { class: "button quiet", href: "/" }, "Go to the shop");
  return notice("Low water", "No minute with an order in it has closed yet. Place one, and it appears here when its minute closes.", shop);
}
