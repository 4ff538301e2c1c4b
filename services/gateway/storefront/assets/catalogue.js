// The catalogue: the products that match the search and the category. Both are in the address, so that the back button, a
// reload and a shared link show the same products.

import { call } from "./api.js";
import { card } from "./card.js";
import { button, element, notice } from "./dom.js";
import { plural } from "./format.js";

const shelf = document.querySelector("#shelf");
const categories = document.querySelector("#categories");
const search = document.querySelector("#search");
const found = document.querySelector("#found");
const SKELETONS = 8;
const PAGE = 40;
// Pause in typing after which a search starts.
const TYPING_MS = 80;

let shown = 0;
let typing;

/** Fills the shelf, and updates it when the search or the address changes. */
export async function catalogue() {
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => go({ q: search.value.trim() }, "replaceState"), TYPING_MS);
  });
  document.querySelector("#search-form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("popstate", arrive);
  await arrive();
}

/** The search in the address. */
function wanted() {
  const query = new URLSearchParams(location.search);
  return { q: query.get("q") ?? "", category: query.get("category") ?? "" };
}

/** Changes the address and shows its search. A category is a step in the browser's history; a typed letter is not. */
function go(change, how = "pushState") {
  const query = new URLSearchParams(Object.entries({ ...wanted(), ...change }).filter(([, value]) => value));
  history[how](null, "", query.size > 0 ? `/?${query}` : "/");
  return load();
}

function arrive() {
  search.value = wanted().q;
  return load();
}

async function load() {
  shown += 1;
  const turn = shown;
  shelf.setAttribute("aria-busy", "true");
  if (!shelf.querySelector(".card:not(.skeleton)")) shelf.replaceChildren(...Array.from({ length: SKELETONS }, skeleton));
  try {
    const page = await find();
    if (turn === shown) show(page, turn);
  } catch (problem) {
    if (turn === shown) shelf.replaceChildren(whole(notice("The shelves are out of reach", problem.message, button("Try again", load, "quiet"))));
  } finally {
    if (turn === shown) shelf.removeAttribute("aria-busy");
  }
}

function find(cursor) {
  const { q, category } = wanted();
  const query = new URLSearchParams({ limit: PAGE, sort: q ? "best" : "newest", ...(q && { q }), ...(category && { category }), ...(cursor && { cursor }) });
  return call(`/products?${query}`);
}

function show({ items, next, total, categories: names }, turn) {
  found.textContent = `${plural(total, "product")} found`;
  showCategories(names);
  shelf.replaceChildren(...(items.length ? items.map(card) : [whole(nothing())]));
  offerMore(next, turn);
}

function offerMore(next, turn) {
  if (!next) return;
  const more = async () => {
    try {
      const page = await find(next);
      if (turn !== shown) return;
      const cards = page.items.map(card);
      last.replaceWith(...cards);
      cards[0]?.querySelector("a, button")?.focus();
      offerMore(page.next, turn);
    } catch ({ message }) {
      last.append(element("p", { class: "complaint", role: "alert" }, message));
    }
  };
  const last = whole(button("Show more products", more, "quiet"));
  shelf.append(last);
}

function whole(...children) {
  return element("li", { class: "whole" }, ...children);
}

function nothing() {
  const { q, category } = wanted();
  if (!q && !category) {
    const files = element("a", { class: "button quiet", href: "/files" }, "Upload a catalogue");
    return notice("The shelves are empty", "No product has been put into the catalogue yet.", files);
  }
  const reset = () => {
    search.value = "";
    search.focus();
    return go({ q: "", category: "" });
  };
  return notice("Nothing washed ashore", "No product fits that search.", button("Show everything", reset, "quiet"));
}

function showCategories(counted) {
  const { category } = wanted();
  const names = counted.map(({ name }) => name);
  if (category && !names.includes(category)) names.push(category);
  const chip = (name, label) =>
    element("button", { type: "button", class: "chip", "aria-pressed": String(name === category), on: { click: () => go({ category: name }) } }, label);
  const at = [...categories.children].indexOf(document.activeElement);
  categories.replaceChildren(chip("", "Everything"), ...names.sort().map((name) => chip(name, name)));
  categories.children[at]?.focus();
}

function skeleton() {
  const bar = (kind) => element("div", { class: `bone ${kind}` });
  return element("li", { class: "card skeleton", "aria-hidden": "true" }, element("div", { class: "plate" }), bar("short"), bar("long"), bar("long"));
}
