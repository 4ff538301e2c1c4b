// One product on the shelf.

import { put, quantityOf, suits } from "./customer.js";
import { say } from "./dialog.js";
import { element } from "./dom.js";
import { drawing } from "./drawings.js";
import { money, plural } from "./format.js";

const FEW = 10;
const TINTS = ["#0f6e84", "#3d5a45", "#b9774a", "#5b7f95", "#8a5a3c", "#26364d"];

/** The list item of a product. */
export function card(product) {
  const title = `product-${product.id}`;
  return element(
    "li",
    { class: "card" },
    element(
      "article",
      { "aria-labelledby": title },
      plate(product),
      element("p", { class: "card-category" }, product.category ?? "Sundries"),
      element("h3", { id: title }, element("a", { href: `/products/${product.id}` }, product.name)),
      element("p", { class: "card-words soft small" }, text(product.description)),
      element(
        "div",
        { class: "card-foot" },
        price(product),
        add(product),
      ),
    ),
  );
}

/** The price, and whether the product is in stock. */
export function price(product) {
  return element("p", {}, element("strong", { class: "figure" }, money(product.price_cents, product.currency)), stock(product));
}

/** The product's picture: the drawing that `art` names, or the text of `art`, or the initial of the name. */
export function plate(product) {
  const art = drawing(product.art) || text(product.art) || element("span", { class: "initial" }, product.name[0]);
  return element("div", { class: "plate", "aria-hidden": "true", style: { "--tint": tint(product) } }, element("span", { class: "art" }, art));
}

function tint({ id, colour }) {
  if (/^#[0-9a-f]{6}$/i.test(text(colour))) return colour;
  const sum = [...String(id)].reduce((total, letter) => total + letter.charCodeAt(0), 0);
  return TINTS[sum % TINTS.length];
}

function stock({ stock }) {
  if (stock == null || stock > FEW) return element("span", { class: "soft small" }, "In stock");
  if (stock > 0) return element("span", { class: "few small" }, `Only ${stock} left`);
  return element("span", { class: "soft small" }, "Sold out");
}

/** The button that puts one more into the basket. */
export function add(product) {
  const click = () => {
    if (!suits(product)) {
      return say(`${product.name} costs ${money(product.price_cents, product.currency)}, and what is in your basket has another currency. Order that first.`);
    }
    const before = quantityOf(product);
    put(product, before + 1);
    const after = quantityOf(product);
    say(after > before ? `${product.name}: ${after} in the basket` : `${plural(after, "piece")} is all there is of ${product.name}`);
  };
  return element(
    "button",
    { type: "button", class: "button", disabled: product.stock === 0, "aria-label": `Add ${product.name} to the basket`, on: { click } },
    "Add",
  );
}

/** Attributes are free-form: values that are not text are not shown. */
export function text(value) {
  return typeof value === "string" ? value : "";
}
