// The live counts: what is there already, then what comes, by server-sent events; where these fail, by asking again.

import { call } from "./api.js";

const ASK_AGAIN_MS = 5_000;
const TRY_STREAM_AGAIN_MS = 30_000;
// Enough for a board, little enough for a phone.
const PAST = "/analytics/recent?limit=100";

/**
 * Follows the counts until the function it returns is called. `onCount` gets each record, a later revision after an
 * earlier one; `onState` gets "live", "asking" or "away".
 */
export function follow({ onCount, onState = () => {} }) {
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
    for (const count of (await call(PAST)).items) take(count);
  };

  const ask = async (until) => {
    if (ended) return;
    try {
      await catchUp();
      onState("asking");
    } catch {
      onState("away");
    }
    if (ended) return;
    timer = setTimeout(() => (Date.now() < until ? ask(until) : listen()), ASK_AGAIN_MS);
  };

  const listen = () => {
    source = new EventSource("/api/analytics/stream");
    source.onopen = () => {
      // What came between the last look and now.
      catchUp().then(
        () => onState("live"),
        () => onState("away"),
      );
    };
    source.onmessage = heard;
    source.addEventListener("count", heard);
    source.onerror = () => {
      if (source.readyState === EventSource.CONNECTING) return onState("away");
      ask(Date.now() + TRY_STREAM_AGAIN_MS);
    };
  };

  const heard = ({ data }) => {
    const count = JSON.parse(data);
    if (count.user_id != null && count.window_start) take(count);
  };

  listen();
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}
