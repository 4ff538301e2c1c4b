// The orders of the shop, where callers are asked who they are: for admins alone.

import { check } from "./report.mjs";

/** Looks at all orders as a stranger, who may not, and as the admin. */
export async function desk(visitor, admin) {
  const { page } = visitor;
  await check("desk: a stranger is told who it is for", async () => {
    await page.goto("/admin");
    await page.getByText("This is for who runs the shop").waitFor();
    await visitor.holdAccessible();
  });
  await check("desk: the admin sees the orders of all customers, by their state", async () => {
    await page.locator("#orders").getByRole("button", { name: "Log in" }).click();
    const dialog = page.locator("#account");
    await dialog.getByLabel("E-mail").fill(admin.email);
    await dialog.getByLabel("Password", { exact: true }).fill(admin.password);
    await dialog.getByRole("button", { name: "Log in", exact: true }).click();
    await page.locator("#orders:not([aria-busy])").waitFor();
    await page.getByRole("link", { name: "cancelled" }).click();
    await page.locator("#orders").locator("article, .notice").first().waitFor();
    await visitor.holdAccessible();
    await visitor.look("desk");
  });
}
