#!/usr/bin/env python3
"""How event time goes on at the end of a partition: four rules tried on logs, readers and networks that misbehave.

A record has an append time (the broker's clock) and an event time (its producer's claim, at most DISORDER before the append in live traffic).
A reader polls. A poll that reaches the broker returns records and, if it reached the end, the confirmation that there were no more *as of the
moment at which the request was sent*. Windows are as fast as the slowest partition's claim; a record behind the claim is late.

  paced    (an earlier rule of the job) newest event + time since it was READ; an end counts until a poll finds a record behind it
  clock    at an end, the clock
  dated    at an end confirmed as of T: T - lag - skew, where lag = append - event of the newest event (the source's own delay), T moves only
           with answers that reached the broker, and skew bounds how far the reader's clock may be ahead of the broker's. A partition that
           was confirmed at its end for IDLE without a record has no lag any more.
  engine   (the rule of the job, src/watermark.rs) as dated, but an idle partition only ceases to hold back the others, up to the date of its
           end: it does not move event time by itself. If all are idle, the one with the least lag does, so that history with pauses stays history.

For each scenario and rule: records late, and how far event time stood behind the clock at worst once the backlog was read (stall).
Wanted: late 0 in all but the one marked, stall within a few times the disorder.
"""
import random, sys

DISORDER, SKEW, IDLE, POLL, MINUTE = 5_000, 2_000, 20_000, 100, 60_000

class Partition:
    def __init__(self, records): self.records = sorted(records)          # (append, event)

def live(start, end, every, rng, delay=DISORDER):                         # live traffic: events a little before their append
    t, out = start, []
    while t < end:
        out.append((t, t - rng.randrange(int(delay * 0.9)))); t += max(1, int(rng.expovariate(1 / every)))
    return out

def backfill(start, n, every, event0, step): return [(start + i * every, event0 + i * step) for i in range(n)]

class Reader:
    def __init__(self, rule, partitions, cut_off, skew):
        self.rule, self.ps, self.cut_off, self.skew = rule, partitions, cut_off, skew
        self.next = [0] * len(partitions); self.claim = [None] * len(partitions)
        self.newest = [None] * len(partitions)                             # (event, append, read at) of the newest event
        self.as_of = [None] * len(partitions); self.at_end = [False] * len(partitions); self.read_at = [None] * len(partitions)
        self.offset = SKEW                                                 # how far our clock may be ahead of the broker's: least of receive - append, at most SKEW
        self.late = 0; self.stall = 0; self.boundary = None; self.is_idle = [False] * len(partitions)

    def poll(self, now, batch=500):
        clock = now + self.skew                                            # our clock; appends carry the broker's
        for i, p in enumerate(self.ps):
            if any(a <= now < b for j, a, b in self.cut_off if j == i): continue     # no answer: nothing changes
            took = 0
            while self.next[i] < len(p.records) and p.records[self.next[i]][0] <= now and took < batch:
                append, event = p.records[self.next[i]]; self.next[i] += 1; took += 1
                self.offset = min(self.offset, clock - append)
                if self.boundary is not None and event < self.boundary: self.late += 1
                if self.newest[i] is None or event > self.newest[i][0]: self.newest[i] = (event, append, clock)
                self.read_at[i] = clock; self.is_idle[i] = False
            self.at_end[i] = self.next[i] == len(p.records) or p.records[self.next[i]][0] > now
            if self.at_end[i]: self.as_of[i] = clock
        claims = [self.claim_of(i, clock) for i in range(len(self.ps))]
        if self.rule == "engine": claims = self.together(claims)
        known = [c for c in claims if c != "empty"]
        if known and all(c is not None for c in known):
            boundary = min(known) // 1000 * 1000
            self.boundary = max(self.boundary or 0, boundary)
        return all(self.at_end)

    def together(self, claims):
        if any(c is None for c in claims): return [None]
        quiet = [c == "empty" or self.is_idle[i] for i, c in enumerate(claims)]
        bounds = [self.as_of[i] - max(self.offset, 0) - DISORDER for i, q in enumerate(quiet) if q]
        active = [c for c, q in zip(claims, quiet) if not q]; idle = [c for c, q in zip(claims, quiet) if q and c != "empty"]
        if not active and not idle: return []
        return [min([min(active) if active else max(idle)] + bounds)]

    def claim_of(self, i, clock):
        if self.newest[i] is None: return "empty" if self.as_of[i] is not None else None
        event, append, read = self.newest[i]; base = event - DISORDER
        if self.at_end[i]:
            if self.rule == "paced": base = max(base, event + (clock - read) - DISORDER)
            if self.rule == "clock": base = max(base, clock - DISORDER)
            if self.rule == "engine":
                self.is_idle[i] = self.as_of[i] - self.read_at[i] > IDLE
                base = max(base, self.as_of[i] - max(self.offset, 0) - max(0, append - event) - DISORDER)
            if self.rule == "dated":
                quiet = self.as_of[i] - self.read_at[i]
                lag = 0 if quiet > IDLE else max(0, append - event)
                base = max(base, self.as_of[i] - max(self.offset, 0) - lag - DISORDER)
        self.claim[i] = max(self.claim[i] or base, base); return self.claim[i]

