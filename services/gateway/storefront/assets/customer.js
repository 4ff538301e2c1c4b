// Who is shopping, by which session, and what is in the basket: kept in this browser, shared by its tabs.
//
// The access token is kept here too, for the pages and tabs to share; it is good for minutes. What it is renewed with, for
// weeks, is in a cookie that no script sees.

const CUSTOMER = "tidemark.customer";
const SESSION = "tidemark.session";
const BASKET = "tidemark.basket";
const MOST = 99;

/** Fires "customer" and "basket" when either changed, here or in another tab. */
export const changes = new EventTarget();

/** {id, name, email} or null. */
export function customer() {
  return read(CUSTOMER, null);
}

export function choose(user) {
  write(CUSTOMER, user && { id: user.id, name: user.name, email: user.email });
}

/** {access_token, expires_at_ms} or null. */
export function session() {
  return read(SESSION, null);
}

/** Keeps what a log-in or a refresh answered; null ends it. */
export function keepSession(tokens) {
  const { access_token, expires_in } = tokens ?? {};
  write(SESSION, tokens && { access_token, expires_at_ms: Date.now() + expires_in * 1_000 });
}

/** {id, isAdmin}: whose session it is, as its access token says; null without one. */
export function bearer() {
  const token = session()?.access_token;
  if (!token) return null;
  const { sub, roles = [] } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  return { id: Number(sub), isAdmin: roles.includes("admin") };
}

/** Nobody is shopping any more; the basket stays. */
export function leave() {
  write(SESSION, null);
  if (customer()) choose(null);
}

/** [{product, quantity}], in the order they were put in. */
export function basket() {
  return read(BASKET, []);
}

/** Puts so many of a product into the basket, in place of what was there; none takes it out. */
export function put(product, quantity) {
  const most = Math.min(MOST, product.stock ?? MOST);
  const line = { product, quantity: Math.min(Math.max(quantity, 0), most) };
  const lines = basket();
  const at = lines.findIndex((other) => other.product.id === product.id);
  if (at < 0) lines.push(line);
  else lines[at] = line;
  write(BASKET, lines.filter(({ quantity }) => quantity > 0));
}

export function quantityOf(product) {
  return basket().find((line) => line.product.id === product.id)?.quantity ?? 0;
}

export function empty() {
  write(BASKET, []);
}

export function count(lines = basket()) {
  return lines.reduce((sum, { quantity }) => sum + quantity, 0);
}

export function total(lines = basket()) {
  return lines.reduce((sum, { product, quantity }) => sum + product.price_cents * quantity, 0);
}

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(key, value) {
  localStorage.setItem(key, JSON.stringify(value));
  changes.dispatchEvent(new Event(key.split(".")[1]));
}

addEventListener("storage", ({ key }) => {
  if (key === CUSTOMER || key === BASKET) changes.dispatchEvent(new Event(key.split(".")[1]));
});
