// One file: its properties, and the findings in it. A waiting file is polled until it is finished.

import { call, download, picture } from "./api.js";
import { button, element } from "./dom.js";
import { date, minute, plural, size } from "./format.js";

const FIRST_LOOK_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const KINDS = { csv: "CSV", json: "JSON", ndjson: "NDJSON" };
const REASONS = {
  empty: "Empty",
  unknown_kind: "Unsupported kind",
  misnamed: "Name and content disagree",
  too_large: "Too large",
  malformed: "Broken",
  too_slow: "Took too long",
  gone: "Gone",
};

/** The list item of a file. `onFinished` receives a waiting file when it is finished. */
export function fileCard(file, onFinished = () => {}) {
  const item = element("li", {}, card(file));
  if (file.status === "waiting") follow(file, item, onFinished);
  return item;
}

async function follow(file, item, onFinished) {
  for (let pause = FIRST_LOOK_MS; file.status === "waiting"; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (!item.isConnected) return;
    file = await call(`/files/${file.id}`).catch(({ message }) => ({ ...file, error: { detail: message } }));
    item.replaceChildren(card(file));
  }
  onFinished(file);
}

function card(file) {
  const title = `file-${file.id}`;
  return element(
    "article",
    { class: "file", "aria-labelledby": title },
    plate(file),
    element(
      "div",
      { class: "file-words" },
      element("div", { class: "file-head" }, element("h2", { id: title }, file.name), element("span", { class: "status", "data-status": file.status }, file.status)),
      element("p", { class: "soft small figure" }, circumstances(file)),
      findings(file),
    ),
  );
}

function plate({ id, kind, status, summary }) {
  const mark = element("span", {}, KINDS[kind] ?? (status === "waiting" ? "…" : summary?.format?.toUpperCase() ?? "?"));
  const node = element("div", { class: "file-plate", "aria-hidden": "true" }, mark);
  if (summary?.thumbnail) thumbnail(id, mark);
  return node;
}

function thumbnail(id, mark) {
  const show = (src) => {
    const image = element("img", { src, alt: "" });
    image.addEventListener("load", () => URL.revokeObjectURL(src), { once: true });
    mark.replaceWith(image);
  };
  // Without a thumbnail, the name of the format stays.
  picture(`/files/${id}/thumbnail`).then(show, () => {});
}

function circumstances({ size_bytes, uploaded_at, took_ms }) {
  const at = Date.parse(uploaded_at);
  const took = took_ms != null && `read in ${took_ms.toLocaleString()} ms`;
  return [size(size_bytes), `${date(at)}, ${minute(at)}`, took].filter(Boolean).join(" · ");
}

function findings(file) {
  const { status, kind, summary, error } = file;
  if (status === "waiting") return element("p", { class: "soft" }, error ? `Not read yet: ${error.detail}` : "It will be read in a moment.");
  if (status === "refused") return element("p", { class: "complaint" }, element("strong", {}, REASONS[error.reason] ?? "Refused"), `: ${error.detail}.`);
  return element("div", { class: "findings" }, kind === "image" ? `${summary.format.toUpperCase()}, ${summary.width} × ${summary.height}` : rows(summary), mend(file));
}

function rows({ rows, values, depth, encoding, bad_rows = 0, column_count, columns, keys, has_more_keys, repeated_keys = [], first_bad = [], products }) {
  const counts = [
    rows != null && plural(rows, "row"),
    column_count != null && plural(column_count, "column"),
    values != null && plural(values, "value"),
    depth != null && `${plural(depth, "level")} deep`,
    bad_rows > 0 && `${plural(bad_rows, "bad row")}`,
    encoding && encoding !== "utf-8" && `read as ${encoding}`,
  ];
  const names = columns?.map(({ name, type }) => `${name}: ${type}`) ?? keys ?? [];
  const hasMore = has_more_keys || names.length < (column_count ?? 0);
  return [
    element("p", { class: "figure" }, counts.filter(Boolean).join(", ")),
    products && element("p", { class: "figure" }, imported(products)),
    repeated_keys.length > 0 && element("p", { class: "complaint" }, `An object has a name twice: ${repeated_keys.join(", ")}.`),
    names.length > 0 && element("ul", { class: "file-columns" }, names.map((name) => element("li", {}, name)), hasMore && element("li", {}, "…")),
    troubles([...first_bad, ...(products?.first_refused ?? [])]),
  ];
}

function imported({ added, changed, refused, repeated_rows = 0, skus_without_point = 0 }) {
  const repeated = repeated_rows > 0 && `${plural(repeated_rows, "row")} merged with an earlier row of the same product`;
  const pointless = skus_without_point > 0 && "SKUs such as 1001.0 read as 1001";
  return [`${plural(added, "product")} added`, `${changed} changed`, refused > 0 && `${refused} refused`, repeated, pointless].filter(Boolean).join(", ");
}

// The bad rows, as a file for correction and a new upload.
function mend({ id, name, summary }) {
  const csv = summary?.bad_rows_csv;
  if (!csv) return null;
  const called = `${name.replace(/\.[^.]*$/, "")}-bad-rows.csv`;
  const label = `Download ${csv.has_more ? "the first " : ""}${plural(csv.rows, "bad row")} as CSV`;
  const trouble = element("span", { class: "complaint", role: "status" });
  const save = button(label, () => download(`/files/${id}/bad-rows`, called).catch(({ message }) => (trouble.textContent = message)), "quiet");
  return element("p", { class: "file-mend" }, save, " Correct them and upload that file. The other rows were accepted. ", trouble);
}

function troubles(found) {
  const lines = found.map(({ row, line, column, problem }) => element("li", {}, `${place(row, line, column)}: ${problem}`));
  return lines.length > 0 && element("ul", { class: "complaint file-troubles" }, lines);
}

// In a CSV, a column is a name; in a line of JSON, it is a position.
function place(row, line, column) {
  const at = line != null ? `Line ${line}` : `Row ${row}`;
  if (column == null || column === "") return at;
  return typeof column === "number" ? `${at}, column ${column}` : `${at}, ${column}`;
}
