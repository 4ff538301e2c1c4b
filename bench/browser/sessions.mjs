// A customer stays logged in while tokens expire, are refused, or are renewed by two tabs at once. Without a renewal the session ends.

import assert from "node:assert/strict";
import { isKnown, signUp } from "./accounts.mjs";
import { check } from "./report.mjs";

/** Logs in where callers authenticate, and tests each way in which a token ends. */
export async function sessions(visitor) {
  const { page } = visitor;
  await check("sessions: a token that is about to expire is renewed before it is sent", async () => {
    await page.goto("/orders");
    await signUp(page, "Ida", `ida-${Date.now()}@example.org`);
    await page.getByText("No orders yet").waitFor();
    const before = await refreshToken(page);
    await tamper(page, { expires_at_ms: 0 });
    const refused = listen(page, 401);
    await reload(page);
    assert.notEqual((await refreshToken(page)).value, before.value);
    assert.deepEqual(refused, []);
  });
  await check("sessions: no script can read the refresh token, and no other site can use it", async () => {
    const { value, httpOnly, sameSite, path } = await refreshToken(page);
    assert.deepEqual({ httpOnly, sameSite, path }, { httpOnly: true, sameSite: "Strict", path: "/api/users" });
    const readable = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]));
    assert.ok(!readable.includes(value));
    // The request has the cookie, as if a browser let another site's form send it.
    const forged = await page.request.post("/api/users/refresh");
    assert.equal(forged.status(), 415);
    assert.equal((await refreshToken(page)).value, value);
  });
  await check("sessions: a token that is refused is renewed once, and the call sent again", async () => {
    const { access_token } = await kept(page);
    const [head, body] = access_token.split(".");
    await tamper(page, { access_token: `${head}.${body}.${"A".repeat(86)}` });
    const refreshes = listen(page, 200, "/users/refresh");
    await reload(page);
    assert.equal(refreshes.length, 1);
  });
  await check("sessions: two tabs renew at the same time, and both stay logged in", async () => {
    const other = await page.context().newPage();
    await other.goto("/orders");
    await other.getByText("No orders yet").waitFor();
    await tamper(page, { expires_at_ms: 0 });
    const tabs = [page, other];
    const refreshes = tabs.map((tab) => listen(tab, 200, "/users/refresh"));
    const refused = tabs.map((tab) => listen(tab, 401));
    await Promise.all(tabs.map(reload));
    // Usually one tab renews. Both do if the second does not see the new access token in time. The cookie is shared at once, so
    // no refresh token is used twice.
    assert.ok(refreshes.flat().length >= 1);
    assert.deepEqual(refused.flat(), []);
    await other.close();
  });
  await check("sessions: the end of one has a notice, and the basket stays", async () => {
    await page.goto("/");
    await page.getByRole("button", { name: /^Add /, disabled: false }).first().click();
    await tamper(page, { access_token: "a.e30.a" });
    await page.context().clearCookies();
    await page.locator("#open-basket").click();
    await page.getByRole("button", { name: "Place the order" }).click();
    await page.getByText("You are not logged in any more. Log in and try again.").waitFor();
    await visitor.look("session-over");
    await page.keyboard.press("Escape");
    await isKnown(page, "Log in");
    await page.getByRole("button", { name: "Basket 1 item" }).waitFor();
  });
}

const kept = (page) => page.evaluate(() => JSON.parse(localStorage.getItem("tidemark.session")));

/** Returns the cookie, which scripts cannot read. */
async function refreshToken(page) {
  return (await page.context().cookies()).find(({ name }) => name === "tidemark_refresh");
}

/** Changes the stored session. */
async function tamper(page, changes) {
  const before = await kept(page);
  await page.evaluate((session) => localStorage.setItem("tidemark.session", JSON.stringify(session)), { ...before, ...changes });
}

async function reload(page) {
  await page.reload();
  await page.getByText("No orders yet").waitFor();
}

/** Collects the answers with this status from now on. */
function listen(page, status, path = "") {
  const found = [];
  page.on("response", (answer) => {
    if (answer.status() === status && answer.url().includes(`/api${path}`)) found.push(answer.url());
  });
  return found;
}
