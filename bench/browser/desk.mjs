// The orders of the shop, which only admins see where callers authenticate, and mail about accounts.

import assert from "node:assert/strict";
import { isKnown, signUp } from "./accounts.mjs";
import { check } from "./report.mjs";

/** Opens the page of all orders as a stranger, who is refused, and as the admin. */
export async function desk(visitor, admin) {
  const { page } = visitor;
  await check("desk: a stranger reads that the page is for admins", async () => {
    await page.goto("/admin");
    await page.getByText("This page is for admins").waitFor();
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

/** Follows links of mail that the admin's page shows, as no mail server is set: one confirms an address, one sets a forgotten password. */
export async function mail(visitor, admin) {
  const { page } = visitor;
  const email = `mail-${Date.now()}@example.org`;
  const dialog = page.locator("#account");

  await check("mail: an address is confirmed by the link in its mail, in the browser that signed up", async () => {
    await page.goto("/");
    await signUp(page, "Mia", email);
    await page.locator("#open-account").click();
    await dialog.getByText(`Confirm ${email}`).waitFor();
    await visitor.holdAccessible();
    await visitor.look("account-unconfirmed");
    await page.goto(await linkTo(admin, email, "Confirm your e-mail address"));
    await visitor.holdAccessible();
    await visitor.look("verify");
    assert.equal(new URL(page.url()).hash, "", "the token stays in no history");
    await page.getByRole("button", { name: "Confirm the address" }).click();
    await page.getByText("The address is confirmed").waitFor();
  });
  await check("mail: a forgotten password is set by the link in a mail, and logs in", async () => {
    await page.goto("/forgot");
    await page.getByLabel("E-mail").fill(email);
    await visitor.holdAccessible();
    await visitor.look("forgot");
    await page.getByRole("button", { name: "Send me a link" }).click();
    await page.getByText("Look into your mailbox").waitFor();
    const link = await linkTo(admin, email, "Set another password");
    await page.goto(link);
    await page.getByLabel("New password", { exact: true }).fill("password");
    await page.getByRole("button", { name: "Set the password" }).click();
    await page.locator("#new_password[aria-invalid=true]").waitFor();
    await page.getByLabel("New password", { exact: true }).fill("battery staple");
    await visitor.holdAccessible();
    await visitor.look("reset");
    await page.getByRole("button", { name: "Set the password" }).click();
    await page.getByText("The password is set").waitFor();
    await page.getByRole("main").getByRole("button", { name: "Log in" }).click();
    await dialog.getByLabel("E-mail").fill(email);
    await dialog.getByLabel("Password", { exact: true }).fill("battery staple");
    await dialog.getByRole("button", { name: "Log in", exact: true }).click();
    await isKnown(page, "Mia");
    await page.goto(link);
    await page.getByLabel("New password", { exact: true }).fill("another battery");
    await page.getByRole("button", { name: "Set the password" }).click();
    await page.getByText("The link was already used").waitFor();
  });
}

/** Returns the link of the newest mail with this subject to this address, from the admin's route. */
async function linkTo(admin, email, subject) {
  const post = (path, body, headers = {}) => fetch(`${admin.base}/api${path}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
  const { access_token } = await (await post("/users/login", { email: admin.email, password: admin.password })).json();
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const answer = await fetch(`${admin.base}/api/notifications/account-mail`, { headers: { authorization: `Bearer ${access_token}` } });
    const { items } = await answer.json();
    const found = items.find((item) => item.to === email && item.subject === subject);
    if (found) return found.link;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`no mail "${subject}" came`);
}
