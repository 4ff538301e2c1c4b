// Calls the platform. Sends JSON or a file, returns JSON or a picture, and throws problem documents (RFC 9457) as one kind of
// error.
//
// Every call sends the access token, if a customer is logged in. A token that is about to expire is renewed before the call. A
// token that is refused is renewed once, and the call repeated. The refresh token is in a cookie that no script can read; it is
// used only by calls with `BY_COOKIE`. Its second use would end the session, so tabs take turns by a lock.

import { observe } from "./clock.js";
import { keepSession, leave, session } from "./customer.js";

/** With this header, log-in, renewal and log-out keep the refresh token in a cookie. */
export const BY_COOKIE = { "tidemark-session": "cookie" };

const PATIENCE_MS = 15_000;
/** The time for a browser to save a download. */
const SAVING_MS = 60_000;
/** A token that expires within this time is renewed, because it could expire on its way. */
const MARGIN_MS = 30_000;
const MODE = "tidemark.mode";
const TURN = "tidemark.session";

let turn = Promise.resolve();

/** A failure, in words for the customer. Status 0: no answer at all. */
export class Problem extends Error {
  constructor(status, detail, field) {
    super(detail);
    this.status = status;
    this.field = field;
  }
}

/**
 * Calls /api + path. Throws a Problem for anything but success. Log-in and log-out are `isAnonymous`: they send no token. A body
 * that is a file is sent as it is, and needs more `patience`.
 */
export async function call(path, { isAnonymous = false, ...request } = {}) {
  const token = isAnonymous ? null : await accessToken();
  const answer = await send(path, request, token);
  if (answer.status !== 401 || isAnonymous) return read(answer);
  sessionStorage.setItem(MODE, "enforced");
  const renewed = token && (await renew(token));
  if (renewed) return read(await send(path, request, renewed));
  leave();
  throw new Problem(401, "You are not logged in any more. Log in and try again.");
}

/** Returns the address of a picture below /api for an <img>, which cannot send a token itself. The caller revokes the address. */
export async function picture(path) {
  const answer = await send(path, {}, await accessToken());
  return answer.ok ? URL.createObjectURL(await answer.blob()) : read(answer);
}

/** Saves a file below /api under this name. A plain link would not do, because it cannot send a token. */
export async function download(path, name) {
  saveFrom(await picture(path), name);
}

/** Saves a file that the page has made, under this name. */
export function save(blob, name) {
  saveFrom(URL.createObjectURL(blob), name);
}

function saveFrom(address, name) {
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(address), SAVING_MS);
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

/**
 * Returns whether the platform is open: callers need not authenticate. It is if it answers a request without a token for a
 * list that only admins may read. The list is requested once for each tab; any 401 also means that the platform is not open.
 */
export async function isOpen() {
  if (!sessionStorage.getItem(MODE)) {
    const answer = await send("/users?limit=1");
    if (answer.status !== 401) await read(answer);
    sessionStorage.setItem(MODE, answer.ok ? "open" : "enforced");
  }
  return sessionStorage.getItem(MODE) === "open";
}

/** The access token of the logged-in customer, or null. */
export async function accessToken() {
  const kept = session();
  if (!kept || kept.expires_at_ms - Date.now() > MARGIN_MS) return kept?.access_token ?? null;
  // If it cannot be renewed now, the call is tried with the old token.
  return renew(kept.access_token).catch(() => kept.access_token);
}

/** Returns the token that replaces `stale`; null when the session is over. */
function renew(stale) {
  return exclusively(async () => {
    const kept = session();
    // Another call or tab has renewed the token already. A tab that does not see the new token yet renews once more, with
    // the new cookie.
    if (kept?.access_token !== stale) return kept?.access_token ?? null;
    try {
      keepSession(await call("/users/refresh", { method: "POST", headers: BY_COOKIE, isAnonymous: true }));
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      leave();
    }
    return session()?.access_token ?? null;
  });
}

// Browsers have locks on https and localhost only. Elsewhere the calls of one page take turns, but tabs do not.
function exclusively(work) {
  if (navigator.locks) return navigator.locks.request(TURN, work);
  const done = turn.then(work);
  turn = done.catch(() => {});
  return done;
}

async function send(path, { method = "GET", body, headers = {}, patience = PATIENCE_MS } = {}, token = null) {
  const isFile = body instanceof Blob;
  const request = {
    method,
    headers: {
      accept: "application/json",
      ...(body && { "content-type": isFile ? "application/octet-stream" : "application/json" }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: isFile ? body : body && JSON.stringify(body),
    signal: AbortSignal.timeout(patience),
  };
  try {
    return await fetch(`/api${path}`, request);
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Problem(0, late ? "The shop took too long to answer." : "The shop cannot be reached right now.");
  }
}

async function read(answer) {
  observe(answer.headers.get("date"));
  const said = await answer.json().catch(() => null);
  if (answer.ok) return said;
  const wait = Number(answer.headers.get("retry-after"));
  const words = [sentence(said?.detail) ?? fallback(answer.status), wait > 0 && `Try again in ${wait} s.`];
  throw new Problem(answer.status, words.filter(Boolean).join(" "), said?.field);
}

function fallback(status) {
  return status >= 500 ? "Something went wrong on our side." : "The shop did not accept that.";
}

function sentence(text) {
  if (!text) return undefined;
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text[0].toUpperCase() + text.slice(1) + end;
}
