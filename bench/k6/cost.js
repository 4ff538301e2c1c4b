// What a customer costs: the iteration of shop.js without its pauses and its books, for as long as DURATION says. Whoever runs it
// reads the processes' CPU time before and after; helm/tests/costs.sh does. Where callers are asked who they are, ADMIN_EMAIL
// and ADMIN_PASSWORD name who may make a product.
import { check, fail } from 'k6';
import http from 'k6/http';

const API = `${(__ENV.BASE_URL || 'http://127.0.0.1:5000').replace(/\/$/, '')}/api`;
const { ADMIN_EMAIL, ADMIN_PASSWORD } = __ENV;

export const options = {
  vus: 4,
  duration: __ENV.DURATION || '20s',
  thresholds: { checks: ['rate==1'] },
};

function as(token) {
  return { headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) } };
}

function made(path, body, params) {
  const response = http.post(`${API}${path}`, JSON.stringify(body), params);
  return response.status < 300 ? response.json() : fail(`${path}: ${response.status} ${response.body}`);
}

/** An access token, where there is somebody to log in. */
function logged_in(email, password) {
  return ADMIN_EMAIL && made('/users/login', { email, password }, as()).access_token;
}

export function setup() {
  const run = `${Date.now()}`;
  const customer = { name: 'Customer', email: `cost-${run}@example.com`, password: `cost of ${run}` };
  const user = made('/users', customer, as()).id;
  const lamp = { name: `Lamp of run ${run}`, price_cents: 1999, stock: 1000000000 };
  const product = made('/products', lamp, as(logged_in(ADMIN_EMAIL, ADMIN_PASSWORD))).id;
  return { user, product, token: logged_in(customer.email, customer.password) };
}

export default function ({ user, product, token }) {
  const params = as(token);
  const seen = http.get(`${API}/products/${product}`, params);
  const order = http.post(`${API}/orders`, JSON.stringify({ user_id: user, items: [{ product_id: product, quantity: 1 }] }), params);
  const kept = order.status === 201 ? http.get(`${API}/orders/${order.json('id')}`, params) : order;
  const said = `${seen.status} ${order.status} ${kept.status}`;
  check(said, { 'all three are answered well': () => said === '200 201 200' }) || console.error(said, order.body);
}

export function handleSummary(data) {
  return { stdout: JSON.stringify({ iterations: data.metrics.iterations.values.count }) };
}
