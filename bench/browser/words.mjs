// Names and addresses of one long word, on a narrow phone in light and in dark: no page is wider than the phone.

import assert from "node:assert/strict";
import { check } from "./report.mjs";

const NARROW = { width: 390, height: 844 };
const WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft".repeat(2);
/** Each page, and the selector of an element that exists once its first content is shown. */
const PAGES = {
  "/": ".card:not(.skeleton)",
  "/?q=zzzzqqq": ".notice",
  "/live": ".chart .staff",
  "/orders": ".order h2",
  "/admin?status=pending": "#orders:not([aria-busy]) .order",
  "/files": ".file:not(.bone)",
  "/docs": "#operations:not([aria-busy])",
  "/forgot": "form",
  "/reset": ".notice",
  "/verify": ".notice",
};

/** Fills a shop without authentication with long words, and checks every page. */
export async function words(arrive) {
  const { page } = await arrive("phone");
  const send = async (path, data) => (await page.request.post(`/api${path}`, { data })).json();
  const product = await send("/products", { name: WORD, price_cents: 9_999_999_999, currency: "CLF", stock: 99, category: WORD.slice(0, 60) });
  const customer = await send("/users", { name: WORD.slice(0, 90), email: `words+${Date.now()}@example.org` });
  const delivery = { name: customer.name, street: WORD.slice(0, 99), postcode: "1", city: WORD.slice(0, 99), country: "AT" };
  await send("/orders", { user_id: customer.id, items: [{ product_id: product.id, quantity: 9 }], delivery });
  await page.request.post(`/api/files?name=${WORD.slice(0, 90)}.csv`, { data: "a,b\n1,2\n" });

  await page.setViewportSize(NARROW);
  await page.goto("/");
  await page.evaluate(([user, one]) => {
    localStorage.setItem("tidemark.customer", JSON.stringify({ id: user.id, name: user.name, email: user.email }));
    localStorage.setItem("tidemark.basket", JSON.stringify([{ product: one, quantity: 3 }]));
  }, [customer, product]);

  const pages = { ...PAGES, [`/products/${product.id}`]: "h1" };
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const [path, sign] of Object.entries(pages)) {
      await check(`words, ${colorScheme}: ${path} is as wide as the phone`, async () => {
        await page.goto(path);
        await page.locator(sign).first().waitFor();
        await holdNarrow(page);
      });
    }

    await check(`words, ${colorScheme}: the basket is as wide as the phone`, async () => {
      await page.goto("/");
      await page.getByRole("button", { name: /^Basket/ }).click();
      await page.getByRole("dialog").getByText(WORD).waitFor();
      await holdNarrow(page);
    });
  }

  await check("words: a product's page shows no internal data of the shop", async () => {
    await page.goto(`/products/${product.id}`);
    await page.locator("h1").waitFor();
    assert.doesNotMatch(await page.locator("main").innerText(), /version/);
  });
  await page.context().close();
}

/** Fails if an element extends beyond the right edge of the screen, unless it is in a part that scrolls by itself. */
async function holdNarrow(page) {
  const beyond = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);
    const isKept = (element) => element !== null && element !== document.body && (scrolls(element) || isKept(element.parentElement));
    const elements = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > width + 1);
    return elements.filter((element) => !isKept(element.parentElement)).map((element) => `${element.localName}.${element.className}`);
  });
  assert.deepEqual(beyond.slice(0, 5), []);
}
