#!/usr/bin/env python3
"""An executable model of the sink: side outputs, key groups, publishers and splits, under kills and zombies.

It models decisions, not speed. Random logs are read with random interleavings; the job is killed at random points, goes on with
another number of workers, and zombies of earlier attempts go on writing. What was committed is compared with a plain recount.

    python3 side_outputs.py [schedules] [first seed]     prints what the schedules contained, or the first seed that broke a rule

Decisions of the model:
- A rejected or late record is published at once by the worker that reads its partition, in transactions of its own. The progress of
  these transactions *is* the decision: per partition (published, settled, late). A record below `settled` is settled for good. One
  below `published` is on its topic if it was rejected, or if its window ended by the horizon that `late` has for its offset. Whatever
  else a restart reads above its cut is decided anew.
- A manifest's cut names the side outputs below the cut that were not yet published.
- Progress of results is kept by key group, so that a transaction may hold any run of (pane, group) in order: a pane that does not fit
  one transaction takes several, and any number of workers may go on.
- Publisher 0 also keeps how many publishers the job ever had. It is opened first, and the number is committed before any other
  publisher is opened; so a start fences all earlier holders, however many workers there were.
"""
import random
import sys
from collections import Counter, defaultdict

PANE, DISORDER, LATENESS, GROUPS = 10, 7, 20, 5
MISTAKE = None                                            # a rule to be broken, to see the check fail


def pane_of(t):
    return t // PANE * PANE


class Fenced(Exception):
    pass


class Log:
    """Partitions of (event time, key); a key of None is a record that cannot be decoded. `end` grows while the job runs."""

    def __init__(self, rnd):
        self.parts = []
        bad, late_share = rnd.choice((0.03, 0.3, 0.9)), rnd.choice((0.1, 0.5, 0.9))
        for _ in range(rnd.randint(1, 4)):
            t, part = rnd.randint(0, 30), []
            for _ in range(rnd.randint(0, 70)):
                t += rnd.choice((0, 0, 1, 2, 9))
                late = rnd.choice((0, 3, 7, 15, 25, 35, 45, 90)) if rnd.random() < late_share else 0
                part.append((max(0, t - late), None if rnd.random() < bad else rnd.randint(0, 9)))
            self.parts.append(part)
        self.end = [0] * len(self.parts)

    def go_on(self, rnd):
        p = rnd.randrange(len(self.parts))
        self.end[p] = min(len(self.parts[p]), self.end[p] + rnd.choice((0, 0, 1, 4)))

    def whole(self):
        return all(end == len(part) for end, part in zip(self.end, self.parts))


class Store:
    def __init__(self):
        self.claims, self.manifests = 0, {}

    def claim(self):
        self.claims += 1
        return self.claims

    def create_manifest(self, attempt, manifest):
        assert (attempt, manifest["boundary"]) not in self.manifests
        self.manifests[attempt, manifest["boundary"]] = manifest

    def newest(self):
        return self.manifests[max(self.manifests)] if self.manifests else None


class Sink:
    """Kafka with transactions: rows and progress of a publisher are committed together; earlier holders of its id are fenced."""

    def __init__(self):
        self.rows, self.progress, self.epoch = [], {}, Counter()

    def open(self, id):
        self.epoch[id] += 1
        return self.epoch[id], self.progress.get(id)

    def commit(self, id, epoch, rows, progress):
        if epoch < self.epoch[id]:
            raise Fenced
        self.rows += rows
        self.progress[id] = progress


def horizon_at(late, offset):
    """The horizon that a list of (from offset, horizon) has for an offset; 0 before the first."""
    found = 0
    for at, horizon in late:
        if at <= offset:
            found = horizon
    return found


def is_published(side, offset, window_end):
    """`window_end` is 0 for a record that was rejected."""
    if side is None:
        return False
    _, published, settled, late = side
    return offset < settled or offset < published and window_end <= horizon_at(late, offset)


def merged_late(restored, restored_until, own, own_until):
    """Merges two lists into the greater horizon at each offset. Each list counts below its own end only."""
    points = sorted({at for at, _ in restored} | {at for at, _ in own} | {own_until, restored_until, 0})
    merged = []
    for at in points:
        horizon = max(horizon_at(restored, at) if at < restored_until else 0, horizon_at(own, at) if at < own_until else 0)
        if not merged or merged[-1][1] != horizon:
            merged.append((at, horizon))
    return merged


