// Who is shopping and what is in the basket: kept in this browser, shared by its tabs.

const CUSTOMER = "tidemark.customer";
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
