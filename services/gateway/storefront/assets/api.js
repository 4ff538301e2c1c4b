// Speaks to the platform: JSON in, JSON out, problem documents (RFC 9457) as one kind of error.

import { observe } from "./clock.js";

const PATIENCE_MS = 15_000;

/** What went wrong, in words for the customer. Status 0: no answer at all. */
export class Problem extends Error {
  constructor(status, detail, field) {
    super(detail);
    this.status = status;
    this.field = field;
  }
}

/** Calls /api + path. Throws a Problem for anything but success. */
export async function call(path, { method = "GET", body, headers = {} } = {}) {
  const answer = await ask(`/api${path}`, {
    method,
    headers: { accept: "application/json", ...(body && { "content-type": "application/json" }), ...headers },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  observe(answer.headers.get("date"));
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, sentence(said?.detail) ?? fallback(answer.status), said?.field);
  return said;
}

/** Every item of a list, page after page, up to `most`. */
export async function list(path, most = 500) {
  const items = [];
  let next = null;
  do {
    const query = new URLSearchParams({ limit: "100", ...(next && { cursor: next }) });
    const page = await call(`${path}${path.includes("?") ? "&" : "?"}${query}`);
    items.push(...page.items);
    next = page.next;
  } while (next && items.length < most);
  return items;
}

async function ask(address, request) {
  try {
    return await fetch(address, request);
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Problem(0, late ? "The shop took too long to answer." : "The shop cannot be reached right now.");
  }
}

function fallback(status) {
  return status >= 500 ? "Something went wrong on our side." : "The shop did not accept that.";
}

function sentence(text) {
  if (!text) return undefined;
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text[0].toUpperCase() + text.slice(1) + end;
}