def merge(states):
    """Merges the states of publishers: by group the greatest boundary, by partition the side of the latest attempt."""
    groups, sides = [0] * GROUPS, {}
    for state in states:
        groups = [max(pair) for pair in zip(groups, state["groups"])]
        for p, side in state["sides"].items():
            if p not in sides or side[0] >= sides[p][0]:
                sides[p] = side
    return {"publishers": max([state["publishers"] for state in states], default=0), "groups": groups, "sides": sides}


class Worker:
    def __init__(self, index, partitions, groups, log, start, progress, attempt):
        self.index, self.groups, self.log, self.attempt = index, groups, log, attempt
        self.boundary0 = self.cap = start["boundary"]
        self.cut0 = {p: start["cut"].get(p, 0) for p in partitions}
        self.pending0 = {p: start["pending"].get(p, (self.cut0[p], [])) for p in partitions}
        self.next = {p: start["resume"].get(p, 0) for p in partitions}
        self.mark = dict.fromkeys(partitions, 0)
        self.entries, self.crossings = [], []
        self.restored = {p: progress["sides"].get(p) for p in partitions}
        self.state = {"publishers": progress["publishers"], "groups": list(progress["groups"]), "sides": dict(progress["sides"])}
        self.queue = {p: [] for p in partitions}          # side outputs in the order of their offsets: (kind, offset, horizon)
        self.own_late = {p: [] for p in partitions}
        self.own_until = dict.fromkeys(partitions, 0)
        self.floor = dict.fromkeys(partitions, 0)

    def read(self, p):
        offset = self.next[p]
        time, key = self.log.parts[p][offset]
        self.next[p] += 1
        pane, below = pane_of(time), offset < self.cut0[p]
        end = 0 if key is None else pane + PANE
        if key is not None:
            self.mark[p] = max(self.mark[p], time - DISORDER)
        published = is_published(self.restored[p], offset, end)
        if MISTAKE == "late forgets progress" and key is not None:
            published = False
        if MISTAKE == "horizon ignored" and self.restored[p]:
            published = offset < self.restored[p][1]
        first, listed = self.pending0[p]
        if key is None:
            if not published and (not below or offset >= first):
                self.queue[p].append(("rejected", offset, 0))
            return
        if below and pane < self.boundary0:
            if offset in listed and not published:
                self.queue[p].append(("late", offset, end))   # decided before the cut: by its own window's end
            return
        if published:
            return                                        # an earlier attempt has published it as late: that was the decision
        if pane >= self.cap:
            self.entries.append((pane, pane, key, p, offset))
        elif end + LATENESS > self.cap:
            self.entries.append((self.cap, pane, key, p, offset))
        else:
            self.queue[p].append(("late", offset, self.cap - LATENESS))

    def publish_side(self, sink, rnd):
        """One transaction of side outputs of any partitions of the worker."""
        rows = []
        for p, waiting in self.queue.items():
            taken, self.queue[p] = waiting[:rnd.randint(0, 5)], None
            self.queue[p] = waiting[len(taken):]
            for kind, offset, horizon in taken:
                rows.append((kind, p, offset))
                last = self.own_late[p][-1][1] if self.own_late[p] else 0
                if kind == "late" and horizon > last:
                    self.own_late[p].append((offset, horizon))
                self.own_until[p] = offset + 1
            if taken:
                self.state["sides"][p] = self.side(p)
        if rows:
            sink.commit(self.index, self.epoch, rows, self.copy())

    def side(self, p):
        restored = self.restored[p] or (0, 0, 0, [])
        late = merged_late(restored[3], restored[1], self.own_late[p], self.own_until[p])
        settled = max(restored[2], self.floor[p])
        if MISTAKE == "merge forgets restored":
            late = self.own_late[p][:]
        return self.attempt, max(restored[1], self.own_until[p]), settled, late

    def copy(self):
        return {"publishers": self.state["publishers"], "groups": list(self.state["groups"]), "sides": dict(self.state["sides"])}

    def advance(self, to=None):
        if any(self.next[p] < self.cut0[p] for p in self.next):
            return
        to = pane_of(min(self.mark.values())) if to is None and self.mark else to
        if to is not None and to > self.cap:
            pending = {}
            for p, waiting in self.queue.items():
                listed = [offset for kind, offset, _ in waiting if kind == "late"]
                pending[p] = min([offset for _, offset, _ in waiting], default=self.next[p]), listed
            if MISTAKE == "nothing pending":
                pending = {p: (self.next[p], []) for p in self.queue}
            self.crossings.append((self.cap, to, dict(self.next), pending))
            self.cap = to

    def cut(self, boundary):
        if not self.next:
            return {}, {}, {}
        positions, pending = next((pos, pend) for frm, to, pos, pend in self.crossings if frm < boundary <= to)
        resume = {p: min(at, pending[p][0]) for p, at in positions.items()}
        for arrival, _, _, p, offset in self.entries:
            if arrival >= boundary and offset < positions[p]:
                resume[p] = min(resume[p], offset)
        return dict(positions), resume, pending

    def settle(self, committed):
        """Raises the floors to the offsets at which a restart at a committed boundary resumes: nothing below is read again."""
        for _, to, positions, _ in self.crossings:
            if to <= committed:
                resume = positions if MISTAKE == "settled by cut" else self.cut(to)[1]
                for p, at in resume.items():
                    self.floor[p] = max(self.floor[p], at)


