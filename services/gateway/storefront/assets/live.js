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
import { windows, withSums } from "./windows.js";

const SIGNALS = { live: "Live", asking: "Updated every 5 s", away: "Reconnecting…" };
// The time after its end within which a minute is normally counted: the job's wait for late orders, and a little more.
const USUAL_WAIT_MS = 10_000;
const WINDOW_WORDS = "Orders per customer and session, or window of another length than a minute. Each is shown in the minute in which it began, once it is over.";

const tide = gauge(document.querySelector("#tide"));
const nowMinute = document.querySelector("#now-minute");
const nowWords = document.querySelector("#now-words");
const signal = document.querySelector("#signal");

let counted = windows();
// The public board. A customer's own board has no part of it.
let sums;
const drawChart = chart(document.querySelector("#chart"), document.querySelector("#chart-sum"));
const words = document.querySelector("#board-words");
const place = document.querySelector("#counts");
const table = board(place, document.querySelector("#news"));
let shownMinute;
let waiting = false;
let isLocked = false;
let isByMinute = true;

function draw() {
  if (waiting) return;
  waiting = true;
  // Counts come in bursts when a minute closes: one drawing for all of them.
  requestAnimationFrame(() => {
    waiting = false;
    const shown = sums ? withSums(counted, sums) : counted;
    isByMinute = shown.isByMinute();
    if (!isByMinute && !isLocked) words.textContent = WINDOW_WORDS;
    drawChart(shown, shownMinute);
    if (!isLocked) table.draw(shown);
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
  if (!isByMinute) return "An order placed now is counted when its session or window is over.";
  return `An order placed now is counted when its minute closes, in ${Math.ceil(left / 1_000)} s.`;
}

function justClosed(now, start) {
  const isWaiting = isByMinute && now - start < USUAL_WAIT_MS && !counted.has(start - WINDOW_MS);
  return isWaiting ? `${minute(start - WINDOW_MS)} has just closed and waits for late orders.` : "";
}

const open = await isOpen().catch(() => true);
// If callers must authenticate, an admin sees all counts, a customer sees their own, and others see sums without names.
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
  // The list of counts begins with the newest hundred, and the last minutes may have more.
  followPublic({
    onBoard(board) {
      sums = board;
      draw();
    },
  });
  list("/users", 300)
    .then((users) => table.meet(users))
    .catch(() => {
      // Without the names, the board shows the customers' numbers.
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
  const invitation = notice("Whose orders?", "Log in to see your own orders counted.", enter);
  place.replaceChildren(invitation);
  followPublic({
    onBoard(board) {
      counted = board;
      place.querySelector("table")?.remove();
      place.append(board.table());
      draw();
    },
    onState: showState,
  });
}
