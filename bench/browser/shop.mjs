// Clicks through the storefront as customers do: node shop.mjs [base address] [folder for screenshots].
// Variables: BASE_URL, the base address; ENFORCED_URL, the address of a platform with --auth enforced; ADMIN_EMAIL and
// ADMIN_PASSWORD, its admin; CHROMIUM, the browser.

import { mkdir } from "node:fs/promises";
import { chromium } from "playwright-core";
import { accounts, openAccount } from "./accounts.mjs";
import { budget, drawings } from "./budget.mjs";
import { desk, mail } from "./desk.mjs";
import { docs } from "./docs.mjs";
import { files, filesOnAPhone, guardedFiles } from "./files.mjs";
import { keyboard } from "./keyboard.mjs";
import { purchase } from "./purchase.mjs";
import { check, conclude } from "./report.mjs";
import { sessions } from "./sessions.mjs";
import { trouble } from "./trouble.mjs";
import { Visitor } from "./visitor.mjs";
import { words } from "./words.mjs";

const base = process.argv[2] ?? process.env.BASE_URL ?? "http://localhost:5000";
const enforced = process.env.ENFORCED_URL;
const admin = { base: enforced, email: process.env.ADMIN_EMAIL, password: process.env.ADMIN_PASSWORD };
const folder = process.argv[3] ?? new URL("screenshots", import.meta.url).pathname;
const FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

await mkdir(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: FLAGS.split(" "),
});
const arrive = (device, at = base) => Visitor.arrive(browser, device, { base: at, folder });

async function shop(device) {
  const visitor = await arrive(device);
  await purchase(visitor);
  // The browser may log errors of the refused sign-up, address and card of the purchase.
  await holdQuiet(visitor, /status of (409|422)/);
}

async function account(device) {
  const visitor = await arrive(device, enforced);
  await accounts(visitor);
  // By a 401 the pages also detect that callers must authenticate.
  await holdQuiet(visitor, /status of (401|403|409|422|429)/);
}

function holdQuiet({ device, errors }, expected) {
  return check(`${device}: no error is in the console`, () => {
    const others = errors.filter((text) => !expected.test(text));
    if (others.length > 0) throw new Error(others.join("\n"));
  });
}

async function wearOut() {
  await sessions(await arrive("desktop", enforced));
  await openAccount(await arrive("desktop"));
  await guardedFiles(await arrive("desktop", enforced), admin);
  await desk(await arrive("phone", enforced), admin);
  await mail(await arrive("phone", enforced), admin);
}

// Some scripts wait for a minute to close; they run at the same time.
const stories = [shop("desktop"), shop("phone")];
if (enforced) stories.push(account("desktop"), account("phone"), wearOut());
else console.log("SKIPPED: accounts and sessions (set ENFORCED_URL to a platform with --auth enforced)");
await Promise.all(stories);
await keyboard(await arrive("desktop"));
await trouble(await arrive("desktop"), base);
await docs(await arrive("phone"));
await files(await arrive("desktop"));
await filesOnAPhone(await arrive("phone"));
await words(arrive);
await budget(arrive);
await drawings(arrive);
await browser.close();
process.exitCode = conclude();