def rows_of(parts, since, boundary, group):
    arrivals, counts = defaultdict(set), defaultdict(int)
    for arrival, target, key, _, _ in parts:
        if key % GROUPS == group:
            arrivals[target, key].add(arrival)
            counts[target, key] += 1
    return [("count", w, k, len(a) - 1, counts[w, k]) for (w, k), a in arrivals.items() if max(a) >= since and w + PANE <= boundary]


class Job:
    def __init__(self, log, store, sink, workers, rnd):
        self.log, self.store, self.sink, self.count, self.rnd = log, store, sink, workers, rnd
        self.is_finished = False

    def steps(self):
        """One step after another; the caller may stop between any two."""
        try:
            yield from self.live()
        except Fenced:
            return

    def begin(self):
        self.attempt = self.store.claim()
        yield
        epoch, found = self.sink.open(0)                  # the registry first
        known = found["publishers"] if found else 0
        states, epochs = [found] if found else [], {0: epoch}
        publishers = max(known, self.count)
        if MISTAKE == "no registry":
            publishers = self.count
        if publishers > known:
            yield
            state = merge(states)
            state["publishers"] = publishers
            self.sink.commit(0, epoch, [], state)
        for id in range(1, publishers):
            yield
            epochs[id], found = self.sink.open(id)
            states += [found] if found else []
        yield
        if self.store.claims > self.attempt:
            raise Fenced                                  # a later attempt was claimed meanwhile: this one is the zombie
        progress = merge(states)
        progress["publishers"] = publishers
        self.start = self.store.newest() or {"boundary": 0, "cut": {}, "resume": {}, "pending": {}, "parts": []}
        self.parts, self.done = list(self.start["parts"]), self.start["boundary"]
        yield
        self.store.create_manifest(self.attempt, self.start)
        owned = defaultdict(list)
        for p in range(len(self.log.parts)):
            if self.log.parts[p]:
                owned[p % self.count].append(p)
        groups = lambda w: [g for g in range(GROUPS) if g % self.count == w]
        self.workers = [Worker(w, owned[w], groups(w), self.log, self.start, progress, self.attempt) for w in range(self.count)]
        for w in self.workers:
            w.epoch = epochs[w.index]

    def live(self):
        yield from self.begin()
        yield
        rnd = self.rnd
        while True:
            self.log.go_on(rnd)
            w = rnd.choice(self.workers)
            readable = [p for p in w.next if w.next[p] < self.log.end[p]]
            if readable and rnd.random() < 0.8:
                w.read(rnd.choice(readable))
            if rnd.random() < 0.3:
                w.advance()
            if rnd.random() < 0.2:
                w.publish_side(self.sink, rnd)
            yield
            yield from self.checkpoint()
            read = all(w.next[p] == self.log.end[p] for w in self.workers for p in w.next)
            if read and self.log.whole() and rnd.random() < 0.2:
                for w in self.workers:
                    w.advance(10_000)
                yield from self.checkpoint(force=True)
                for w in self.workers:
                    while any(w.queue.values()):
                        w.publish_side(self.sink, rnd)
                        yield
                self.is_finished = True
                return

    def checkpoint(self, force=False):
        owners = [w for w in self.workers if w.next]
        boundary = min((w.cap for w in owners), default=10_000)
        rnd = self.rnd
        if boundary > self.done and (force or rnd.random() < 0.5):
            cut, resume, pending, fresh = {}, {}, {}, []
            for w in owners:
                c, r, q = w.cut(boundary)
                cut.update(c), resume.update(r), pending.update(q)
                fresh += [e for e in w.entries if self.done <= e[0] < boundary]
            yield
            parts = self.parts + fresh
            manifest = {"boundary": boundary, "cut": cut, "resume": resume, "pending": pending, "parts": parts}
            self.store.create_manifest(self.attempt, manifest)
            self.parts, self.done = parts, boundary
            yield
        for w in self.workers:
            owing = [g for g in w.groups if w.state["groups"][g] < self.done]
            while owing and (force or rnd.random() < 0.7):
                taken, rows = owing[:rnd.randint(1, 3)], []  # a batch may be split between groups
                for g in taken:
                    rows += rows_of(self.parts, w.state["groups"][g], self.done, g)
                    w.state["groups"][g] = self.done
                if MISTAKE == "split claims all":
                    for g in owing:
                        w.state["groups"][g] = self.done
                self.sink.commit(w.index, w.epoch, rows, w.copy())
                owing = owing[len(taken):]
                yield
        committed = min((b for w in self.workers for g, b in enumerate(w.state["groups"]) if g in w.groups), default=0)
        for w in self.workers:
            w.settle(min(committed, self.done))


