// The second factor of an account: an authenticator app, and recovery codes for the day that it is lost.

import { call } from "./api.js";
import { element } from "./dom.js";
import { field, form, passwordField } from "./form.js";

const CODE = { autocomplete: "one-time-code", maxlength: "64", required: true };

/** The account's part about its second factor. When a new one has ended every session, `leave` is called. */
export async function secondFactor({ id }, leave) {
  const path = `/users/${id}/second-factor`;
  const place = element("div", { class: "stack" });
  const { confirmed_at: isSet, recovery_codes_left: left } = await call(path);
  place.append(...(isSet ? removal(place, path, left) : offer(place, path, leave)));
  return place;
}

function offer(place, path, leave) {
  const password = passwordField("current_password", "Your password", { id: "factor-password", autocomplete: "current-password", required: true });
  const submit = async (body) => {
    const { secret, link } = await call(path, { method: "POST", body });
    place.replaceChildren(...confirmation(place, path, { secret, link }, leave));
  };
  return [said("With a second factor, a log-in needs a code of an authenticator app, too."), form("Set one", [password], submit)];
}

function confirmation(place, path, { secret, link }, leave) {
  const submit = async (body) => {
    const { recovery_codes: codes } = await call(`${path}/confirmation`, { method: "POST", body });
    // Every session has ended by this. The codes are not shown again.
    leave();
    const list = element("ul", { class: "order-lines small" }, codes.map((code) => element("li", {}, element("code", {}, code))));
    place.replaceChildren(said("Keep these recovery codes. Each logs you in once, without the app. Then log in again."), list);
  };
  return [
    said("Enter this secret into your app, or open the link on the device that has it. It is not shown again."),
    element("p", {}, element("code", { id: "factor-secret" }, secret)),
    element("p", {}, element("a", { href: link }, "Open the app")),
    form("Confirm", [field("code", "Code of the app", { id: "factor-code", ...CODE })], submit),
  ];
}

function removal(place, path, left) {
  const fields = [
    passwordField("current_password", "Your password", { id: "factor-password", autocomplete: "current-password", required: true }),
    field("code", "Code", { id: "factor-code", ...CODE, hint: "Of the app, or a recovery code." }),
  ];
  const submit = async (body) => {
    await call(path, { method: "DELETE", body });
    place.replaceChildren(said("A log-in needs no code any more."));
  };
  return [said(`A log-in needs a code. Recovery codes left: ${left}.`), form("Remove it", fields, submit)];
}

function said(text) {
  return element("p", { class: "soft small" }, text);
}
