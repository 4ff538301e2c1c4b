// Dialogs with a title, a button to close them, and a body that changes. The browser's <dialog> handles focus and Escape.

import { element } from "./dom.js";

/** Makes a dialog; `show(…children)` opens it, or changes the content of an open one. */
export function dialog(id) {
  const title = element("h2", { id: `${id}-title`, tabindex: "-1" });
  const body = element("div", { class: "dialog-body" });
  const close = element("button", { type: "button", "aria-label": "Close", on: { click: () => node.close() } }, "✕");
  const node = element(
    "dialog",
    { id, "aria-labelledby": `${id}-title`, on: { click: (event) => event.target === node && node.close() } },
    element("div", { class: "dialog-head" }, title, close),
    body,
  );
  document.body.append(node);
  return {
    node,
    show(heading, ...children) {
      title.textContent = heading;
      body.replaceChildren(...children.filter(Boolean));
      if (!node.open) node.showModal();
    },
    focusTitle: () => title.focus(),
    close: () => node.close(),
  };
}

let toast;

/** Shows a passing message, also to screen readers. */
export function say(text) {
  if (!toast) {
    toast = element("p", { class: "toast", role: "status" });
    document.body.append(toast);
  }
  // A modal dialog makes everything outside it inert, so the message is moved into it.
  const home = document.querySelector("dialog[open]") ?? document.body;
  if (toast.parentElement !== home) home.append(toast);
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => toast.classList.remove("shown"), 2_500);
}
