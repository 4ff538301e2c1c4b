// Forms: fields with their labels, hints and complaints, and a button that sends their values.

import { element } from "./dom.js";

/** A form that calls `submit` with the values of its fields. A failure is shown at the invalid field, or above the button. */
export function form(verb, fields, submit, said = "") {
  const trouble = element("p", { class: "complaint", role: "alert" }, said);
  const send = element("button", { class: "button", type: "submit" }, verb);
  const onSubmit = async (event) => {
    event.preventDefault();
    for (const { clear } of fields) clear();
    trouble.textContent = "";
    send.disabled = true;
    try {
      await submit(Object.fromEntries(fields.map(({ name, value }) => [name, value()])));
    } catch (problem) {
      const blamed = fields.find(({ name }) => name === problem.field);
      if (blamed) blamed.complain(problem.message);
      else trouble.textContent = problem.message;
    } finally {
      send.disabled = false;
    }
  };
  const nodes = fields.map(({ node }) => node);
  return element("form", { class: "stack account-part", novalidate: true, on: { submit: onSubmit } }, nodes, trouble, send);
}

/** {name, node, value, clear, complain}. The value of an empty field is undefined. Two fields of one name need different ids. */
export function field(name, label, { hint = "", id = name, ...attributes }) {
  const complaint = element("p", { class: "complaint", id: `${id}-complaint`, role: "alert" });
  const help = hint && element("p", { class: "soft small", id: `${id}-hint` }, hint);
  const described = [help && help.id, complaint.id].filter(Boolean).join(" ");
  const input = element("input", { id, name, "aria-describedby": described, ...attributes });
  return {
    name,
    input,
    node: element("div", { class: "field" }, element("label", { for: id }, label), input, help, complaint),
    value: () => (input.autocomplete.endsWith("password") ? input.value : input.value.trim()) || undefined,
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

/** A field whose text can be shown. */
export function passwordField(name, label, attributes) {
  const made = field(name, label, { ...attributes, type: "password", maxlength: "128", spellcheck: "false" });
  const reveal = element("button", { type: "button", class: "reveal", "aria-pressed": "false", "aria-label": `Show ${label.toLowerCase()}` }, "Show");
  reveal.addEventListener("click", () => {
    const isShown = made.input.type === "text";
    made.input.type = isShown ? "password" : "text";
    reveal.setAttribute("aria-pressed", String(!isShown));
  });
  const row = element("div", { class: "secret" });
  made.input.replaceWith(row);
  row.append(made.input, reveal);
  return made;
}
