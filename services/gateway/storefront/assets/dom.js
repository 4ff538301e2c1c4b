// Makes elements: the only place that adds attributes, listeners and children to them.

const SVG = "http://www.w3.org/2000/svg";

/** element("button", { class: "quiet", on: { click } }, "Close"). False, null and undefined parts are left out. */
export function element(tag, properties = {}, ...children) {
  return dress(document.createElement(tag), properties, children);
}

/** Makes an element of a drawing (SVG). */
export function shape(tag, properties = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), properties, children);
}

function dress(node, { on = {}, style = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, value);
  node.append(...children.flat().filter((child) => child !== false && child != null));
  return node;
}

/** A notice for an empty, failed or waiting part of a page, with an action. */
export function notice(title, text, action) {
  return element("div", { class: "notice" }, element("p", { class: "notice-title" }, title), element("p", { class: "soft" }, text), action);
}

/** A button that runs `click`. */
export function button(text, click, kind = "") {
  return element("button", { class: `button ${kind}`.trim(), type: "button", on: { click } }, text);
}

/** A button that asks for a confirmation before it runs `act`, and shows a failure beside it. */
export function deliberate(text, sure, act) {
  const trouble = element("p", { class: "complaint", role: "alert" });
  const node = element("div", { class: "deliberate" });
  const rest = () => node.replaceChildren(button(text, ask, "quiet"), trouble);
  const keep = () => {
    rest();
    node.firstChild.focus();
  };
  const run = async (event) => {
    event.target.disabled = true;
    try {
      await act();
    } catch (problem) {
      keep();
      trouble.textContent = problem.message;
    }
  };
  const ask = () => {
    trouble.textContent = "";
    const no = button("No, keep it", keep, "quiet");
    node.replaceChildren(button(sure, run, "grave"), no, trouble);
    no.focus();
  };
  rest();
  return node;
}
