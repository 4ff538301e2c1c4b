// The tide gauge: a staff with a mark for every five seconds, and the minute rising along it.

import { element } from "./dom.js";

/** {node, rise(level)}: level 0 is low water, 1 the minute's end. It is an ornament; the words beside it have the same content. */
export function gauge(node = build()) {
  const water = node.firstElementChild;
  return {
    node,
    rise(level) {
      // It starts at the minute's present level: a slow rise from low water would contradict the words beside it.
      water.classList.toggle("standing", node.level === undefined);
      // A new minute begins at low water: no slow fall from the last one's height.
      water.classList.toggle("ebb", level < node.level);
      node.level = level;
      water.style.setProperty("--level", level.toFixed(4));
    },
  };
}

function build() {
  return element("div", { class: "gauge", "aria-hidden": "true" }, element("div", { class: "water" }));
}
