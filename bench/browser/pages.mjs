// Serves the storefront from the source tree in front of a running platform, to work on the pages without a build: node pages.mjs
// [port] [the platform's address].

import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { extname } from "node:path";

const STOREFRONT = new URL("../../services/gateway/storefront/", import.meta.url);
const PAGES = { "/": "index.html", "/live": "live.html", "/orders": "orders.html", "/admin": "admin.html", "/files": "files.html", "/docs": "docs.html", "/forgot": "forgot.html", "/reset": "reset.html", "/verify": "verify.html" };
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob:; " +
  "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const port = Number(process.argv[2] ?? 5050);
const platform = process.argv[3] ?? "http://127.0.0.1:5000";

function pass(asked, response) {
  const { method, headers } = asked;
  const onward = request(new URL(asked.url, platform), { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  asked.pipe(onward);
}

// Sets a page into the frame that all pages share, as the gateway's `storefront::page` does.
async function framed(path, page) {
  const [values, main] = page.split(/\n\n(.*)/s);
  let whole = await readFile(new URL("frame.html", STOREFRONT), "utf8");
  for (const line of values.split("\n")) {
    const [name, value] = line.split(/: (.*)/s);
    whole = whole.replaceAll(`{{${name}}}`, () => value);
  }
  return whole.replaceAll(`<a href="${path}">`, `<a href="${path}" aria-current="page">`).replace("{{main}}", () => main);
}

async function file(path, response) {
  const name = PAGES[path] ?? (path.startsWith("/products/") ? "product.html" : path.slice(1));
  let bytes = await readFile(new URL(name, STOREFRONT)).catch(() => null);
  if (bytes && name.endsWith(".html")) bytes = await framed(path, bytes.toString());
  response.writeHead(bytes ? 200 : 404, { "content-type": TYPES[extname(name)] ?? "text/plain", "content-security-policy": POLICY });
  response.end(bytes);
}

createServer((asked, response) => {
  const { pathname } = new URL(asked.url, platform);
  if (/^\/(api\/|openapi\.json$)/.test(pathname)) return pass(asked, response);
  return file(pathname, response);
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}, before ${platform}`));
