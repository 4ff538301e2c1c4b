// The catalogue: loads the products, shows those that fit the search and the category.

import { list } from "./api.js";
import { card } from "./card.js";
import { button, element, notice } from "./dom.js";
import { plural } from "./format.js";

const shelf = document.querySelector("#shelf");
const categories = document.querySelector("#categories");
const search = document.querySelector("#search");
const found = document.querySelector("#found");
const SKELETONS = 8;

let products = [];
let category = null;

/** Fills the shelf and keeps it up with the search. */
export async function catalogue() {
  search.addEventListener("input", show);
  document.querySelector("#search-form").addEventListener("submit", (event) => event.preventDefault());
  await load();
}

async function load() {
  shelf.setAttribute("aria-busy", "true");
  shelf.replaceChildren(...Array.from({ length: SKELETONS }, skeleton));
  try {
    products = await list("/products");
    showCategories();
    show();
  } catch (problem) {
    shelf.replaceChildren(element("li", { class: "whole" }, notice("The shelves are out of reach", problem.message, button("Try again", load, "quiet"))));
  } finally {
    shelf.removeAttribute("aria-busy");
  }
}

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (product) => {
    const text = `${product.name} ${product.category ?? ""} ${product.description ?? ""}`.toLowerCase();
    return (!category || product.category === category) && words.every((word) => text.includes(word));
  };
  const chosen = products.filter(fits);
  found.textContent = `${plural(chosen.length, "product")} shown`;
  shelf.replaceChildren(...(chosen.length ? chosen.map(card) : [element("li", { class: "whole" }, nothing())]));
}

function nothing() {
  if (products.length === 0) {
    const files = element("a", { class: "button quiet", href: "/files" }, "Upload a catalogue");
    return notice("The shelves are empty", "No product has been put into the catalogue yet.", files);
  }
  const reset = () => {
    search.value = "";
    choose(null);
    search.focus();
  };
  return notice("Nothing washed ashore", "No product fits that search.", button("Show everything", reset, "quiet"));
}

function showCategories() {
  const names = [...new Set(products.map((product) => product.category).filter(Boolean))].sort();
  const chip = (name, label) =>
    element("button", { type: "button", class: "chip", "aria-pressed": String(name === category), on: { click: () => choose(name) } }, label);
  categories.replaceChildren(chip(null, "Everything"), ...names.map((name) => chip(name, name)));
}

function choose(name) {
  category = name;
  const at = [...categories.children].indexOf(document.activeElement);
  showCategories();
  categories.children[at]?.focus();
  show();
}

function skeleton() {
  const bar = (kind) => element("div", { class: `bone ${kind}` });
  return element("li", { class: "card skeleton", "aria-hidden": "true" }, element("div", { class: "plate" }), bar("short"), bar("long"), bar("long"));
}
