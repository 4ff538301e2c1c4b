// Tests the pages of the shop while its services are down, and after they are up again.

import assert from "node:assert/strict";
import { Passage } from "./passage.mjs";
import { check } from "./report.mjs";

/** Blocks the page's requests to services, and lets them through again. */
export async function trouble(visitor, base) {
  const { page } = visitor;
  const away = (pattern) => page.route(pattern, (route) => route.abort());

  await check("trouble: without the products service the shop has a notice, and recovers", async () => {
    await away("**/api/products*");
    await page.goto("/");
    await page.getByText("The shelves are out of reach").waitFor();
    await visitor.look("no-products");
    await visitor.holdAccessible();
    await page.unrouteAll({ behavior: "wait" });
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator(".card:not(.skeleton)").first().waitFor();
  });
  await check("trouble: without its stream the board polls instead", async () => {
    await page.route("**/api/analytics/stream", (route) => route.fulfill({ status: 503 }));
    await page.goto("/live");
    await page.getByText("Updated every 5 s").waitFor();
    await page.unrouteAll({ behavior: "wait" });
  });
  await check("trouble: without analytics the board has a notice", async () => {
    await away("**/api/analytics/**");
    await page.goto("/live");
    await page.getByText(/The counts are out of reach|Reconnecting/).first().waitFor();
    await visitor.look("no-analytics");
    await page.unrouteAll({ behavior: "wait" });
  });
  await check("trouble: the gateway goes away, and the board is live again when it is back", async () => {
    const passage = await Passage.to(base);
    await page.goto(`${passage.base}/live`);
    await page.locator("#signal[data-state=live]").waitFor();
    await passage.shut();
    await page.locator("#signal[data-state=away]").waitFor();
    await visitor.look("gateway-away");
    await passage.open();
    await page.locator("#signal[data-state=live]").waitFor();
    await passage.shut();
  });
  await check("trouble: a count that was corrected after its minute closed is marked, and no other is", async () => {
    await page.route("**/api/analytics/recent?*", (route) => route.fulfill({ json: { items: [count(901, 0), count(902, 1)], next: null } }));
    await page.goto("/live");
    await page.getByRole("row").filter({ hasText: "Customer 902" }).getByText("counted again").waitFor();
    assert.equal(await page.getByText("counted again").count(), 1);
    await visitor.holdAccessible();
    await page.unrouteAll({ behavior: "wait" });
  });
  await check("trouble: a minute with more customers than the page fetched is shown with all its orders", async () => {
    const { window_start, window_end } = count(901, 0);
    const whole = { id: "1", window_start, window_end, order_count: 199, user_count: 150, revision: 0 };
    await page.route("**/api/analytics/stream", (route) => route.fulfill({ status: 503 }));
    await page.route("**/api/analytics/recent?*", (route) => route.fulfill({ json: { items: [count(901, 0)], next: null } }));
    await page.route("**/api/analytics/board", (route) => route.fulfill({ json: { items: [whole], next: null } }));
    await page.goto("/live");
    await page.locator("#chart-sum").getByText("199 orders counted").waitFor();
    await page.locator("#counts").getByText("199 orders").waitFor();
    await page.unrouteAll({ behavior: "wait" });
  });
  await check("trouble: a refused order keeps the basket and shows the reason", async () => {
    await order(page, { status: 422, detail: "only 1 is left", field: "items[0].product_id" });
    await page.getByText(/^.+: Only 1 is left\.$/).waitFor();
    await visitor.look("refused");
  });
  await check("trouble: a customer the shop does not know any more is asked again", async () => {
    await order(page, { status: 422, detail: "there is no such user", field: "user_id" });
    await page.getByText("Your account no longer exists.").waitFor();
    await page.getByRole("button", { name: "Place the order" }).click();
    await page.getByRole("heading", { name: "Who is shopping?" }).waitFor();
  });
}

function count(user_id, revision) {
  const start = Math.floor(Date.now() / 60_000) * 60_000 - 60_000;
  const [window_start, window_end] = [start, start + 60_000].map((at) => new Date(at).toISOString());
  return { user_id, window_start, window_end, order_count: 1, total_cents: 1999, totals: [{ currency: "USD", minor_units: 1999 }], revision };
}

/** Places an order that is refused with this problem. */
async function order(page, problem) {
  await page.unrouteAll({ behavior: "wait" });
  const refusal = { status: problem.status, contentType: "application/problem+json", body: JSON.stringify(problem) };
  await page.route("**/api/orders", (route) => route.fulfill(refusal));
  await page.goto("/");
  await page.evaluate(() => localStorage.setItem("tidemark.customer", '{"id":1,"name":"Ada","email":"ada@example.org"}'));
  await page.reload();
  await page.getByRole("button", { name: /^Add /, disabled: false }).first().click();
  await page.locator("#open-basket").click();
  await page.getByRole("button", { name: "Place the order" }).click();
}
