// Clicks through the storefront as customers do: node shop.mjs [base address] [folder for screenshots].
// The base address is also taken from BASE_URL, the browser from CHROMIUM.

import { mkdir } from "node:fs/promises";
import { chromium } from "playwright-core";
import { budget } from "./budget.mjs";
import { docs } from "./docs.mjs";
import { keyboard } from "./keyboard.mjs";
import { purchase } from "./purchase.mjs";
import { check, conclude } from "./report.mjs";
import { trouble } from "./trouble.mjs";
import { Visitor } from "./visitor.mjs";

const base = process.argv[2] ?? process.env.BASE_URL ?? "http://localhost:5000";
const folder = process.argv[3] ?? new URL("screenshots", import.meta.url).pathname;
const FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

await mkdir(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: FLAGS.split(" "),
});
const arrive = (device) => Visitor.arrive(browser, device, { base, folder });

async function shop(device) {
  const visitor = await arrive(device);
  await purchase(visitor);
  await check(`${device}: nothing was complained about in the console`, () => {
    // The refused sign-up of the story is the one error a browser may log.
    const errors = visitor.errors.filter((text) => !/status of (409|422)/.test(text));
    if (errors.length > 0) throw new Error(errors.join("\n"));
  });
}

// Both wait for a minute to close, and can do so together.
await Promise.all([shop("desktop"), shop("phone")]);
await keyboard(await arrive("desktop"));
await trouble(await arrive("desktop"));
await docs(await arrive("phone"));
await budget(await arrive("phone"));
await browser.close();
process.exitCode = conclude();
