// Takes the pictures of the project's README: node pictures.mjs [base address] [folder].
// The platform must have run with `--demo-load 60` for some minutes, so that the pages have content.

import { join } from "node:path";
import { chromium } from "playwright-core";

const base = new URL(process.argv[2] ?? "http://localhost:5000");
const folder = process.argv[3] ?? new URL("../../.github", import.meta.url).pathname;
const JOB_PORTS_ABOVE = 6;
const LEAST_MINUTES = 3;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage({ viewport: { width: 1180, height: 760 } });

await page.goto(new URL("/", base).href);
await page.locator(".card .drawing").first().waitFor();
await page.screenshot({ path: join(folder, "shop.png") });

await page.goto(new URL("/live", base).href);
await page.getByText("Live", { exact: true }).waitFor();
await page.locator(".staff:not(.open) .value:not(:empty)").nth(LEAST_MINUTES - 1).waitFor({ state: "attached", timeout: 300_000 });
await page.screenshot({ path: join(folder, "board.png") });

const job = new URL(base);
job.port = String(Number(base.port) + JOB_PORTS_ABOVE);
await page.goto(job.href);
await page.screenshot({ path: join(folder, "job.png") });

await browser.close();
console.log(`shop.png, board.png and job.png are in ${folder}`);
