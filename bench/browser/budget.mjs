// What the shop's first page costs.

import { check } from "./report.mjs";

const MOST_BYTES = 150_000;
const MOST_REQUESTS = 40;

/** Loads the shop with an empty cache and adds up. */
export async function budget(visitor) {
  await check("budget: the first page is small", async () => {
    const { page } = visitor;
    await page.goto("/");
    await page.locator(".card:not(.skeleton)").first().waitFor();
    const { bytes, requests, paint } = await page.evaluate(() => {
      const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
      return {
        bytes: loaded.reduce((sum, { transferSize }) => sum + transferSize, 0),
        requests: loaded.length,
        paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
      };
    });
    console.log(`        ${bytes} bytes in ${requests} requests, first paint after ${Math.round(paint)} ms`);
    if (bytes > MOST_BYTES) throw new Error(`${bytes} bytes are more than ${MOST_BYTES}`);
    if (requests > MOST_REQUESTS) throw new Error(`${requests} requests are more than ${MOST_REQUESTS}`);
  });
}
