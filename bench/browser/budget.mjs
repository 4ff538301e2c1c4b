// Measures the bytes and requests of each page for a browser with an empty cache.

import { check } from "./report.mjs";

const MOST_BYTES = 150_000;
const MOST_REQUESTS = 40;
const DEMO_PRODUCTS = 12;
/** The selector of an element that exists once the page and its first content are shown. */
const PAGES = {
  "/": ".card:not(.skeleton)",
  "/live": ".chart .staff",
  "/orders": ".notice",
  "/admin": "#orders:not([aria-busy])",
  "/files": ".file:not(.bone)",
  "/docs": "#operations:not([aria-busy])",
};

/** Loads each page in a browser with an empty cache, and adds up bytes and requests. */
export async function budget(arrive) {
  for (const [path, sign] of Object.entries(PAGES)) {
    await check(`budget: ${path} is small`, async () => {
      const { page } = await arrive("phone");
      await page.goto(path);
      await page.locator(sign).first().waitFor();
      const { bytes, requests, paintMs } = await page.evaluate(measure);
      console.log(`        ${bytes} bytes in ${requests} requests, first contentful paint after ${Math.round(paintMs)} ms`);
      if (bytes > MOST_BYTES) throw new Error(`${bytes} bytes are more than ${MOST_BYTES}`);
      if (requests > MOST_REQUESTS) throw new Error(`${requests} requests are more than ${MOST_REQUESTS}`);
      await page.context().close();
    });
  }
}

/** Tests that every product of the demo has a drawing. An emoji instead would be an empty box on a machine without such a font. */
export async function drawings(arrive) {
  await check("the demo's products are drawn", async () => {
    const { page } = await arrive("desktop");
    await page.goto("/");
    await page.locator(PAGES["/"]).first().waitFor();
    // Products that other tests added have no drawing.
    const drawn = await page.locator(".card .plate svg.drawing path").count();
    if (drawn !== DEMO_PRODUCTS) throw new Error(`${drawn} of ${DEMO_PRODUCTS} products are drawn`);
    await page.context().close();
  });
}

// Runs in the page.
function measure() {
  const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return {
    bytes: loaded.reduce((sum, { transferSize }) => sum + transferSize, 0),
    requests: loaded.length,
    paintMs: performance.getEntriesByName("first-contentful-paint")[0].startTime,
  };
}
