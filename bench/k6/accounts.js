// The accounts of the load test: its customers, and the admin who creates its products. A platform without authentication accepts
// the same requests.
import { fail } from 'k6';
import http from 'k6/http';

const { ADMIN_EMAIL, ADMIN_PASSWORD } = __ENV;
const TAGS = { part: 'setup' };

/** Returns the parameters of a request with this token, or without authentication if there is none. */
export function as(token, headers = {}) {
  return { headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...headers } };
}

function post(address, body, token) {
  return http.post(address, JSON.stringify(body), { ...as(token), tags: TAGS });
}

/** Returns an access token of this account. */
export function logged_in(api, email, password) {
  const response = post(`${api}/users/login`, { email, password });
  return response.status === 200 ? response.json('access_token') : fail(`${email} cannot log in: ${response.status} ${response.body}`);
}

/** Signs a customer of this run up and logs in: { id, email, password, token }. */
export function customer(api, email, password) {
  const response = post(`${api}/users`, { name: 'Customer', email, password });
  if (response.status !== 201) {
    fail(`${email} cannot sign up: ${response.status} ${response.body}; where sign-ups are limited, set a smaller CUSTOMERS`);
  }
  return { id: response.json('id'), email, password, token: logged_in(api, email, password) };
}

/** Returns an access token of the admin; null if none is named. */
export function admin(api) {
  return ADMIN_EMAIL ? logged_in(api, ADMIN_EMAIL, ADMIN_PASSWORD) : null;
}

/** This run's own products, of which there is enough: [{ id, price_cents }]. Null where the platform lets only an admin make them,
 * and none was named. */
export function own_products(api, run, count, token) {
  const products = [];
  for (let i = 0; i < count; i += 1) {
    const response = post(`${api}/products`, { name: `Lamp ${i} of run ${run}`, price_cents: 1999 + i, stock: 1000000000 }, token);
    if (!token && (response.status === 401 || response.status === 403)) {
      return null;
    }
    products.push(response.status === 201 ? response.json() : fail(`a product cannot be created: ${response.status} ${response.body}`));
  }
  return products;
}

/** Returns products of the catalogue with stock for a run: [{ id, price_cents }]. */
export function catalogue(api, count) {
  const response = http.get(`${api}/products?limit=100`, { tags: TAGS });
  const stocked = response.status === 200 ? response.json('items').filter((product) => product.stock >= 10000) : [];
  return stocked.length > 0 ? stocked.slice(0, count) : fail(`no product has 10000 pieces left: set ADMIN_EMAIL and ADMIN_PASSWORD, whose account creates some`);
}
