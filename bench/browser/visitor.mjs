// A visitor: a fresh browser profile on a device, which records every error and every layout shift.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { devices } from "playwright-core";

const require = createRequire(import.meta.url);
const axeSource = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

/** The devices on which the storefront is tested. */
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

  /** Saves a screenshot as <device>-<name>.png. */
  async look(name) {
    await this.settle();
    await this.page.screenshot({ path: join(this.folder, `${this.device}-${name}.png`) });
  }

  /** Waits until elements that fade in are opaque, because half transparent ones have half the contrast. */
  async settle() {
    await this.page.evaluate(() => {
      const ending = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime !== Infinity);
      return Promise.allSettled(ending.map(({ finished }) => finished));
    });
  }

  /** Fails if axe finds a violation of WCAG 2.2 A and AA, or of its best practices. */
  async holdAccessible() {
    await this.settle();
    // axe is evaluated, not added as a script, because the page's policy refuses scripts from elsewhere.
    await this.page.evaluate(axeSource);
    const { violations } = await this.page.evaluate(async () => {
      // A message that ends meanwhile is removed at once, because half faded out it would have half the contrast.
      const still = new CSSStyleSheet();
      still.replaceSync("* { transition: none !important }");
      document.adoptedStyleSheets.push(still);
      try {
        return await window.axe.run();
      } finally {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== still);
      }
    });
    const found = violations.map(({ id, help, nodes }) => `${id}: ${help} (${nodes[0].target.join(" ")}, ${nodes.length} times)`);
    if (found.length > 0) throw new Error(found.join("\n"));
  }

  /** Fails if the page scrolls sideways, or its layout shifted while it loaded. */
  async holdSteady() {
    const { excess, moved, movers } = await this.page.evaluate(() => ({
      excess: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      moved: window.moved,
      movers: [...window.movers],
    }));
    if (excess > 0) throw new Error(`the page is ${excess} px wider than the screen`);
    if (moved > 0.02) throw new Error(`the layout shifted by ${moved.toFixed(3)}: ${movers.join(", ")}`);
  }

  /** Waits until `locator` has the focus. A dialog gives it back only after the key that closes it was handled. */
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
