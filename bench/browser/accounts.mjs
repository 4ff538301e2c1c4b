// Accounts where callers authenticate: sign-up, the account's own orders, details, passwords, log-out and deletion.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { check } from "./report.mjs";

// A window of a minute, the allowed disorder, and some time for a busy machine.
const UNTIL_COUNTED_MS = 90_000;
const PASSWORD = "correct horse";
const NEW_PASSWORD = "battery staple";

/** Uses an account from its sign-up to the log-in with another password. */
export async function accounts(visitor) {
  const { page, device } = visitor;
  const claim = (sentence, test) => check(`accounts, ${device}: ${sentence}`, test);
  const email = `ada+${device}-${Date.now()}@example.org`;

  await claim("who is not logged in is asked to, for orders and for the board", () => strangers(visitor));
  await claim("a sign-up without a password is explained at its field", () => withoutPassword(visitor, email));
  await claim("a sign-up with a password logs in", async () => {
    await dialog(page).getByLabel("Password", { exact: true }).fill(PASSWORD);
    await send(page, "Sign up");
    await isKnown(page, `Ada ${device}`);
  });
  await claim("the session survives a reload", async () => {
    await page.reload();
    await isKnown(page, `Ada ${device}`);
  });
  await claim("an order is placed, and cancelled among my orders", () => orderAndCancel(visitor));
  await claim("the details change", () => changeDetails(visitor));
  await claim("what the shop has of somebody is downloaded", () => downloadData(visitor));
  await claim("a wrong current password is explained, the right one changed", () => changePassword(visitor));
  await claim("a log-out forgets the customer, and ends the session with the shop", () => logOut(page));
  await claim("a wrong password and too many of them are explained", () => wrongPassword(visitor, email));
  await claim("the new password logs in", async () => {
    await logIn(page, email, NEW_PASSWORD);
    await isKnown(page, `Grace ${device}`);
  });
  if (device === "phone") await claim("the receipt and the board show the own count", () => ownCount(visitor));
  await claim("an account with orders is closed, and logs in no more", () => closeAccount(visitor, email));
}

/** Creates and deletes an account without orders, where callers do not authenticate. */
export async function openAccount(visitor) {
  const { page } = visitor;
  const email = `eve-${Date.now()}@example.org`;
  await check("accounts, open: a password is optional, and one that is set logs in", async () => {
    await page.goto("/");
    await page.locator("#open-account").click();
    await fillSignUp(page, "Eve", email);
    await dialog(page).getByLabel("Password", { exact: true }).fill(PASSWORD);
    await send(page, "Sign up");
    await isKnown(page, "Eve");
    await page.reload();
    await logOut(page);
    await page.locator("#open-account").click();
    await visitor.holdAccessible();
    await visitor.look("open-sign-up");
    await dialog(page).getByRole("button", { name: "Log in instead" }).click();
    await logIn(page, email, PASSWORD);
    await isKnown(page, "Eve");
  });
  await check("accounts, open: an account is deleted after a second thought", async () => {
    await page.locator("#open-account").click();
    await dialog(page).getByText("Delete the account").click();
    await dialog(page).getByRole("button", { name: "Delete my account" }).click();
    await dialog(page).getByRole("button", { name: "No, keep it" }).click();
    await dialog(page).locator("#remove-password").fill(PASSWORD);
    await dialog(page).getByRole("button", { name: "Delete my account" }).click();
    await dialog(page).getByRole("button", { name: "Yes, delete it for good" }).click();
    await isKnown(page, "Log in");
  });
}

/** Signs up with a password, from any page. */
export async function signUp(page, name, email) {
  await page.locator("#open-account").click();
  await dialog(page).getByRole("button", { name: "Sign up instead" }).click();
  await fillSignUp(page, name, email);
  await dialog(page).getByLabel("Password", { exact: true }).fill(PASSWORD);
  await send(page, "Sign up");
  await isKnown(page, name);
}

/** Waits until the masthead shows this name, or the text for a visitor without an account. */
export function isKnown(page, name) {
  return page.getByRole("button", { name, exact: true }).and(page.locator("#open-account")).waitFor();
}

const dialog = (page) => page.locator("#account");
const send = (page, verb) => dialog(page).getByRole("button", { name: verb, exact: true }).click();

async function strangers(visitor) {
  const { page } = visitor;
  await page.goto("/live");
  await page.getByText("Whose orders?").waitFor();
  await page.getByRole("columnheader", { name: "Customers" }).waitFor();
  await visitor.holdAccessible();
  await visitor.look("account-board-stranger");
  await page.goto("/orders");
  await page.getByText("Who are you?").waitFor();
  await visitor.holdAccessible();
  await page.getByRole("button", { name: "Log in or sign up" }).click();
  await dialog(page).getByRole("button", { name: "Log in", exact: true }).waitFor();
  await visitor.holdAccessible();
  await visitor.look("account-log-in");
}

async function withoutPassword(visitor, email) {
  const { page, device } = visitor;
  await dialog(page).getByRole("button", { name: "Sign up instead" }).click();
  await fillSignUp(page, `Ada ${device}`, email);
  await send(page, "Sign up");
  await page.locator("#password[aria-invalid=true]").waitFor();
  assert.match(await page.locator("#password-complaint").textContent(), /password is needed/);
  await visitor.holdAccessible();
  await visitor.look("account-sign-up");
}

async function fillSignUp(page, name, email) {
  await dialog(page).getByLabel("Name").fill(name);
  await dialog(page).getByLabel("E-mail").fill(email);
}