def run(seed):
    rnd = random.Random(seed)
    log, store, sink = Log(rnd), Store(), Sink()
    zombies, kills, finished = [], 0, False
    while not finished:
        job = Job(log, store, sink, rnd.randint(1, 6), rnd)
        steps = job.steps()
        life = rnd.randint(1, 150) if kills < 10 else 10**9
        for _ in range(life):
            if next(steps, "end") == "end":
                finished = job.is_finished
                break
            if zombies and life < 10**9 and rnd.random() < 0.1:
                next(rnd.choice(zombies), None)
        if not finished:
            kills += 1
            if rnd.random() < 0.5:
                zombies.append(steps)
    check(log, sink.rows, seed)
    return Counter((r[0] if r[0] != "count" or r[3] == 0 else "corrected" for r in sink.rows), kills=kills)


def check(log, rows, seed):
    assert len(rows) == len(set(rows)), (seed, "a row was committed twice")
    keyed = [r[:4] for r in rows if r[0] == "count"]
    assert len(keyed) == len(set(keyed)), (seed, "a revision was committed twice with different counts")
    sides = [(p, o) for _, p, o in (r for r in rows if r[0] != "count")]
    assert len(sides) == len(set(sides)), (seed, "a record is on two topics")
    side = {(p, o): kind for kind, p, o in (r for r in rows if r[0] != "count")}
    want = defaultdict(int)
    for p, part in enumerate(log.parts):
        for o, (time, key) in enumerate(part):
            assert (key is None) == (side.get((p, o)) == "rejected"), (seed, "rejected", p, o)
            if key is not None and (p, o) not in side:
                want[pane_of(time), key] += 1
    got = {}
    for _, window, key, _, count in sorted(r for r in rows if r[0] == "count"):
        got[window, key] = count
    assert got == dict(want), (seed, {k: (got.get(k), want.get(k)) for k in set(got) | set(want) if got.get(k) != want.get(k)})


if __name__ == "__main__":
    n, first = int(sys.argv[1]) if len(sys.argv) > 1 else 2000, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    MISTAKE = sys.argv[3] if len(sys.argv) > 3 else None
    seen = sum((run(seed) for seed in range(first, first + n)), Counter())
    print(f"{n} schedules held:", ", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
