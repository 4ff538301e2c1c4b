// The load test of the platform: ten to two hundred users view a product, order it, read the order back and pay.
//
//   k6 run bench/k6/shop.js                               ten minutes against http://127.0.0.1:5000
//   BASE_URL=https://shop.example.com k6 run …            any other address
//   PROFILE=cloud k6 run …                                the thresholds for a platform behind a load balancer (default: laptop)
//   PROFILE=correct k6 run …                              correct replies and complete books at any speed, as in `cargo verify`
//   SHAPE=quick k6 run …                                  the same shape in 60 s, for CI
//   REPORT=folder k6 run …                                where report.html and summary.json go (default: here)
//   ADMIN_EMAIL=… ADMIN_PASSWORD=… k6 run …               the account that creates products and reads the summary, where callers
//                                                         authenticate; without it the run orders products of the catalogue
//   CUSTOMERS=10 k6 run …                                 the number of accounts to sign up (default 50); a platform may limit it
//
// A slow or wrong reply or a lost order fails the run: k6 ends with 99. Every iteration places one order. At the end the books
// of the platform must contain as many orders, stored and counted by the stream job.
import { check, fail, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

import { admin, as, catalogue, customer, logged_in, own_products } from './accounts.js';
import { counted, stored, summarized } from './books.js';
import { html, text } from './report.js';

const BASE = (__ENV.BASE_URL || 'http://127.0.0.1:5000').replace(/\/$/, '');
const API = `${BASE}/api`;
const REPORT = __ENV.REPORT || '.';

// The parts of each shape: their length in seconds, and the number of users at their end.
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

// The thresholds. `laptop`: a platform on the same machine replies to every request, and fast. `cloud`: a load balancer and three
// zones are slower, and a request may fail when a pod ends.
// `correct`: a machine that does other work replies correctly and keeps complete books, at any speed. There an overloaded platform
// may refuse a request (503, 504), whose order may or may not be stored. At least `least` orders must be accepted and be readable.
const PROFILES = {
  laptop: { duration: ['p(95)<500', 'p(99)<50'], order: ['p(99)<50'], failed: ['rate<0.05', 'rate==0'], checks: ['rate==1'], lost: 0 },
  correct: { duration: ['max>=0'], order: ['max>=0'], failed: ['rate==0'], checks: ['rate==1'], lost: 1, least: 100, refuses: true },
  cloud: { duration: ['p(95)<500'], order: ['p(95)<500'], failed: ['rate<0.05'], checks: ['rate>0.95'], lost: 0.05 },
};
const profile = PROFILES[__ENV.PROFILE || 'laptop'] || fail(`PROFILE is one of ${Object.keys(PROFILES)}`);
const is_refused = (response) => profile.refuses === true && [503, 504].includes(response.status);
if (profile.refuses) {
  http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 }, 503, 504));
}
const CUSTOMERS = Number(__ENV.CUSTOMERS || 50);
const PRODUCTS = 20;
// The time for an iteration to end: two seconds, and the time of the platform's replies.
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
    'http_req_duration{part:load}': profile.duration,
    'http_req_failed{part:load}': profile.failed,
    checks: profile.checks,
    'checks{part:books}': ['rate==1'],
    order_duration: profile.order,
    orders_accepted: [`count>=${profile.least || 1}`],
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
  setupTimeout: '180s',
};

const accepted = new Counter('orders_accepted');
const ordered = new Trend('order_duration', true);

export function setup() {
  const run = `${Date.now()}`;
  const users = Array.from({ length: CUSTOMERS }, (_, i) => customer(API, `load-${run}-${i}@example.com`, `load of ${run}`));
  const token = admin(API);
  const products = own_products(API, run, PRODUCTS, token) || catalogue(API, PRODUCTS);
  return { products, users, admin: token, summarized: summarized(API, token) };
}

export default function (data) {
  const user = data.users[Math.floor(Math.random() * data.users.length)];
  const { id: product, price_cents: price } = data.products[Math.floor(Math.random() * data.products.length)];
  const quantity = 1 + Math.floor(Math.random() * 3);
  const params = (name, headers, token = user.token) => ({ ...as(token, headers), tags: { part: 'load', name } });

  const seen = http.get(`${API}/products/${product}`, params('GET /products/:id'));
  check(seen, { 'the product is shown': (r) => is_refused(r) || r.status === 200 && r.json('id') === product });
  sleep(Math.random());

  const body = JSON.stringify({ user_id: user.id, items: [{ product_id: product, quantity }] });
  const key = `${exec.vu.idInTest}-${exec.vu.iterationInInstance}-${Date.now()}`;
  const order = http.post(`${API}/orders`, body, params('POST /orders', { 'Idempotency-Key': key }));
  ordered.add(order.timings.duration);
  if (is_refused(order)) {
    return;
  }
  const is_right = check(order, {
    'the order is accepted': (r) => r.status === 201,
    'the total is the catalogue’s price': (r) => r.status === 201 && r.json('total_cents') === quantity * price,
  });
  if (!is_right) {
    return;
  }
  accepted.add(1);
  sleep(Math.random() / 2);

  const kept = http.get(`${API}/orders/${order.json('id')}`, params('GET /orders/:id'));
  check(kept, { 'the order can be read back': (r) => is_refused(r) || r.status === 200 && r.json('user_id') === user.id });
  const card = JSON.stringify({ token: 'sim-approve' });
  const paid = http.post(`${API}/orders/${order.json('id')}/payments`, card, params('POST /orders/:id/payments'));
  check(paid, { 'the order is paid': (r) => is_refused(r) || r.status === 201 && r.json('status') === 'captured' });
  if (data.summarized !== null && exec.vu.iterationInInstance % 10 === 0) {
    const summary = http.get(`${API}/analytics/summary`, params('GET /analytics/summary', {}, data.admin));
    check(summary, { 'analytics answers': (r) => is_refused(r) || r.status === 200 });
  }
  sleep(Math.random() / 2);
}

// Every complete iteration placed one order, and the customers belong to this run: as many of their orders must be stored, and
// all stored ones counted. An interrupted iteration may have placed one, too. The newest orders are counted when their minute is
// over, so the run waits for that. An order whose answer was lost may be stored or not, so a profile that allows lost answers
// allows a difference here. Tokens live a quarter of an hour, so the customers log in again.
export function balance({ users, summarized: before }) {
  const placed = exec.instance.iterationsCompleted;
  const interrupted = exec.instance.iterationsInterrupted;
  const customers = users.map((user) => ({ ...user, token: logged_in(API, user.email, user.password) }));
  const kept = stored(API, customers);
  let seen = counted(API, customers);
  for (let waited = 0; waited < 150 && seen < kept; waited += 2) {
    sleep(2);
    seen = counted(API, customers);
  }
  const shown = before === null ? null : summarized(API, admin(API)) - before;
  check(null, {
    'every order is stored, and no other': () => placed > 0 && kept <= placed + interrupted && kept >= Math.max(profile.least || 1, placed * (1 - profile.lost)),
    'every order is counted once': () => seen === kept,
    ...(shown !== null && { 'the summary shows them': () => shown >= kept }),
  }, { part: 'books' });
  console.log(`placed ${placed}, interrupted ${interrupted}, stored ${kept}, counted ${seen}, in the summary ${shown}`);
}

export function handleSummary(data) {
  const run = { base: BASE, shape: __ENV.SHAPE || 'full', parts: shape };
  return {
    [`${REPORT}/report.html`]: html(data, run),
    [`${REPORT}/summary.json`]: JSON.stringify({ run, metrics: data.metrics }, null, 1),
    stdout: text(data, run),
  };
}
