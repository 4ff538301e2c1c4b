// The basket by keyboard alone, without a mouse.

import { check } from "./report.mjs";

/** Puts a product into the basket and opens the basket, by keyboard alone. */
export async function keyboard(visitor) {
  const { page } = visitor;
  const basket = page.locator("#open-basket");

  await check("keyboard: the first stop leads past the masthead", async () => {
    await page.goto("/");
    await page.locator(".card:not(.skeleton)").first().waitFor();
    await page.keyboard.press("Tab");
    await visitor.holdFocus(page.getByRole("link", { name: "Skip to the goods" }));
  });
  await check("keyboard: a product goes into the basket", async () => {
    await visitor.tabTo(page.getByRole("button", { name: /^Add /, disabled: false }).first());
    await visitor.look("focus");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Basket 1 item" }).waitFor();
  });
  await check("keyboard: the basket opens, its quantity changes and the focus stays", async () => {
    await basket.focus();
    await page.keyboard.press("Enter");
    const more = page.getByRole("button", { name: /^More / });
    await visitor.tabTo(more);
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Basket 2 items", includeHidden: true }).waitFor({ state: "attached" });
    await visitor.holdFocus(more);
  });
  await check("keyboard: Escape closes the basket and gives the focus back", async () => {
    await page.keyboard.press("Escape");
    await visitor.holdFocus(basket);
  });
}
