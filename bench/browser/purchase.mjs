// A purchase from beginning to end: search, sign up, order, pay, wait until the minute closes, find the count on the board, and
// see the order delivered.

import assert from "node:assert/strict";
import { check } from "./report.mjs";

// A window of a minute, the allowed disorder, and some time for a busy machine.
const UNTIL_COUNTED_MS = 90_000;

/** Shops as a new customer. */
export async function purchase(visitor) {
  const { page, device } = visitor;
  const claim = (sentence, test) => check(`${device}: ${sentence}`, test);
  const name = `Ada ${device}`;

  await claim("the shop shows its products", async () => {
    await page.goto("/");
    await page.locator(".card:not(.skeleton)").nth(3).waitFor();
    await visitor.look("shop");
  });
  await claim("the shop is accessible and stands still", () => holdAll(visitor));
  await claim("a search narrows the shelf, and a notice appears when nothing matches", () => search(page));
  await claim("a product has a page of its own, and the way back", () => lookClosely(visitor));
  await claim("two products go into the basket", () => fillBasket(visitor));
  await claim("the basket is accessible", () => visitor.holdAccessible());
  await claim("the order is to be sent to an address", () => chooseAddress(visitor));
  await claim("an order asks who orders, and a wrong address is explained at its field", () => wrongAddress(visitor));
  await claim("the form is accessible", () => visitor.holdAccessible());
  await claim("after signing up, a wrong line of the address is explained at its field", async () => {
    await page.locator("#account").getByRole("textbox", { name: "Name" }).fill(name);
    await page.locator("#account").getByRole("textbox", { name: "E-mail" }).fill(`ada+${device}-${Date.now()}@example.org`);
    await page.locator("#account").getByRole("button", { name: "Sign up" }).click();
    await page.locator("#delivery-country[aria-invalid=true]").waitFor();
    assert.match(await page.locator("#delivery-country-complaint").textContent(), /two capital letters/);
    await visitor.holdAccessible();
    await visitor.look("address");
  });
  await claim("with the right address the order is placed", async () => {
    await page.getByRole("textbox", { name: "Country" }).fill("de");
    await page.getByRole("button", { name: "Place the order" }).click();
    await page.getByRole("heading", { name: /^Order \d+ is placed$/ }).waitFor();
    await page.getByText(/will be counted when its minute/).waitFor();
    await visitor.look("receipt");
  });
  await claim("the receipt is accessible", () => visitor.holdAccessible());
  await claim("a declined card has a notice, and another one pays", () => pay(visitor));
  await claim("the receipt shows when the order was counted", async () => {
    await page.getByText(/^Counted: \d+ order/).waitFor({ timeout: UNTIL_COUNTED_MS });
    await visitor.look("counted");
  });
  await claim("the board shows the count as the customer's own", () => findOnBoard(visitor, name));
  await claim("the board is accessible and stands still", () => holdAll(visitor));
  await claim("my orders shows the order with its products", () => findOrder(visitor));
  await claim("my orders is accessible and stands still", () => holdAll(visitor));
  await claim("the order is shipped and delivered, and my orders shows it as it happens", () => deliver(visitor));
  await claim("the administrator's page is accessible and stands still", async () => {
    await page.goto("/admin?status=delivered");
    await page.getByRole("article").first().waitFor();
    await visitor.look("admin");
    await holdAll(visitor);
  });
}

async function holdAll(visitor) {
  await visitor.holdAccessible();
  await visitor.holdSteady();
}

async function search(page) {
  const cards = page.locator(".card:not(.skeleton)");
  const all = await cards.count();
  const settle = (wanted) => page.waitForFunction(({ all, wanted }) => {
    const count = document.querySelectorAll(".card:not(.skeleton)").length;
    return wanted === "all" ? count === all : count > 0 && count < all;
  }, { all, wanted });
  await page.getByRole("searchbox").fill("coffee");
  await settle("fewer");
  assert.match(page.url(), /\?q=coffee$/);
  await page.reload();
  await settle("fewer");
  assert.equal(await page.getByRole("searchbox").inputValue(), "coffee");
  await page.getByRole("searchbox").fill("no such thing");
  await page.getByRole("button", { name: "Show everything" }).click();
  await settle("all");
}

