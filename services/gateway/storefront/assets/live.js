// The live board: the current minute, the chart and the table of counts.

import "./masthead.js";
import { askWho } from "./account.js";
import { isOpen, list } from "./api.js";
import { board } from "./board.js";
import { chart } from "./chart.js";
import { everySecond, WINDOW_MS, windowStart } from "./clock.js";
import { follow } from "./counts.js";
import { bearer, changes, customer } from "./customer.js";
import { button, notice } from "./dom.js";
import { minute } from "./format.js";
import { gauge } from "./gauge.js";
import { followPublic } from "./visitors.js";
import { windows } from "./windows.js";

const SIGNALS = { live: "Live", asking: "Asking every 5 s", away: "Reconnecting…" };
// The time after its end at which a minute is normally counted: the job's allowance for stragglers, and a little.
const USUAL_WAIT_MS = 10_000;

const tide = gauge(document.querySelector("#tide"));
const nowMinute = document.querySelector("#now-minute");
const nowWords = document.querySelector("#now-words");
const signal = document.querySelector("#signal");

let counted = windows();
const drawChart = chart(document.querySelector("#chart"), document.querySelector("#chart-sum"));
const words = document.querySelector("#board-words");
const place = document.querySelector("#counts");
const table = board(place, document.querySelector("#news"));
let shownMinute;
let waiting = false;
let isLocked = false;

function draw() {
  if (waiting) return;
  waiting = true;
  // Counts come in bursts when a minute closes: one drawing for all of them.
  requestAnimationFrame(() => {
    waiting = false;
    drawChart(counted, shownMinute);
    if (!isLocked) table.draw(counted);
  });
}

everySecond((now) => {
  const start = windowStart(now);
  tide.rise((now - start) / WINDOW_MS);
  nowMinute.textContent = `${minute(start)} is open`;
  nowWords.textContent = justClosed(now, start) || whenCounted(start + WINDOW_MS - now);
  if (start !== shownMinute) {
    shownMinute = start;
    draw();
  }
});

function whenCounted(left) {
  return `An order placed now is counted when its minute closes, in ${Math.ceil(left / 1_000)} s.`;
}

function justClosed(now, start) {
  const isWaiting = now - start < USUAL_WAIT_MS && !counted.has(start - WINDOW_MS);
  return isWaiting ? `${minute(start - WINDOW_MS)} has just closed; late orders are waited for.` : "";
}

const open = await isOpen().catch(() => true);
// Where callers must authenticate, an admin sees all counts, a customer only the own ones, and others sums without names.
if (open || bearer()?.isAdmin) watch();
else if (customer()) watchOwn(customer());
else lock();
if (!open) changes.addEventListener("customer", () => location.reload());

function watch(user) {
  follow({
    user,
    onCount(count) {
      counted.add(count);
      draw();
    },
    onState(state) {
      showState(state);
      table.ready(state !== "away");
    },
  });
  if (user) return draw();
  list("/users", 300)
    .then((users) => table.meet(users))
    .catch(() => {
      // The board shows numbers in place of names, which is all it can do.
    })
    .finally(draw);
}

function showState(state) {
  signal.textContent = SIGNALS[state];
  signal.dataset.state = state;
}

function watchOwn(user) {
  words.textContent = "Your orders by the minute. A minute is counted once, when it closes; an order that arrives late corrects it.";
  table.meet([user]);
  watch(user.id);
}

function lock() {
  isLocked = true;
  words.textContent = "Orders of all customers, by the minute.";
  const enter = button("Log in or sign up", askWho, "quiet");
  const invitation = notice("Whose orders?", "Here each customer sees the own orders counted. Log in to see yours.", enter);
  place.replaceChildren(invitation);
  followPublic({
    onBoard(sums) {
      counted = sums;
      place.querySelector("table")?.remove();
      place.append(sums.table());
      draw();
    },
    onState: showState,
  });
}
