// The load test of the platform: people who look, order and look again, from ten to two hundred of them.
//
//   k6 run bench/k6/shop.js                               ten minutes against http://127.0.0.1:5000
//   BASE_URL=https://shop.example.com k6 run …            any other address
//   SHAPE=quick k6 run …                                  the same shape in 60 s, for CI
//   REPORT=folder k6 run …                                where report.html and summary.json go (default: here)
//
// Whatever is slow, wrong or lost fails the run: k6 ends with 99. Every iteration places one order, and at the end the books
// of the platform must show exactly as many: stored, and counted by the stream job.
import { check, fail, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

import { counted, stored, summarized } from './books.js';
import { html, text } from './report.js';

const BASE = (__ENV.BASE_URL || 'http://127.0.0.1:5000').replace(/\/$/, '');
const API = `${BASE}/api`;
const REPORT = __ENV.REPORT || '.';

// Seconds of each part of the profile, and how many users there are at its end.
const SHAPES = {
  full: [
    { name: 'warm-up', seconds: 30, users: 10 },
    { name: 'ramp-up', seconds: 120, users: 100 },
    { name: 'steady', seconds: 300, users: 100 },
    { name: 'spike', seconds: 60, users: 200, at_once: true },
    { name: 'ramp-down', seconds: 60, users: 10 },
  ],
  quick: [
    { name: 'warm-up', seconds: 5, users: 10 },
    { name: 'ramp-up', seconds: 13, users: 100 },
    { name: 'steady', seconds: 22, users: 100 },
    { name: 'spike', seconds: 10, users: 200, at_once: true },
    { name: 'ramp-down', seconds: 10, users: 10 },
  ],
};
const shape = SHAPES[__ENV.SHAPE || 'full'] || fail(`SHAPE is one of ${Object.keys(SHAPES)}`);
const CUSTOMERS = 50;
const PRODUCTS = 20;
// An iteration lasts two seconds and what the platform takes: within this it comes to its end.
const GRACE_SECONDS = 5;

export const options = {
  scenarios: {
    shop: {
      executor: 'ramping-vus',
      startVUs: 10,
      gracefulRampDown: `${GRACE_SECONDS}s`,
      gracefulStop: `${GRACE_SECONDS}s`,
      stages: shape.flatMap(({ seconds, users, at_once }) => [
        ...(at_once ? [{ duration: '0s', target: users }] : []),
        { duration: `${seconds}s`, target: users },
      ]),
    },
    books: {
      exec: 'balance',
      executor: 'per-vu-iterations',
      vus: 1,
      iterations: 1,
      startTime: `${shape.reduce((sum, part) => sum + part.seconds, GRACE_SECONDS + 1)}s`,
      maxDuration: '240s',
    },
  },
  thresholds: {
    // What was asked for …
    'http_req_duration{part:load}': ['p(95)<500', 'p(99)<50'], // … and what we hold ourselves to, on a small machine.
    'http_req_failed{part:load}': ['rate<0.05', 'rate==0'],
    checks: ['rate==1'],
    order_duration: ['p(99)<50'],
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
  setupTimeout: '60s',
};

const accepted = new Counter('orders_accepted');
const ordered = new Trend('order_duration', true);

function post(path, body, tags, headers = {}) {
  const params = { headers: { 'Content-Type': 'application/json', ...headers }, tags };
  return http.post(`${API}${path}`, JSON.stringify(body), params);
}

export function setup() {
  const part = { part: 'setup' };
  const made = (response) => response.status === 201 ? response.json() : fail(`${response.url}: ${response.status} ${response.body}`);
  const run = `${Date.now()}`;
  const products = Array.from({ length: PRODUCTS }, (_, i) =>
    made(post('/products', { name: `Lamp ${i} of run ${run}`, price_cents: 1999 + i, stock: 1000000000 }, part)));
  const users = Array.from({ length: CUSTOMERS }, (_, i) =>
    made(post('/users', { name: `Customer ${i}`, email: `load-${run}-${i}@example.com` }, part)));
  const prices = Object.fromEntries(products.map((product) => [product.id, product.price_cents]));
  return { products: products.map((p) => p.id), users: users.map((u) => u.id), prices, summarized: summarized(API) };
}

export default function (data) {
  const user = data.users[Math.floor(Math.random() * data.users.length)];
  const product = data.products[Math.floor(Math.random() * data.products.length)];
  const quantity = 1 + Math.floor(Math.random() * 3);
  const tags = (name) => ({ part: 'load', name });

  const seen = http.get(`${API}/products/${product}`, { tags: tags('GET /products/:id') });
  check(seen, { 'the product is shown': (r) => r.status === 200 && r.json('id') === product });
  sleep(Math.random());

  const body = { user_id: user, items: [{ product_id: product, quantity }] };
  const key = `${exec.vu.idInTest}-${exec.vu.iterationInInstance}-${Date.now()}`;
  const order = post('/orders', body, tags('POST /orders'), { 'Idempotency-Key': key });
  ordered.add(order.timings.duration);
  const is_right = check(order, {
    'the order is accepted': (r) => r.status === 201,
    'the total is the catalogue’s price': (r) => r.status === 201 && r.json('total_cents') === quantity * data.prices[product],
  });
  if (!is_right) {
    return;
  }
  accepted.add(1);
  sleep(Math.random() / 2);

  const kept = http.get(`${API}/orders/${order.json('id')}`, { tags: tags('GET /orders/:id') });
  check(kept, { 'the order can be read back': (r) => r.status === 200 && r.json('user_id') === user });
  if (exec.vu.iterationInInstance % 10 === 0) {
    const summary = http.get(`${API}/analytics/summary`, { tags: tags('GET /analytics/summary') });
    check(summary, { 'analytics answers': (r) => r.status === 200 });
  }
  sleep(Math.random() / 2);
}

// Every iteration that came to its end placed one order, and the customers are this run's own: so many orders of theirs
// must be stored, and so many counted. The newest are counted when their minute is over: they are waited for.
export function balance({ users, summarized: before }) {
  const placed = exec.instance.iterationsCompleted;
  const kept = stored(API, users);
  let seen = counted(API, users);
  for (let waited = 0; waited < 150 && seen < placed; waited += 2) {
    sleep(2);
    seen = counted(API, users);
  }
  const shown = summarized(API) - before;
  check(null, {
    'every order is stored, and no other': () => kept === placed,
    'every order is counted once': () => seen === placed,
    'the summary shows them': () => shown >= placed,
  });
  console.log(`placed ${placed}, stored ${kept}, counted ${seen}, in the summary ${shown}`);
}

export function handleSummary(data) {
  const run = { base: BASE, shape: __ENV.SHAPE || 'full', parts: shape };
  return {
    [`${REPORT}/report.html`]: html(data, run),
    [`${REPORT}/summary.json`]: JSON.stringify({ run, metrics: data.metrics }, null, 1),
    stdout: text(data, run),
  };
}