/** From the shelf to a product and back, and to where nothing is. */
async function lookClosely(visitor) {
  const { page } = visitor;
  const link = page.locator(".card h3 a").first();
  const name = await link.textContent();
  await link.click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
  assert.match(page.url(), /\/products\/[0-9a-f-]{36}$/);
  await visitor.look("product");
  await holdAll(visitor);
  await page.getByRole("link", { name: "Back to the catalogue" }).click();
  await page.locator(".card:not(.skeleton)").first().waitFor();
}

async function fillBasket(visitor) {
  const { page } = visitor;
  const add = page.getByRole("button", { name: /^Add .+ to the basket$/, disabled: false });
  await add.nth(0).click();
  await add.nth(2).click();
  await page.getByRole("button", { name: "Basket 2 items" }).click();
  await page.getByRole("button", { name: /^More / }).first().click();
  await page.getByText("Total").waitFor();
  assert.equal(await page.locator("#basket .line").count(), 2);
  await visitor.look("basket");
}

async function chooseAddress(visitor) {
  const { page } = visitor;
  await page.getByRole("radio", { name: "Send it to an address" }).check();
  const lines = { "Name of the recipient": "Ada Lovelace", Street: "12 Café Lane", "Postal code": "10115", Town: "Berlin", Country: "D" };
  for (const [name, text] of Object.entries(lines)) await page.getByRole("textbox", { name }).fill(text);
}

async function pay(visitor) {
  const { page } = visitor;
  const pay = page.getByRole("button", { name: /^Pay / });
  await page.getByRole("radio", { name: "A card without" }).check();
  await pay.click();
  await page.getByText(/declined/).waitFor();
  await visitor.look("declined");
  await page.getByRole("radio", { name: "A card with money on it" }).check();
  await pay.click();
  await page.getByText(/^Order \d+ is paid\.$/).waitFor();
  await visitor.holdAccessible();
  await visitor.look("paid");
}

/** Moves the order on as the shop, on a page of its own, while the customer watches. */
async function deliver(visitor) {
  const { page } = visitor;
  const order = page.getByRole("article").first();
  const name = await order.getByRole("heading").textContent();
  const state = (word) => order.locator(`.status[data-status=${word}]`).waitFor();
  await state("paid");
  await order.getByText("To Ada Lovelace, 12 Café Lane, 10115 Berlin, DE").waitFor();

  const desk = await page.context().newPage();
  await desk.goto("/admin");
  await desk.getByRole("button", { name: `Ship: ${name.toLowerCase()}`, exact: true }).click();
  await page.bringToFront();
  await state("shipped");
  await desk.goto("/admin?status=shipped");
  await desk.getByRole("button", { name: `Mark as delivered: ${name.toLowerCase()}`, exact: true }).click();
  await page.bringToFront();
  await state("delivered");
  await desk.close();
  await visitor.look("delivered");
}

async function wrongAddress(visitor) {
  const { page } = visitor;
  await page.getByRole("button", { name: "Place the order" }).click();
  await page.locator("#account").getByRole("textbox", { name: "Name" }).fill("Ada");
  await page.locator("#account").getByRole("textbox", { name: "E-mail" }).fill("nowhere");
  await page.locator("#account").getByRole("button", { name: "Sign up" }).click();
  await page.locator("#email[aria-invalid=true]").waitFor();
  assert.notEqual(await page.locator("#email-complaint").textContent(), "");
  await visitor.look("account");
}

async function findOnBoard(visitor, name) {
  const { page } = visitor;
  await page.getByRole("link", { name: "Watch the live board" }).click();
  await page.waitForURL("**/live");
  await page.getByRole("row").filter({ hasText: name }).filter({ hasText: "You" }).first().waitFor();
  await page.getByRole("status").filter({ hasText: /^(Live|Asking)/ }).waitFor();
  await visitor.look("live");
}

async function findOrder(visitor) {
  const { page } = visitor;
  await page.getByRole("link", { name: "My orders" }).click();
  const order = page.getByRole("article").first();
  await order.waitFor();
  assert.match(await order.textContent(), /2 × /);
  await visitor.look("orders");
}
