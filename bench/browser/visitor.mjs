// Somebody in front of a browser: a fresh profile on a device, who notes every error and how far things moved about.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { devices } from "playwright-core";

const require = createRequire(import.meta.url);
const axeSource = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

/** The devices the storefront is tried on. */
export const DEVICES = {
  desktop: { viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  phone: { ...devices["Pixel 7"], colorScheme: "dark" },
};

export class Visitor {
  static async arrive(browser, device, { base, folder }) {
    const context = await browser.newContext({ ...DEVICES[device], baseURL: base });
    const page = await context.newPage();
    const visitor = new Visitor(page, device, folder);
    page.on("pageerror", (error) => visitor.errors.push(error.message));
    page.on("console", (line) => line.type() === "error" && visitor.errors.push(line.text()));
    await page.addInitScript(() => {
      window.moved = 0;
      window.movers = new Set();
      const name = ({ node }) => node?.id || node?.className || node?.nodeName;
      new PerformanceObserver((list) => {
        for (const shift of list.getEntries().filter(({ hadRecentInput }) => !hadRecentInput)) {
          window.moved += shift.value;
          shift.sources.map(name).forEach((mover) => window.movers.add(mover));
        }
      }).observe({ type: "layout-shift", buffered: true });
    });
    return visitor;
  }

  constructor(page, device, folder) {
    Object.assign(this, { page, device, folder, errors: [] });
  }

  /** Saves what is seen as <device>-<name>.png. */
  async look(name) {
    await this.settle();
    await this.page.screenshot({ path: join(this.folder, `${this.device}-${name}.png`) });
  }

  /** Waits until what comes in has come in: half of it has half the contrast. */
  async settle() {
    await this.page.evaluate(() => {
      const ending = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime !== Infinity);
      return Promise.allSettled(ending.map(({ finished }) => finished));
    });
  }

  /** Fails when axe finds anything against WCAG 2.2 A and AA, or against its best practice. */
  async holdAccessible() {
    await this.settle();
    // Evaluated, not added as a script: the page's policy rightly refuses scripts from elsewhere.
    await this.page.evaluate(axeSource);
    const { violations } = await this.page.evaluate(() => window.axe.run());
    const found = violations.map(({ id, help, nodes }) => `${id}: ${help} (${nodes[0].target.join(" ")}, ${nodes.length} times)`);
    if (found.length > 0) throw new Error(found.join("\n"));
  }

  /** Fails when the page can be moved sideways or moved about while it loaded. */
  async holdSteady() {
    const { excess, moved, movers } = await this.page.evaluate(() => ({
      excess: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      moved: window.moved,
      movers: [...window.movers],
    }));
    if (excess > 0) throw new Error(`the page is ${excess} px wider than the screen`);
    if (moved > 0.02) throw new Error(`the layout shifted by ${moved.toFixed(3)}: ${movers.join(", ")}`);
  }

  /** Waits until `locator` has the focus: a dialog gives it back after the key that closes it was handled. */
  async holdFocus(locator) {
    await this.page.waitForFunction((node) => node === document.activeElement, await locator.elementHandle());
  }

  /** Presses Tab until `locator` has the focus. */
  async tabTo(locator, most = 60) {
    for (let i = 0; i < most; i += 1) {
      if (await locator.evaluate((node) => node === document.activeElement)) return;
      await this.page.keyboard.press("Tab");
    }
    throw new Error(`Tab did not reach ${locator}`);
  }
}
