// The dialog to log in or sign up, or to choose a customer if the platform does not authenticate callers. For a customer, the
// dialog of the account: details, password, log out.

import { BY_COOKIE, call, isOpen, list, save } from "./api.js";
import { bearer, choose, customer, keepSession, leave, session } from "./customer.js";
import { dialog, say } from "./dialog.js";
import { button, deliberate, element, notice } from "./dom.js";
import { secondFactor } from "./factor.js";
import { field, form, passwordField } from "./form.js";

const PASSWORD_RULE = "8 to 128 characters.";
// The service's limits on the length of names and addresses.
const NAME = { autocomplete: "name", maxlength: "100", required: true };
const EMAIL = { type: "email", autocomplete: "email", maxlength: "254", required: true };
const PHONE = { type: "tel", autocomplete: "tel", maxlength: "24" };

let opened;

/** Opens the dialog. The promise resolves with the customer, or null if none was chosen. */
export function askWho() {
  opened ??= dialog("account");
  return new Promise((resolve) => {
    if (customer()) show("Your account", account);
    else show("Who is shopping?", entry);
    opened.node.addEventListener("close", () => resolve(customer()), { once: true });
  });
}

/** Shows the result of `parts`; until then a notice that it is loading, or the reason why it failed. */
async function show(title, parts, ...given) {
  opened.show(title, element("p", { class: "soft", role: "status" }, "One moment…"));
  try {
    opened.show(title, ...(await parts(...given)));
    if (!opened.node.contains(document.activeElement)) opened.focusTitle();
  } catch (problem) {
    if (!customer() && parts !== entry) return show("Who is shopping?", entry, problem.message);
    opened.show(title, notice("The accounts are out of reach", problem.message, button("Try again", () => show(title, parts), "quiet")));
  }
}

function welcome(user) {
  choose(user);
  opened.close();
  say(`Welcome aboard, ${user.name}.`);
}

// If no password is needed, sign-up comes first, because the customer is probably new.
async function entry(trouble = "") {
  const open = await isOpen();
  return open ? signUp(open) : logIn(open, trouble);
}

function turnTo(parts, open) {
  opened.show("Who is shopping?", ...parts(open));
  opened.node.querySelector("input").focus();
}

function logIn(open, trouble = "") {
  const email = field("email", "E-mail", { ...EMAIL, autocomplete: "username" });
  const password = passwordField("password", "Password", { autocomplete: "current-password", required: true });
  const code = field("code", "Code", { autocomplete: "one-time-code", maxlength: "64", hint: "Of your authenticator app, or a recovery code." });
  code.node.hidden = true;
  const submit = async (given) => {
    try {
      welcome(await beginSession(given));
    } catch (problem) {
      // The password was right, and the account has a second factor.
      if (problem.field === "code") code.node.hidden = false;
      throw problem;
    }
  };
  return [
    form("Log in", [email, password, code], submit, trouble),
    aside("Forgot your password?", element("a", { class: "button quiet", href: "/forgot" }, "Set another one")),
    aside("New here?", button("Sign up instead", () => turnTo(signUp, open), "quiet")),
  ];
}

function signUp(open) {
  const rule = open ? `Optional. ${PASSWORD_RULE} With one, only you can log in.` : PASSWORD_RULE;
  const fields = [
    field("name", "Name", NAME),
    field("email", "E-mail", EMAIL),
    passwordField("password", "Password", { autocomplete: "new-password", required: !open, hint: rule }),
  ];
  const submit = async ({ name, email, password }) => {
    const user = await call("/users", { method: "POST", body: { name, email, password }, isAnonymous: true });
    welcome(password ? await beginSession({ email, password }) : user);
  };
  return [
    form("Sign up", fields, submit),
    aside("Been here before?", button("Log in instead", () => turnTo(logIn, open), "quiet")),
    open && others(),
  ];
}

async function beginSession(body) {
  keepSession(await call("/users/login", { method: "POST", body, headers: BY_COOKIE, isAnonymous: true }));
  return call(`/users/${bearer().id}`);
}

function aside(question, action) {
  return element("section", { class: "account-part account-aside" }, element("p", { class: "soft" }, question), action);
}

function others() {
  const part = element("section", { class: "stack account-part", hidden: true });
  fill(part).catch(() => part.remove());
  return part;
}

async function fill(part) {
  const users = await list("/users", 200);
  if (users.length === 0) return;
  const options = users.map((user) => element("option", { value: user.id }, `${user.name} · ${user.email}`));
  const select = element("select", { id: "someone" }, options);
  const pick = () => welcome(users.find(({ id }) => String(id) === select.value));
  part.append(
    element("div", { class: "field" }, element("label", { for: "someone" }, "Shop with an existing account"), select),
    button("Continue", pick, "quiet"),
  );
  part.hidden = false;
}

