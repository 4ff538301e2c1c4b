// Who is shopping: sign up, or choose one of those who did. There are no passwords while the platform is open to all.

import { call, list } from "./api.js";
import { choose, customer } from "./customer.js";
import { dialog, say } from "./dialog.js";
import { button, element } from "./dom.js";

let opened;

/** Opens the dialog; the promise gives the customer, null when nobody was chosen. */
export async function askWho() {
  opened ??= dialog("account");
  return new Promise((resolve) => {
    const chosen = (user) => {
      choose(user);
      opened.close();
      say(`Welcome aboard, ${user.name}.`);
    };
    opened.show(customer() ? "Your account" : "Who is shopping?", current(), signUp(chosen), others(chosen));
    opened.node.addEventListener("close", () => resolve(customer()), { once: true });
  });
}

function current() {
  const user = customer();
  if (!user) return null;
  return element(
    "section",
    { class: "stack account-part" },
    element("p", {}, "You are shopping as ", element("strong", {}, user.name), element("br"), user.email),
    button("Leave", () => (choose(null), opened.close()), "quiet"),
  );
}

function signUp(chosen) {
  const name = field("name", "Name", { autocomplete: "name", maxlength: "100" });
  const email = field("email", "E-mail", { type: "email", autocomplete: "email", maxlength: "254" });
  const trouble = element("p", { class: "complaint", role: "alert" });
  const send = element("button", { class: "button", type: "submit" }, "Sign up");
  const submit = async (event) => {
    event.preventDefault();
    for (const { clear } of [name, email]) clear();
    trouble.textContent = "";
    send.disabled = true;
    try {
      chosen(await call("/users", { method: "POST", body: { name: name.value(), email: email.value() } }));
    } catch (problem) {
      const blamed = { name, email }[problem.field] ?? (problem.status === 409 ? email : null);
      if (blamed) blamed.complain(problem.message);
      else trouble.textContent = problem.message;
    } finally {
      send.disabled = false;
    }
  };
  return element(
    "form",
    { class: "stack account-part", novalidate: true, on: { submit } },
    element("h3", {}, "New here"),
    name.node,
    email.node,
    trouble,
    send,
  );
}

function field(id, label, attributes) {
  const complaint = element("p", { class: "complaint", id: `${id}-complaint`, role: "alert" });
  const input = element("input", { id, name: id, required: true, "aria-describedby": complaint.id, ...attributes });
  return {
    node: element("div", { class: "field" }, element("label", { for: id }, label), input, complaint),
    value: () => input.value.trim(),
    clear() {
      input.removeAttribute("aria-invalid");
      complaint.textContent = "";
    },
    complain(text) {
      input.setAttribute("aria-invalid", "true");
      complaint.textContent = text;
      input.focus();
    },
  };
}

function others(chosen) {
  const part = element("section", { class: "stack account-part", hidden: true });
  fill(part, chosen).catch(() => part.remove());
  return part;
}

async function fill(part, chosen) {
  const users = (await list("/users", 200)).filter(({ id }) => id !== customer()?.id);
  if (users.length === 0) return;
  const options = users.map((user) => element("option", { value: user.id }, `${user.name} · ${user.email}`));
  const select = element("select", { id: "someone" }, options);
  const pick = () => chosen(users.find(({ id }) => String(id) === select.value));
  part.append(
    element("h3", {}, "Been here before"),
    element("div", { class: "field" }, element("label", { for: "someone" }, "Shop as"), select),
    button("Continue", pick, "quiet"),
  );
  part.hidden = false;
}
