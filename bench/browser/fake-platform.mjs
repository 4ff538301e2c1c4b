// A stand-in for the platform, to work on the pages without building it: node fake-platform.mjs [port].
// Serves the storefront from the source tree and keeps users, products, orders and counts in memory.

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";

const STOREFRONT = new URL("../../services/gateway/storefront/", import.meta.url);
const DEMO = new URL("../../services/products/src/demo.json", import.meta.url);
const PAGES = { "/": "index.html", "/live": "live.html", "/orders": "orders.html", "/docs": "docs.html" };
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const WINDOW_MS = 60_000;
const STRAGGLERS_MS = 3_000;

const users = [];
const orders = [];
const counts = [];
const streams = new Set();
const products = JSON.parse(await readFile(DEMO)).map((product) => ({ id: randomUUID(), currency: "USD", ...product }));

function count(order) {
  const start = Date.parse(order.created_at) - (Date.parse(order.created_at) % WINDOW_MS);
  setTimeout(() => {
    const known = counts.find((one) => one.user_id === order.user_id && Date.parse(one.window_start) === start);
    const one = known ?? {
      id: `${order.user_id}-${start}`,
      user_id: order.user_id,
      window_start: new Date(start).toISOString(),
      window_end: new Date(start + WINDOW_MS).toISOString(),
      order_count: 0,
      total_cents: 0,
      revision: -1,
    };
    one.order_count += 1;
    one.total_cents += order.total_cents;
    one.revision += 1;
    if (!known) counts.unshift(one);
    for (const stream of streams) stream.write(`event: count\ndata: ${JSON.stringify(one)}\n\n`);
  }, start + WINDOW_MS + STRAGGLERS_MS - Date.now());
}

const page = (items) => ({ items, next: null });

class Refusal extends Error {
  constructor(status, detail, field) {
    super(detail);
    Object.assign(this, { status, field });
  }
}

function signUp({ name, email }) {
  if (!name) throw new Refusal(422, "name must not be empty", "name");
  if (!/^\S+@\S+$/.test(email)) throw new Refusal(422, "email is not an e-mail address", "email");
  if (users.some((user) => user.email === email)) throw new Refusal(409, "this e-mail address is taken", "email");
  const user = { id: users.length + 1, name, email };
  users.push(user);
  return user;
}

function order({ user_id, items }) {
  const lines = items.map(({ product_id, quantity }) => {
    const product = products.find(({ id }) => id === product_id);
    if (product.stock < quantity) throw new Refusal(409, `only ${product.stock} of ${product.name} are left`);
    product.stock -= quantity;
    return { product_id, quantity, unit_price_cents: product.price_cents };
  });
  const placed = {
    id: orders.length + 1,
    user_id,
    items: lines,
    total_cents: lines.reduce((sum, line) => sum + line.quantity * line.unit_price_cents, 0),
    currency: "USD",
    status: "pending",
    created_at: new Date().toISOString(),
  };
  orders.unshift(placed);
  count(placed);
  return placed;
}

const DESCRIPTION = {
  openapi: "3.1.0",
  paths: {
    "/api/users": {
      get: {
        tags: ["users"],
        summary: "Users, oldest first",
        parameters: [{ name: "limit", in: "query", description: "1 to 100", schema: { type: "integer", default: 20 } }],
        responses: {},
      },
      post: {
        tags: ["users"],
        summary: "Sign up",
        requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/NewUser" } } } },
        responses: {},
      },
    },
  },
  components: {
    schemas: {
      NewUser: {
        type: "object",
        properties: { name: { type: "string", example: "Ada" }, email: { type: "string", format: "email" } },
      },
    },
  },
  "x-missing": ["orders"],
};

const ROUTES = {
  "GET /openapi.json": () => DESCRIPTION,
  "GET /api/users": () => page(users),
  "POST /api/users": signUp,
  "GET /api/products": () => page(products),
  "GET /api/orders": (_, query) => page(orders.filter(({ user_id }) => String(user_id) === query.get("user_id"))),
  "POST /api/orders": order,
  "GET /api/analytics/recent": () => page(counts.slice(0, 100)),
};

async function answer(request, response) {
  const url = new URL(request.url, "http://fake");
  if (url.pathname === "/api/analytics/stream") return stream(response);
  const ofUser = url.pathname.match(/^\/api\/analytics\/users\/(\d+)$/);
  if (ofUser) return send(response, 200, page(counts.filter(({ user_id }) => user_id === Number(ofUser[1]))));
  const route = ROUTES[`${request.method} ${url.pathname}`];
  if (!route) return file(url.pathname, response);
  const body = request.method === "POST" ? JSON.parse(Buffer.concat(await request.toArray())) : null;
  send(response, request.method === "POST" ? 201 : 200, route(body, url.searchParams));
}

function send(response, status, reply) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(reply));
}

function stream(response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(": hello\n\n");
  streams.add(response);
  response.on("close", () => streams.delete(response));
}

async function file(path, response) {
  const name = PAGES[path] ?? path.slice(1);
  const bytes = await readFile(new URL(name, STOREFRONT)).catch(() => {
    throw new Refusal(404, "there is nothing at this path");
  });
  response.writeHead(200, { "content-type": TYPES[extname(name)], "content-security-policy": POLICY });
  response.end(bytes);
}

const server = createServer((request, response) =>
  answer(request, response).catch(({ status = 500, message, field }) => {
    response.writeHead(status, { "content-type": "application/problem+json" });
    response.end(JSON.stringify({ status, detail: message, field }));
  }),
);
server.listen(Number(process.argv[2] ?? 5050), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