def run(rule, make, seed):
    rng = random.Random(seed); partitions, start, end, cut_off, skew = make(rng)
    reader, caught_up = Reader(rule, partitions, cut_off, skew), None
    for now in range(start, end, POLL):
        if reader.poll(now) and caught_up is None: caught_up = now
        quiet_cut = any(a - 1000 <= now < b + 20_000 for _, a, b in cut_off)         # while cut off, waiting is right
        if caught_up is not None and now > caught_up + 2 * IDLE and not quiet_cut:
            reader.stall = max(reader.stall, now + skew - (reader.boundary or 0))
    return reader.late, reader.stall

T = 10_000_000
def quiet_since_an_hour(r): return [Partition(live(T - 3_600_000 - MINUTE, T - 3_600_000, 9_000, r)), Partition(live(T - 60_000, T + 600_000, 150, r))], T, T + 600_000, [], 0
def order_during_downtime(r): return [Partition(live(T - 300_000, T - 290_000, 2_000, r) + [(T - 30_000, T - 30_200)]), Partition(live(T - 300_000, T + 400_000, 150, r))], T, T + 400_000, [], 0
def broker_cut_off(r): return [Partition(live(T, T + 500_000, 150, r)), Partition(live(T, T + 500_000, 150, r))], T, T + 500_000, [(0, T + 60_000, T + 210_000)], 0
def clock_ahead(r): return [Partition(live(T, T + 400_000, 4_000, r)), Partition(live(T, T + 400_000, 150, r))], T, T + 400_000, [], 1_500
def clock_behind(r): return [Partition(live(T, T + 400_000, 4_000, r)), Partition(live(T, T + 400_000, 150, r))], T, T + 400_000, [], -1_500
def backfill_stays_history(r): return [Partition(backfill(T, 20_000, 20, T - 9_000_000, 300))], T, T + 500_000, [], 0
def backfill_then_quiet(r): return [Partition(backfill(T - 100_000, 2_000, 50, T - 9_000_000, 100)), Partition(live(T - 100_000, T + 500_000, 150, r))], T, T + 500_000, [], 0
def thin_topic(r): return [Partition(live(T, T + 900_000, 70_000, r)) for _ in range(4)], T, T + 900_000, [], 0

def history_with_pauses(r):
    records = [record for k in range(4) for record in backfill(T + k * 100_000, 100, 50, T - 9_000_000 + k * 130_000, 300)]
    return [Partition(records)], T, T + 400_000, [], 0

if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20; print(f"{'scenario':26}" + "".join(f"{rule:>26}" for rule in ("paced", "clock", "dated", "engine")))
    for make in (quiet_since_an_hour, order_during_downtime, broker_cut_off, clock_ahead, clock_behind, backfill_stays_history, backfill_then_quiet, thin_topic, history_with_pauses):
        cells = []
        for rule in ("paced", "clock", "dated", "engine"):
            got = [run(rule, make, s) for s in range(seeds)]
            cells.append(f"late {sum(g[0] for g in got):5} stall {max(g[1] for g in got) / 1000:6.1f}s")
        print(f"{make.__name__:26}" + "".join(f"{c:>26}" for c in cells))
