// The live counts: the stored ones, then new ones by server-sent events, or by polling if those fail.
// A browser's EventSource cannot send a token, so the counts are polled if callers must authenticate.

import { call, isOpen } from "./api.js";

const ASK_AGAIN_MS = 5_000;
const TRY_STREAM_AGAIN_MS = 30_000;
// Enough for a board, little enough for a phone.
const PAST = 100;

/**
 * Follows the counts, all or one user's, until the function that it returns is called. `onCount` receives each count, a later
 * revision after an earlier one; `onState` receives "live", "asking" or "away".
 */
export function follow({ user, onCount, onState = () => {} }) {
  const past = user ? `/analytics/users/${user}?limit=${PAST}` : `/analytics/recent?limit=${PAST}`;
  const stream = user ? `/api/analytics/stream?user_id=${user}` : "/api/analytics/stream";
  const latest = new Map();
  let source;
  let timer;
  let ended = false;

  const take = (count) => {
    const key = `${count.window_start}|${count.user_id}`;
    if (ended || (latest.get(key) ?? -1) >= count.revision) return;
    latest.set(key, count.revision);
    onCount(count);
  };

  const catchUp = async () => {
    for (const count of (await call(past)).items) take(count);
  };

  const ask = async (until) => {
    if (ended) return;
    try {
      await catchUp();
      onState("asking");
    } catch (problem) {
      onState("away");
      if (problem.status === 401) return;
    }
    if (ended) return;
    timer = setTimeout(() => (Date.now() < until ? ask(until) : listen()), ASK_AGAIN_MS);
  };

  const listen = () => {
    source = new EventSource(stream);
    source.onopen = look;
    source.addEventListener("count", ({ data }) => take(JSON.parse(data)));
    source.addEventListener("reset", look);
    source.onerror = () => {
      if (source.readyState === EventSource.CONNECTING) return onState("away");
      ask(Date.now() + TRY_STREAM_AGAIN_MS);
    };
  };

  // The stream has new counts; earlier and missed ones are in the list.
  const look = () =>
    catchUp().then(
      () => onState("live"),
      () => onState("away"),
    );

  // If this cannot be determined, a try does no harm.
  isOpen()
    .catch(() => true)
    .then((open) => !ended && (open ? listen() : ask(Infinity)));
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}
