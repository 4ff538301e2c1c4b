// The platform's time and its minutes. The customer's own clock may be wrong; the Date of each answer corrects it.

/** The length of a window. */
export const WINDOW_MS = 60_000;

// Date has whole seconds, so a lag below this is no proof of a wrong clock.
const GRAIN_MS = 1_500;

let ahead = 0;

/** Corrects the clock by an answer's Date header. */
export function observe(date) {
  const lag = Date.parse(date ?? "") - Date.now();
  if (Number.isFinite(lag)) ahead = Math.abs(lag) < GRAIN_MS ? 0 : lag;
}

/** Now, in milliseconds, by the platform's clock. */
export function now() {
  return Date.now() + ahead;
}

/** The first instant of the window that `at` falls into. */
export function windowStart(at) {
  return at - (at % WINDOW_MS);
}

/** Runs `tick` now and with every second; returns a function that stops it. */
export function everySecond(tick) {
  let timer;
  const beat = () => {
    tick(now());
    timer = setTimeout(beat, 1_000 - (now() % 1_000) + 10);
  };
  beat();
  return () => clearTimeout(timer);
}
