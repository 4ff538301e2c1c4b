// What a customer costs: the iteration of shop.js without its pauses and its books, for as long as DURATION says. Whoever runs it
// reads the processes' CPU time before and after; helm/tests/costs.sh does.
import { check, fail } from 'k6';
import http from 'k6/http';

const API = `${(__ENV.BASE_URL || 'http://127.0.0.1:5000').replace(/\/$/, '')}/api`;
const JSON_BODY = { headers: { 'Content-Type': 'application/json' } };

export const options = {
  vus: 8,
  duration: __ENV.DURATION || '20s',
  thresholds: { checks: ['rate==1'] },
};

function made(path, body) {
  const response = http.post(`${API}${path}`, JSON.stringify(body), JSON_BODY);
  return response.status === 201 ? response.json('id') : fail(`${path}: ${response.status} ${response.body}`);
}

export function setup() {
  const run = `${Date.now()}`;
  const user = made('/users', { name: 'Customer', email: `cost-${run}@example.com` });
  return { user, product: made('/products', { name: `Lamp of run ${run}`, price_cents: 1999, stock: 1000000000 }) };
}

export default function ({ user, product }) {
  const seen = http.get(`${API}/products/${product}`);
  const order = http.post(`${API}/orders`, JSON.stringify({ user_id: user, items: [{ product_id: product, quantity: 1 }] }), JSON_BODY);
  const kept = order.status === 201 ? http.get(`${API}/orders/${order.json('id')}`) : order;
  check(null, { 'all three are answered well': () => seen.status === 200 && order.status === 201 && kept.status === 200 });
}

export function handleSummary(data) {
  return { stdout: JSON.stringify({ iterations: data.metrics.iterations.values.count, checks: data.metrics.checks.values.rate }) };
}
