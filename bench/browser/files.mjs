// Files are uploaded and viewed, by admins and by customers.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { isKnown, signUp } from "./accounts.mjs";
import { check } from "./report.mjs";

const TABLE = { name: "sales.csv", mimeType: "text/csv", buffer: Buffer.from("day,total\n2026-11-22,19.99\n2026-11-23,5\nnothing\n") };
const NOTHING = { name: "empty.json", mimeType: "application/json", buffer: Buffer.from("") };
const CATALOGUE = {
  name: "autumn.csv",
  mimeType: "text/csv",
  buffer: Buffer.from("sku,name,price_cents,stock,category\nB1,Brass Barometer,8900,5,Home\nB2,Broken Barometer,cheap,5,Home\n"),
};

/** Uploads files where callers do not authenticate. */
export async function files(visitor) {
  const { page, device } = visitor;
  const claim = (sentence, test) => check(`files, ${device}: ${sentence}`, test);

  await claim("an empty hold has a notice", async () => {
    await page.goto("/");
    await page.getByRole("link", { name: "Files" }).click();
    await page.getByText("The hold is empty").waitFor();
    await holdAll(visitor);
    await visitor.look("files-none");
  });
  await claim("a table, a picture and nothing at all are uploaded, and what was found is said", () => uploadAll(visitor));
  await claim("the page with files is accessible and stands still", async () => {
    await page.reload();
    await card(page, "shelf.png").locator("img").waitFor();
    await holdAll(visitor);
    await visitor.look("files");
  });
  await claim("a catalogue becomes products", () => importCatalogue(visitor));
  await claim("a file that is refused at once is explained at the form", async () => {
    await page.route("**/api/files?*", (route) => refuse(route, 413, "the file is larger than 104857600 bytes"));
    await upload(page, [TABLE]);
    await page.getByText("The file is larger than 104857600 bytes.").waitFor();
    await visitor.look("files-refused");
    await page.unrouteAll({ behavior: "wait" });
  });
  await claim("while its service is down the page has a notice, and recovers", async () => {
    await page.route("**/api/files?*", (route) => route.abort());
    await page.reload();
    await page.getByText("The files are out of reach").waitFor();
    await visitor.holdAccessible();
    await page.unrouteAll({ behavior: "wait" });
    await page.getByRole("button", { name: "Try again" }).click();
    await card(page, "shelf.png").waitFor();
  });
}

/** Views the files on a small screen. */
export function filesOnAPhone(visitor) {
  return check("files, phone: the page is accessible and stands still", async () => {
    await visitor.page.goto("/files");
    await card(visitor.page, "shelf.png").locator("img").waitFor();
    await holdAll(visitor);
    await visitor.look("files");
  });
}

/** Uploads files where callers authenticate. */
export async function guardedFiles(visitor, admin) {
  const { page } = visitor;
  const claim = (sentence, test) => check(`files, guarded: ${sentence}`, test);
  await claim("a stranger is asked to log in, a customer is told whom they are for", async () => {
    await page.goto("/files");
    await page.getByText("Who are you?").waitFor();
    await visitor.holdAccessible();
    await signUp(page, "Jack", `jack-${Date.now()}@example.org`);
    await page.getByText("Jack is a customer").waitFor();
    await visitor.holdAccessible();
    await visitor.look("files-crew-only");
  });
  await claim("who runs the shop uploads one, and sees its thumbnail", async () => {
    await page.locator("#open-account").click();
    await page.getByRole("button", { name: "Log out" }).click();
    await isKnown(page, "Log in");
    await page.locator("#open-account").click();
    await page.getByLabel("E-mail").fill(admin.email);
    await page.getByLabel("Password", { exact: true }).fill(admin.password);
    await page.locator("#account").getByRole("button", { name: "Log in", exact: true }).click();
    await upload(page, [await picture(page)]);
    await card(page, "shelf.png").locator("img").waitFor();
    await page.locator("#open-account").click();
    await page.locator("#account").getByRole("link", { name: "Files" }).waitFor();
    await visitor.look("files-admin");
    await visitor.holdAccessible();
  });
}

async function uploadAll(visitor) {
  const { page } = visitor;
  await upload(page, [TABLE, await picture(page), NOTHING]);
  await card(page, "sales.csv").getByText("3 rows, 2 columns, 1 bad row").waitFor();
  await card(page, "sales.csv").getByText("Line 4: has 1 fields where the header has 2").waitFor();
  await card(page, "empty.json").getByText("Empty: there is nothing in it.").waitFor();
  const thumbnail = card(page, "shelf.png").locator("img");
  await thumbnail.waitFor();
  assert.ok((await thumbnail.evaluate((image) => image.decode().then(() => image.naturalWidth))) > 0);
  assert.equal(await page.getByRole("article").count(), 3);
}

async function importCatalogue(visitor) {
  const { page } = visitor;
  await page.getByRole("checkbox").check();
  await upload(page, [CATALOGUE]);
  await card(page, "autumn.csv").getByText("1 product added, 0 changed").waitFor();
  await card(page, "autumn.csv").getByText("Line 3, price_cents: \"cheap\" is not a whole number").waitFor();
  await mendBadRows(page);
  await visitor.look("files-catalogue");
  await page.goto("/");
  await page.getByRole("heading", { name: "Brass Barometer" }).waitFor();
  await page.goto("/files");
}

/** Downloads the refused rows, corrects them and uploads them again: then all rows are imported. */
async function mendBadRows(page) {
  const saving = page.waitForEvent("download");
  await card(page, "autumn.csv").getByRole("button", { name: "Download 1 bad row as CSV" }).click();
  const saved = await saving;
  assert.equal(saved.suggestedFilename(), "autumn-bad-rows.csv");
  const rows = await readFile(await saved.path(), "utf8");
  assert.equal(rows, "sku,name,price_cents,stock,category\r\nB2,Broken Barometer,cheap,5,Home\r\n");

  await page.getByRole("checkbox").check();
  await upload(page, [{ name: "mended.csv", mimeType: "text/csv", buffer: Buffer.from(rows.replace("cheap", "100")) }]);
  await card(page, "mended.csv").getByText("1 product added, 0 changed").waitFor();
}

async function holdAll(visitor) {
  await visitor.holdAccessible();
  await visitor.holdSteady();
}

async function upload(page, chosen) {
  await page.getByLabel("Files to upload").setInputFiles(chosen);
  await page.getByRole("button", { name: "Upload", exact: true }).click();
}

/** Returns a screenshot of the page as a picture to upload. */
async function picture(page) {
  return { name: "shelf.png", mimeType: "image/png", buffer: await page.screenshot() };
}

const card = (page, name) => page.getByRole("article", { name }).first();

function refuse(route, status, detail) {
  return route.fulfill({ status, contentType: "application/problem+json", body: JSON.stringify({ status, detail }) });
}
