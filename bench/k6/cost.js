// The CPU time that a customer takes: the iteration of shop.js without pauses and without the books, repeated for DURATION.
// The caller, helm/tests/costs.sh, reads the processes' CPU time before and after. Where callers authenticate, ADMIN_EMAIL and
// ADMIN_PASSWORD name an account that may create a product.
import { check, fail } from 'k6';
import http from 'k6/http';

import { admin, as, customer, own_products } from './accounts.js';

const API = `${(__ENV.BASE_URL || 'http://127.0.0.1:5000').replace(/\/$/, '')}/api`;
export const options = {
  vus: 4,
  duration: __ENV.DURATION || '20s',
  thresholds: { checks: ['rate==1'] },
};

export function setup() {
  const run = `${Date.now()}`;
  const { id: user, token } = customer(API, `cost-${run}@example.com`, `cost of ${run}`);
  const [product] = own_products(API, run, 1, admin(API)) || fail('where callers authenticate, set ADMIN_EMAIL and ADMIN_PASSWORD, whose account creates a product');
  return { user, product: product.id, token };
}

export default function ({ user, product, token }) {
  const params = as(token);
  const seen = http.get(`${API}/products/${product}`, params);
  const order = http.post(`${API}/orders`, JSON.stringify({ user_id: user, items: [{ product_id: product, quantity: 1 }] }), params);
  const kept = order.status === 201 ? http.get(`${API}/orders/${order.json('id')}`, params) : order;
  const pay = () => http.post(`${API}/orders/${order.json('id')}/payments`, JSON.stringify({ token: 'sim-approve' }), params);
  const paid = order.status === 201 ? pay() : order;
  const said = `${seen.status} ${order.status} ${kept.status} ${paid.status}`;
  check(said, { 'all four requests succeed': () => said === '200 201 200 201' }) || console.error(said, order.body);
}

export function handleSummary(data) {
  return { stdout: JSON.stringify({ iterations: data.metrics.iterations.values.count }) };
}
