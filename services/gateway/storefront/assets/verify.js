// Confirms the e-mail address of the account that is logged in, by the token after the `#` of the link in a mail.
//
// The token alone is not enough: a person who gets such a mail without having signed up has no session of that account.

import "./masthead.js";
import { askWho } from "./account.js";
import { call } from "./api.js";
import { changes, customer } from "./customer.js";
import { button, element, notice } from "./dom.js";
import { takeToken } from "./token.js";

const place = document.querySelector("#place");
const token = takeToken();

function show() {
  if (!token) return place.replaceChildren(notice("The link is incomplete", "Open it as it is in the mail, or request another one in your account.", home()));
  if (!customer()) return place.replaceChildren(stranger());
  const trouble = element("p", { class: "complaint", role: "alert" });
  const confirm = button("Confirm the address", () => verify(confirm, trouble));
  place.replaceChildren(notice("Is this your mailbox?", `You are shopping as ${customer().name}, ${customer().email}.`, element("div", { class: "stack" }, confirm, trouble)));
}

async function verify(confirm, trouble) {
  confirm.disabled = true;
  try {
    const { verified_email } = await call(`/users/${customer().id}/verification`, { method: "POST", body: { token } });
    changes.removeEventListener("customer", show);
    place.replaceChildren(notice("The address is confirmed", `Messages about your orders go to ${verified_email}.`, home()));
  } catch (problem) {
    trouble.textContent = problem.message;
    confirm.disabled = false;
  }
}

function stranger() {
  return notice("Log in to confirm the address", "Open the link in the browser in which you signed up. Until the address is confirmed, only that browser can use the account.", button("Log in", askWho, "quiet"));
}

function home() {
  return element("a", { class: "button", href: "/" }, "Go to the shop");
}

changes.addEventListener("customer", show);
show();
