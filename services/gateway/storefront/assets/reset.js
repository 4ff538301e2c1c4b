// Sets another password, by the token after the `#` of the link in a mail.

import "./masthead.js";
import { askWho } from "./account.js";
import { call } from "./api.js";
import { leave } from "./customer.js";
import { button, element, notice } from "./dom.js";
import { form, passwordField } from "./form.js";
import { takeToken } from "./token.js";

const place = document.querySelector("#place");
const token = takeToken();

const password = passwordField("new_password", "New password", { autocomplete: "new-password", required: true, hint: "8 to 128 characters." });

const set = form("Set the password", [password], async ({ new_password }) => {
  await call("/users/password-reset", { method: "POST", body: { token, new_password }, isAnonymous: true });
  // Every session of the account has ended, this browser's too.
  leave();
  place.replaceChildren(notice("The password is set", "All devices were logged out.", button("Log in", askWho)));
  place.focus();
});

place.tabIndex = -1;
if (token) place.append(element("h1", {}, "Set another password"), set);
else place.append(notice("The link is incomplete", "Open it as it is in the mail, or request another one.", element("a", { class: "button", href: "/forgot" }, "Send me a link")));
