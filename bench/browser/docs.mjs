// The page of the API, where every operation can be tried.

import assert from "node:assert/strict";
import { check } from "./report.mjs";

/** Opens the page, and tries the list of users if the services describe it. */
export async function docs(visitor) {
  const { page } = visitor;
  await check("docs: the page lists the described operations, and is accessible", async () => {
    await page.goto("/docs");
    await page.locator("#operations:not([aria-busy])").waitFor();
    await visitor.holdAccessible();
    await visitor.look("docs");
  });
  const described = await (await page.request.get("/openapi.json")).json();
  if (!described.paths["/api/users"]?.get) return;
  await check("docs: the list of users can be requested", async () => {
    const operation = page.locator("details").filter({ hasText: "GET" }).filter({ hasText: "/api/users" }).first();
    await operation.locator("summary").click();
    await operation.getByRole("button", { name: "Send" }).click();
    await operation.getByText(/^200 /).waitFor();
    assert.match(await operation.locator("pre").textContent(), /"items"/);
    await visitor.holdAccessible();
    await visitor.look("docs-tried");
  });
}