async function account() {
  const user = await call(`/users/${customer().id}`).catch((problem) => {
    if (problem.status === 404) leave();
    throw problem;
  });
  return [
    element(
      "section",
      { class: "account-part account-aside" },
      element("p", {}, element("strong", { class: "account-name" }, user.name), element("br"), element("span", { class: "soft small" }, user.email)),
      button("Log out", logOut, "quiet"),
    ),
    user.verified_email !== user.email && unconfirmed(user),
    bearer()?.isAdmin && aside("You run this shop.", element("a", { class: "button quiet", href: "/admin" }, "Its orders")),
    bearer()?.isAdmin && aside("Its uploaded files and catalogues.", element("a", { class: "button quiet", href: "/files" }, "Files")),
    details(user),
    disclosure("Change the password", password(user)),
    session() && disclosure("Second factor", await secondFactor(user, leave)),
    aside("Your data in the shop, as JSON.", button("Download my data", () => downloadData(user).catch(({ message }) => say(message)), "quiet")),
    disclosure("Delete the account", remove(user)),
  ];
}

// Until an address is confirmed, it gets no message about an order.
function unconfirmed({ id, email }) {
  const trouble = element("p", { class: "complaint", role: "alert" });
  const sendAgain = async () => {
    try {
      await call(`/users/${id}/verification-mail`, { method: "POST" });
      say("The mail is sent, unless one was sent a moment ago.");
    } catch (problem) {
      trouble.textContent = problem.message;
    }
  };
  return element(
    "section",
    { class: "account-part stack" },
    element("p", {}, `Confirm ${email}: a mail with a link was sent there. Until then, no message about your orders goes to it.`),
    button("Send the mail again", sendAgain, "quiet"),
    trouble,
  );
}

function details({ id, name, email, phone }) {
  const fields = [
    field("name", "Name", { ...NAME, value: name }),
    field("email", "E-mail", { ...EMAIL, value: email }),
    field("phone", "Phone", { ...PHONE, value: phone, hint: "Optional. For a message when an order moves on." }),
    ...(session() ? [passwordField("current_password", "Your password", { id: "details-password", autocomplete: "current-password", hint: "Only to change the e-mail address." })] : []),
  ];
  return form("Save", fields, async (given) => {
    choose(await call(`/users/${id}`, { method: "PATCH", body: { ...given, phone: given.phone ?? null } }));
    await show("Your account", account);
    say("Saved.");
  });
}

function password({ id, email }) {
  const hint = session() ? "" : "Leave it empty if you have none yet.";
  const fields = [
    passwordField("current_password", "Current password", { autocomplete: "current-password", hint }),
    passwordField("new_password", "New password", { autocomplete: "new-password", required: true, hint: PASSWORD_RULE }),
  ];
  return form("Change it", fields, async (body) => {
    await call(`/users/${id}/password`, { method: "PUT", body });
    // This has ended all sessions of the account, here and elsewhere.
    await beginSession({ email, password: body.new_password });
    await show("Your account", account);
    say("The password is changed. Other devices are logged out.");
  });
}

async function downloadData({ id }) {
  const [account, sessions, orders, messages, counts] = await Promise.all([
    call(`/users/${id}`),
    call(`/users/${id}/sessions`).then(({ items }) => items),
    list(`/orders?user_id=${id}`, Infinity),
    list(`/notifications?user_id=${id}`, Infinity),
    list(`/analytics/users/${id}`, Infinity),
  ]);
  const payments = await Promise.all(orders.map(async (order) => (await call(`/orders/${order.id}/payments`)).items));
  const data = { account, sessions, orders, payments: payments.flat(), messages, counts };
  save(new Blob([JSON.stringify(data, null, 1)], { type: "application/json" }), "tidemark-my-data.json");
}

function remove({ id }) {
  const hint = session() ? "" : "Leave it empty if you have none yet.";
  const password = passwordField("current_password", "Your password", { id: "remove-password", autocomplete: "current-password", hint });
  const act = async () => {
    await call(`/users/${id}`, { method: "DELETE", body: { current_password: password.value() } });
    leave();
    opened.close();
    say("Your account is deleted.");
  };
  return element(
    "div",
    { class: "stack" },
    element("p", { class: "soft small" }, "Your details are deleted for good. Your orders stay in the shop’s books, without your name."),
    password.node,
    deliberate("Delete my account", "Yes, delete it for good", act),
  );
}

async function logOut() {
  const kept = session();
  leave();
  opened.close();
  say("You are logged out.");
  if (!kept) return;
  try {
    await call("/users/logout", { method: "POST", headers: BY_COOKIE, isAnonymous: true });
  } catch {
    say("The shop did not answer. If others use this browser, log in and out again later.");
  }
}

function disclosure(title, part) {
  return element("details", { class: "account-part disclosure" }, element("summary", {}, title), part);
}
