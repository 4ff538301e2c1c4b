// The page of the API: every operation that the services describe, with a form to try it.

import "./masthead.js";
import { element, notice } from "./dom.js";
import { operation } from "./operation.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const place = document.querySelector("#operations");

async function load() {
  const answer = await fetch("/openapi.json").catch(() => null);
  if (!answer?.ok) return show(notice("The description is out of reach", "The gateway does not answer. Reload the page to try again."));
  const description = await answer.json();
  const groups = grouped(description);
  const missing = description["x-missing"] ?? [];
  show(
    groups.size === 0 && notice("Uncharted waters", "No service publishes a description of its operations yet."),
    ...[...groups].map(([name, operations]) => section(name, operations)),
    missing.length > 0 && element("p", { class: "soft small" }, `These services do not publish their description now: ${missing.join(", ")}.`),
  );
}

function show(...parts) {
  place.replaceChildren(...parts.filter(Boolean));
  place.removeAttribute("aria-busy");
}

function grouped(description) {
  const groups = new Map();
  for (const [path, item] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const details = item[method];
      const parameters = [...(item.parameters ?? []), ...(details.parameters ?? [])];
      const name = details.tags?.[0] ?? "other";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(operation({ description, path, method, details, parameters }));
    }
  }
  return groups;
}

function section(name, operations) {
  const title = `group-${name}`;
  return element("section", { class: "group", "aria-labelledby": title }, element("h2", { id: title }, name), operations);
}

load();
