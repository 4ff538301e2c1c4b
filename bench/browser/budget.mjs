// What each page costs a browser that comes for the first time.

import { check } from "./report.mjs";

const MOST_BYTES = 150_000;
const MOST_REQUESTS = 40;
const DEMO_PRODUCTS = 12;
/** What tells that a page is there, with what it shows at first. */
const PAGES = {
  "/": ".card:not(.skeleton)",
  "/live": ".chart .staff",
  "/orders": ".notice",
  "/admin": "#orders:not([aria-busy])",
  "/files": ".file:not(.bone)",
  "/docs": "#operations:not([aria-busy])",
};

/** Loads each page as one who `arrive`s with an empty cache, and adds up. */
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

/** Every product of the demo has its drawing: an emoji would be a box where no font has it. */
export async function drawings(arrive) {
  await check("the demo's products are drawn", async () => {
    const { page } = await arrive("desktop");
    await page.goto("/");
    await page.locator(PAGES["/"]).first().waitFor();
    // Others may have added products of their own, which have no drawing.
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
