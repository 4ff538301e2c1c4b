// The pictures of the demo's products, as line drawings. An emoji would be an empty box if no font has it.

import { shape } from "./dom.js";

// Each in a square of 48 by 48.
const LINES = {
  clock: "M24 6a18 18 0 1 0 0 36 18 18 0 1 0 0-36M24 12v12l7 5M9 32q3.75-3 7.5 0t7.5 0 7.5 0 7.5 0",
  lantern: "M17 12a7 7 0 0 1 14 0M14 12h20M17 12l-3 22h20l-3-22M13 34h22v6H13zM24 18c-5 6-4 11 0 11s5-5 0-11",
  lamp: "M11 42h20M21 42V26l9-9M26 8l13 10-5 7-13-10zM35 25c3 2 4 5 3 9",
  notebook: "M13 6h23v36H13zM19 6v36M10 13h6M10 20h6M10 28h6M10 35h6M24 15h7M24 20h7",
  pen: "M8 40l6-17L31 6l11 11-17 17zM8 40l12-12M27 10l11 11M23 25a2.5 2.5 0 1 0 .1.1",
  sweater: "M17 8L8 14 5 30l6 2 3-9v18h20V23l3 9 6-2-3-16-9-6c-3 5-11 5-14 0M14 36h20M19 19h10M19 24h10M19 29h10",
  jacket: "M18 9c2-5 10-5 12 0l9 6 3 17-6 2-2-9v17H14V25l-2 9-6-2 3-17zM24 14v28M18 9c1 6 11 6 12 0M18 31h2M28 31h2",
  mug: "M11 16h22v19a6 6 0 0 1-6 6H17a6 6 0 0 1-6-6zM33 20h3a5.5 5.5 0 0 1 0 11h-3M17 11c-2-3 2-4 0-7M26 11c-2-3 2-4 0-7",
  coffee: "M11 8h26l-9 14h-8zM20 22h8v4h-8zM17 26h14l6 15H11zM14 34h20M24 12v6",
  sweet: "M17 17h14v14H17zM17 20l-10-5v18l10-5M31 20l10-5v18l-10-5M21 17l6 14",
  compass: "M24 10a16 16 0 1 0 0 32 16 16 0 1 0 0-32M24 10V6M21 6h6M31 19l-4 10-10 4 4-10zM24 13v2M24 37v2M11 26h2M35 26h2",
  gift: "M7 17h34v8H7zM10 25h28v17H10zM24 17v25M24 17c-5 0-12-2-10-8 3-5 9 2 10 8M24 17c5 0 12-2 10-8-3-5-9 2-10 8",
};

/** The drawing of that name, or false if there is none. */
export function drawing(name) {
  return Object.hasOwn(LINES, name) && shape("svg", { class: "drawing", viewBox: "0 0 48 48" }, shape("path", { d: LINES[name] }));
}
