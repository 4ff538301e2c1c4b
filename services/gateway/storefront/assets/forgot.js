// Requests a mail with a link to set another password. The answer is the same whether an account has the address or not.

import "./masthead.js";
import { call } from "./api.js";
import { element, notice } from "./dom.js";
import { field, form } from "./form.js";

const place = document.querySelector("#place");

const email = field("email", "E-mail", { type: "email", autocomplete: "username", maxlength: "254", required: true });

const ask = form("Send me a link", [email], async ({ email }) => {
  await call("/users/forgotten-password", { method: "POST", body: { email }, isAnonymous: true });
  place.replaceChildren(notice("Look into your mailbox", `If an account has the confirmed address ${email}, a mail with a link is on its way. The link works for an hour.`));
  place.focus();
});

place.tabIndex = -1;
place.append(
  element("h1", {}, "Forgot your password?"),
  element("p", { class: "soft" }, "A link to set another one goes to the address of your account."),
  ask,
);
