// The customer, the session and the basket: kept in this browser, shared by its tabs.
//
// The access token is kept here too, for the pages and tabs to share; it is good for minutes. The refresh token, good for
// weeks, is in a cookie that no script reads.

const CUSTOMER = "tidemark.customer";
const SESSION = "tidemark.session";
const BASKET = "tidemark.basket";
const ORDER = "tidemark.order";
const ADDRESS = "tidemark.address";
const MOST = 99;

/** Fires "customer" and "basket" when they change, here or in another tab. */
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

/** Stores the session of a log-in or a refresh; null ends it. */
export function keepSession(tokens) {
  const { access_token, expires_in } = tokens ?? {};
  write(SESSION, tokens && { access_token, expires_at_ms: Date.now() + expires_in * 1_000 });
}

/** {id, isAdmin}: the session's user, from its access token; null without one. */
export function bearer() {
  const token = session()?.access_token;
  if (!token) return null;
  const { sub, roles = [] } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  return { id: Number(sub), isAdmin: roles.includes("admin") };
}

/** Where the last order went: {name, street, postcode, city, country}; null if it was collected. */
export function address() {
  return read(ADDRESS, null);
}

/** Stores an address and returns it; undefined for null. */
export function keepAddress(address) {
  write(ADDRESS, address);
  return address ?? undefined;
}

/** Forgets the customer, the session and the address; the basket stays. */
export function leave() {
  write(SESSION, null);
  write(ADDRESS, null);
  if (customer()) choose(null);
}

/** [{product, quantity}], in the order they were put in. */
export function basket() {
  return read(BASKET, []);
}

/** Returns whether the product has the currency of the basket. An order has one currency. */
export function suits(product) {
  return basket().every((line) => line.product.currency === product.currency);
}

/** Sets the number of a product in the basket; zero takes it out. */
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

/**
 * The idempotency key of this customer's order of the current basket. It is kept until the basket changes, through a reload and
 * in all tabs. A customer who presses the button again after an answer was lost therefore orders once.
 */
export function orderKey(userId) {
  const lines = JSON.stringify([address(), basket().map(({ product, quantity }) => [product.id, product.price_cents, quantity])]);
  const kept = read(ORDER, null);
  if (kept?.user === userId && kept.lines === lines) return kept.key;
  const key = newKey();
  localStorage.setItem(ORDER, JSON.stringify({ key, user: userId, lines }));
  return key;
}

/** Forgets the key of an order that was placed: the same basket is another order from now on. */
export function forgetOrderKey() {
  localStorage.removeItem(ORDER);
}

/** Replaces products in the basket by these, which have the current prices. */
export function reprice(products) {
  const now = new Map(products.map((product) => [product.id, product]));
  write(BASKET, basket().map(({ product, quantity }) => ({ product: now.get(product.id) ?? product, quantity })));
}

export function count(lines = basket()) {
  return lines.reduce((sum, { quantity }) => sum + quantity, 0);
}

/** [[currency, minor units]]: the cost of the lines, for each currency. */
export function totals(lines = basket()) {
  const sums = new Map();
  for (const { product, quantity } of lines) {
    sums.set(product.currency, (sums.get(product.currency) ?? 0) + product.price_cents * quantity);
  }
  return [...sums];
}

// crypto.randomUUID exists on https and localhost only.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
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
