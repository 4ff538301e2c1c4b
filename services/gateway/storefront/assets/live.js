// The live board: the current minute, the chart and the table of what was counted.

import "./masthead.js";
import { list } from "./api.js";
import { board } from "./board.js";
import { chart } from "./chart.js";
import { everySecond, WINDOW_MS, windowStart } from "./clock.js";
import { follow } from "./counts.js";
import { minute } from "./format.js";
import { gauge } from "./gauge.js";
import { windows } from "./windows.js";

const SIGNALS = { live: "Live", asking: "Asking every 5 s", away: "Reconnecting…" };
// How long after its end a minute is normally counted: what the job allows for stragglers, and a little.
const USUAL_WAIT_MS = 10_000;

const tide = gauge(document.querySelector("#tide"));
const nowMinute = document.querySelector("#now-minute");
const nowWords = document.querySelector("#now-words");
const nowClosed = document.querySelector("#now-closed");
const signal = document.querySelector("#signal");

const counted = windows();
const drawChart = chart(document.querySelector("#chart"), document.querySelector("#chart-sum"));
const table = board(document.querySelector("#counts"), document.querySelector("#news"));
let shownMinute;
let waiting = false;

function draw() {
  if (waiting) return;
  waiting = true;
  // Counts come in bursts when a minute closes: one drawing for all of them.
  requestAnimationFrame(() => {
    waiting = false;
    drawChart(counted, shownMinute);
    table.draw(counted);
  });
}

everySecond((now) => {
  const start = windowStart(now);
  tide.rise((now - start) / WINDOW_MS);
  nowMinute.textContent = `${minute(start)} is open`;
  const seconds = Math.ceil((start + WINDOW_MS - now) / 1_000);
  nowWords.textContent = `An order placed now will be counted when its minute closes, in ${seconds} s.`;
  nowClosed.textContent = justClosed(now, start);
  if (start !== shownMinute) {
    shownMinute = start;
    draw();
  }
});

function justClosed(now, start) {
  const isWaiting = now - start < USUAL_WAIT_MS && !counted.has(start - WINDOW_MS);
  return isWaiting ? `${minute(start - WINDOW_MS)} has just closed; stragglers are waited for.` : "";
}

follow({
  onCount(count) {
    counted.add(count);
    draw();
  },
  onState(state) {
    signal.textContent = SIGNALS[state];
    signal.dataset.state = state;
    table.ready(state !== "away");
  },
});

list("/users", 300)
  .then((users) => table.meet(users))
  .catch(() => {
    // The board shows numbers in place of names, which is all it can do.
  })
  .finally(draw);
