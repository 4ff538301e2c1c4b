// The shop's page: the current minute and the catalogue.

import "./masthead.js";
import { catalogue } from "./catalogue.js";
import { everySecond, WINDOW_MS, windowStart } from "./clock.js";
import { minute } from "./format.js";
import { gauge } from "./gauge.js";

const tide = gauge(document.querySelector("#tide"));
const name = document.querySelector("#tide-minute");
const left = document.querySelector("#tide-left");

everySecond((now) => {
  const start = windowStart(now);
  tide.rise((now - start) / WINDOW_MS);
  name.textContent = `The minute ${minute(start)}`;
  left.textContent = `closes in ${Math.ceil((start + WINDOW_MS - now) / 1_000)} s`;
});

catalogue();
