// One operation of the API: its description, a form for its parameters, and its answer.

import { accessToken } from "./api.js";
import { element } from "./dom.js";
import { example, resolve } from "./schema.js";

let made = 0;

/** A <details> with the operation's form inside. */
export function operation({ description, path, method, details, parameters }) {
  const id = `operation-${(made += 1)}`;
  const fields = parameters.map((parameter) => field(resolve(description, parameter), id));
  const body = bodyField(description, details, id);
  const answer = element("div", { class: "answer", role: "status" });
  const send = async (event) => {
    event.preventDefault();
    answer.replaceChildren(...(await ask({ path, method, fields, body })));
  };
  return element(
    "details",
    { class: "operation" },
    element(
      "summary",
      {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("code", {}, path),
      element("span", { class: "soft small" }, details.summary ?? ""),
    ),
    element(
      "form",
      { class: "stack", on: { submit: send } },
      details.description && element("p", { class: "soft" }, details.description),
      fields.map(({ node }) => node),
      body?.node,
      element("button", { class: "button", type: "submit" }, "Send"),
    ),
    answer,
  );
}

function field({ name, in: where, required = false, description, schema = {} }, operation) {
  const id = `${operation}-${where}-${name}`;
  const help = [where, required ? "required" : "optional", description].filter(Boolean).join(" · ");
  const input = element("input", { id, required, value: schema.default ?? "", "aria-describedby": `${id}-help` });
  return {
    name,
    where,
    value: () => input.value.trim(),
    node: element(
      "div",
      { class: "field" },
      element("label", { for: id }, name),
      input,
      element("p", { class: "soft small", id: `${id}-help` }, help),
    ),
  };
}

function bodyField(description, { requestBody }, operation) {
  const content = resolve(description, requestBody)?.content?.["application/json"];
  if (!content) return null;
  const id = `${operation}-body`;
  const text = JSON.stringify(content.example ?? example(description, content.schema), null, 2);
  const input = element("textarea", { id, rows: Math.min(text.split("\n").length + 1, 16), spellcheck: "false" }, text);
  return {
    value: () => input.value,
    node: element("div", { class: "field" }, element("label", { for: id }, "Body"), input),
  };
}

async function ask({ path, method, fields, body }) {
  const given = (where) => fields.filter((field) => field.where === where && field.value() !== "");
  const filled = given("path").reduce((text, { name, value }) => text.replace(`{${name}}`, encodeURIComponent(value())), path);
  const query = new URLSearchParams(given("query").map(({ name, value }) => [name, value()]));
  const headers = Object.fromEntries(given("header").map(({ name, value }) => [name, value()]));
  if (body) headers["content-type"] = "application/json";
  const token = await accessToken();
  if (token) headers.authorization ??= `Bearer ${token}`;
  const address = query.size > 0 ? `${filled}?${query}` : filled;
  const began = performance.now();
  try {
    const answer = await fetch(address, { method: method.toUpperCase(), headers, body: body?.value() });
    return shown(answer, await readText(answer), performance.now() - began);
  } catch (error) {
    return [element("p", { class: "complaint" }, `No answer: ${error.message}.`)];
  }
}

// A stream of events has no end: its first piece is enough to see it.
async function readText(answer) {
  if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer.text();
  const reader = answer.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

function shown(answer, text, took) {
  const verdict = `${answer.status} ${answer.statusText} in ${Math.round(took)} ms`;
  return [
    element("p", { class: answer.ok ? "figure" : "figure complaint" }, verdict),
    element("pre", { tabindex: "0", "aria-label": "The answer's body" }, pretty(text)),
  ];
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
