// The files: uploads, and the findings in each. For admins; the service checks the right.

import "./masthead.js";
import { askWho } from "./account.js";
import { call } from "./api.js";
import { changes, customer } from "./customer.js";
import { button, element, notice } from "./dom.js";
import { fileCard } from "./file.js";
import { plural } from "./format.js";

const PAGE = 20;
// The gateway's time limit for an upload.
const PATIENCE_MS = 600_000;

const place = document.querySelector("#files");
const form = document.querySelector("#put");
const chosen = document.querySelector("#chosen");
const isCatalogue = document.querySelector("#is-catalogue");
const trouble = document.querySelector("#put-trouble");
const news = document.querySelector("#news");
const submit = form.querySelector("button");

let shown = 0;
let cards = element("ol", { class: "files" });

async function load() {
  shown += 1;
  const turn = shown;
  cards = element("ol", { class: "files" });
  place.setAttribute("aria-busy", "true");
  place.replaceChildren(...Array.from({ length: 3 }, () => element("div", { class: "file bone", "aria-hidden": "true" })));
  try {
    await page(null, turn);
    if (turn === shown) offer();
  } catch (problem) {
    if (turn === shown) explain(problem);
  } finally {
    if (turn === shown) place.removeAttribute("aria-busy");
  }
}

async function page(cursor, turn) {
  const query = new URLSearchParams({ limit: PAGE, ...(cursor && { cursor }) });
  const { items, next } = await call(`/files?${query}`);
  if (turn !== shown) return;
  cards.append(...items.map(fileCard));
  const older = next && button("Show older files", () => page(next, turn).catch((problem) => older.replaceWith(problem.message)), "quiet");
  show(...(older ? [older] : []));
}

function show(...after) {
  place.replaceChildren(cards.children.length > 0 ? cards : none(), ...after);
}

function none() {
  return notice("The hold is empty", "No file has been uploaded yet. The first one shows up here at once.");
}

function offer() {
  form.hidden = false;
  form.removeAttribute("aria-busy");
}

function explain({ status, message }) {
  form.hidden = true;
  if (status === 401) {
    const enter = button("Log in", askWho, "quiet");
    return place.replaceChildren(notice("Who are you?", "Files are for admins. Log in to see them.", enter));
  }
  if (status === 403) {
    const shop = element("a", { class: "button quiet", href: "/" }, "Go to the shop");
    return place.replaceChildren(notice("Crew only", `Files are for admins, and ${customer()?.name ?? "you"} is a customer.`, shop));
  }
  place.replaceChildren(notice("The files are out of reach", message, button("Try again", load, "quiet")));
}

async function put(event) {
  event.preventDefault();
  trouble.textContent = "";
  submit.disabled = true;
  const files = [...chosen.files];
  try {
    for (const [at, file] of files.entries()) {
      submit.textContent = files.length > 1 ? `Sending ${at + 1} of ${files.length}…` : "Sending…";
      await send(file);
    }
    form.reset();
  } catch (problem) {
    trouble.textContent = problem.message;
  } finally {
    submit.disabled = false;
    submit.textContent = "Upload";
  }
}

async function send(file) {
  const query = new URLSearchParams({ name: file.name, ...(isCatalogue.checked && { folder: "catalogue" }) });
  const taken = await call(`/files?${query}`, { method: "POST", body: file, patience: PATIENCE_MS });
  cards.prepend(fileCard(taken, tell));
  if (!cards.isConnected) show();
}

function tell({ name, status, error }) {
  news.textContent = status === "processed" ? `${name} was read.` : `${name} was refused: ${error.detail}.`;
}

// A file that is dropped beside the field would replace the page.
form.addEventListener("dragover", (event) => event.preventDefault());
form.addEventListener("drop", (event) => {
  event.preventDefault();
  chosen.files = event.dataTransfer.files;
  trouble.textContent = "";
  news.textContent = `${plural(chosen.files.length, "file")} chosen.`;
});
form.addEventListener("submit", put);
changes.addEventListener("customer", load);
load();