async function orderAndCancel(visitor) {
  const { page } = visitor;
  await placeOrder(page);
  await page.goto("/orders");
  const slip = page.getByRole("article").first();
  await slip.getByText("pending").waitFor();
  await slip.getByRole("button", { name: "Cancel the order" }).click();
  await visitor.look("account-order-cancel");
  await slip.getByRole("button", { name: /^Yes, cancel order/ }).click();
  await slip.getByText("cancelled", { exact: true }).waitFor();
  assert.equal(await slip.getByRole("button").count(), 0);
  await visitor.holdAccessible();
  await visitor.look("account-orders");
}

async function placeOrder(page) {
  await page.goto("/");
  await page.getByRole("button", { name: /^Add /, disabled: false }).first().click();
  await page.locator("#open-basket").click();
  await page.getByRole("button", { name: "Place the order" }).click();
  await page.getByRole("heading", { name: /^Order \d+ is placed$/ }).waitFor();
}

async function changeDetails(visitor) {
  const { page, device } = visitor;
  await page.locator("#open-account").click();
  await dialog(page).getByLabel("Phone").fill("call me");
  await send(page, "Save");
  await page.locator("#phone[aria-invalid=true]").waitFor();
  await dialog(page).getByLabel("Name").fill(`Grace ${device}`);
  await dialog(page).getByLabel("Phone").fill("+1 (555) 010-9999");
  await send(page, "Save");
  await page.getByText("Saved.").waitFor();
  assert.equal(await dialog(page).getByLabel("Phone").inputValue(), "+15550109999");
  await isKnownBehind(page, `Grace ${device}`);
  await visitor.holdAccessible();
  await visitor.look("account-details");
}

// A modal dialog hides the page behind it from queries by role, so this query is by text.
function isKnownBehind(page, name) {
  return page.locator("#open-account").filter({ hasText: name }).waitFor({ state: "attached" });
}

async function downloadData({ page }) {
  const saving = page.waitForEvent("download");
  await dialog(page).getByRole("button", { name: "Download my data" }).click();
  const saved = await saving;
  assert.equal(saved.suggestedFilename(), "tidemark-my-data.json");
  const data = JSON.parse(await readFile(await saved.path(), "utf8"));
  assert.equal(data.orders.length, 1);
  assert.equal(data.orders[0].user_id, data.account.id);
  assert.ok(data.sessions.length > 0 && data.messages.length > 0);
}

async function closeAccount(visitor, email) {
  const { page } = visitor;
  await page.goto("/");
  await page.locator("#open-account").click();
  await dialog(page).getByText("Delete the account").click();
  await dialog(page).getByRole("button", { name: "Delete my account" }).click();
  await dialog(page).getByRole("button", { name: "Yes, delete it for good" }).click();
  await dialog(page).getByText("The current password is needed").waitFor();
  await dialog(page).locator("#remove-password").fill(NEW_PASSWORD);
  await dialog(page).getByRole("button", { name: "Delete my account" }).click();
  await dialog(page).getByRole("button", { name: "Yes, delete it for good" }).click();
  await isKnown(page, "Log in");
  await page.locator("#open-account").click();
  await logIn(page, email, NEW_PASSWORD);
  await page.getByText("The e-mail address or the password is not right.").waitFor();
}

async function changePassword(visitor) {
  const { page } = visitor;
  await dialog(page).getByText("Change the password").click();
  await dialog(page).getByLabel("Current password", { exact: true }).fill("not this one");
  await dialog(page).getByLabel("New password", { exact: true }).fill(NEW_PASSWORD);
  await send(page, "Change it");
  await page.locator("#current_password[aria-invalid=true]").waitFor();
  await visitor.holdAccessible();
  await visitor.look("account-password");
  await dialog(page).getByLabel("Current password", { exact: true }).fill(PASSWORD);
  await send(page, "Change it");
  await page.getByText("The password is changed.").waitFor();
  await page.keyboard.press("Escape");
}

async function logOut(page) {
  const ended = page.waitForResponse((answer) => answer.url().endsWith("/api/users/logout"));
  await page.locator("#open-account").click();
  await dialog(page).getByRole("button", { name: "Log out" }).click();
  await isKnown(page, "Log in");
  assert.equal((await ended).status(), 204);
}

async function wrongPassword(visitor, email) {
  const { page } = visitor;
  await page.locator("#open-account").click();
  await logIn(page, email, PASSWORD);
  await page.getByText("The e-mail address or the password is not right.").waitFor();
  await visitor.look("account-wrong-password");
  await page.route("**/api/users/login", (route) =>
    route.fulfill({
      status: 429,
      headers: { "content-type": "application/problem+json", "retry-after": "40" },
      body: JSON.stringify({ detail: "too many attempts on this account" }),
    }),
  );
  await send(page, "Log in");
  await page.getByText("Too many attempts on this account. Try again in 40 s.").waitFor();
  await page.unrouteAll({ behavior: "wait" });
}

async function logIn(page, email, password) {
  await dialog(page).getByLabel("E-mail").fill(email);
  await dialog(page).getByLabel("Password", { exact: true }).fill(password);
  await send(page, "Log in");
}

async function ownCount(visitor) {
  const { page } = visitor;
  await placeOrder(page);
  await page.getByText(/^Counted: \d+ order/).waitFor({ timeout: UNTIL_COUNTED_MS });
  await page.getByRole("link", { name: "Watch the live board" }).click();
  await page.getByRole("row").filter({ hasText: "You" }).first().waitFor();
  await visitor.holdAccessible();
  await visitor.look("account-board");
}
