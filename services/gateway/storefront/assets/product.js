// One product, at an address of its own: /products/{id}.

import "./masthead.js";
import { call } from "./api.js";
import { add, plate, price, text } from "./card.js";
import { button, element, notice } from "./dom.js";

const place = document.querySelector("#product");
const id = location.pathname.split("/")[2] ?? "";
/** Fields that are shown elsewhere on the page, or mean nothing to a customer. */
const TOLD = new Set(["id", "name", "price_cents", "currency", "stock", "category", "description", "art", "colour", "version", "stock_version", "created_at", "updated_at"]);

async function load() {
  place.setAttribute("aria-busy", "true");
  try {
    show(await call(`/products/${encodeURIComponent(id)}`));
  } catch (problem) {
    explain(problem);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

function show(product) {
  document.title = `Tidemark · ${product.name}`;
  const shelf = product.category && element("a", { href: `/?${new URLSearchParams({ category: product.category })}` }, product.category);
  place.replaceChildren(
    plate(product),
    element(
      "div",
      { class: "stack product-words" },
      element("p", { class: "card-category" }, shelf || "Sundries"),
      element("h1", {}, product.name),
      element("p", {}, text(product.description)),
      details(product),
      element("div", { class: "card-foot" }, price(product), add(product)),
    ),
  );
}

// Attributes are free-form: those that are a word or a number are shown.
function details(product) {
  const plain = ([name, value]) => !TOLD.has(name) && ["string", "number", "boolean"].includes(typeof value);
  const told = Object.entries(product).filter(plain);
  if (told.length === 0) return null;
  return element("dl", { class: "product-details small" }, told.flatMap(([name, value]) => [element("dt", { class: "soft" }, name), element("dd", {}, String(value))]));
}

function explain({ status, message }) {
  const shop = element("a", { class: "button quiet", href: "/" }, "Look around");
  if (status === 404 || status === 400) return place.replaceChildren(notice("Gone with the tide", "There is no such product, or not any more.", shop));
  place.replaceChildren(notice("The product is out of reach", message, button("Try again", load, "quiet")));
}

// A customer who came from the shelf goes back to the same place on it.
document.querySelector("#back").addEventListener("click", (event) => {
  const from = document.referrer && new URL(document.referrer);
  if (from?.origin !== location.origin || from.pathname !== "/") return;
  event.preventDefault();
  history.back();
});
load();
