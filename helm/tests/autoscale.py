#!/usr/bin/env python3
"""Plays the load test's profile to the autoscalers and writes down what they do.

  autoscale.py COSTS.json USAGE.json OUT [full|quick]

COSTS.json has what was measured of our services (autoscale.sh says how): CPU per iteration of a user and memory of a
process. OUT.csv gets users, requests and replicas every five seconds, OUT.svg the picture of it. Ends with 1 when a service
did not reach its most, or did not come back to its least, or came back before its window was over.
"""
import json
import math
import pathlib
import subprocess
import sys
import time

PROFILES = {"full": [(30, 10), (120, 100), (300, 100), (0, 200), (60, 200), (60, 10)],
            "quick": [(5, 10), (13, 100), (22, 100), (0, 200), (10, 200), (10, 10)]}
BOUNDS = {"gateway": (2, 10), "orders": (2, 8)}
REQUEST_M, TARGET, WINDOW_S = 200, 0.7, 300
# A user of the load test begins an iteration a second, of 3.1 requests: see bench/k6/shop.js.
REQUESTS_PER_ITERATION = 3.1


def users_at(second, profile):
    """How many users there are, as k6 ramps them."""
    at, users = 0, 10
    for length, target in profile:
        if second < at + length:
            return users + (target - users) * (second - at) / length
        at, users = at + length, target
    return users


def replicas():
    columns = "jsonpath={range .items[*]}{.metadata.name} {.spec.replicas} {.status.readyReplicas}{'\\n'}{end}"
    text = subprocess.run(["kubectl", "-n", "tidemark", "get", "deployment", *BOUNDS, "-o", columns], capture_output=True, text=True).stdout
    return {name: int(wanted) for name, wanted, *_ in (line.split() for line in text.splitlines())}


def crowd(costs):
    """How many people one user of the profile stands for: as many as bring the gateway to its most at the spike."""
    most = BOUNDS["gateway"][1]
    return math.ceil(1.1 * most * REQUEST_M * TARGET / (200 * costs["gateway"]["cpu_us_per_iteration"] / 1000))


def play(costs, usage_file, profile, shape_seconds):
    """Follows the profile until the replicas are back at their least; yields a sample every five seconds."""
    people, start = crowd(costs), time.monotonic()
    while True:
        second = time.monotonic() - start
        users = users_at(second, profile)
        usage = {
            name: {"cpu_m": users * people * cost["cpu_us_per_iteration"] / 1000, "memory_mib": cost["memory_mib"]}
            for name, cost in costs.items()
        }
        partial = pathlib.Path(f"{usage_file}.new")
        partial.write_text(json.dumps(usage))
        partial.rename(usage_file)
        now = replicas()
        yield {"second": round(second), "users": round(users), "rps": round(users * people * REQUESTS_PER_ITERATION), **now}
        back = all(now[name] == least for name, (least, _) in BOUNDS.items())
        if second > shape_seconds + 20 and back or second > shape_seconds + 900:
            return
        time.sleep(5 - time.monotonic() % 5)


def judge(samples, profile):
    """Sentences about each service: (whether it is as it must be, the sentence)."""
    shape_seconds = sum(length for length, _ in profile)
    spike_end = shape_seconds - profile[-1][0]
    for name, (least, most) in BOUNDS.items():
        counts = [sample[name] for sample in samples]
        peak = counts.index(max(counts))
        rises = [samples[i]["second"] for i in range(1, len(samples)) if counts[i] > counts[i - 1]]
        falls = [samples[i]["second"] for i in range(1, len(samples)) if counts[i] < counts[i - 1]]
        yield max(counts) == most, f"{name} reached {max(counts)} of {most} pods {samples[peak]['second']} s after the start"
        yield min(counts) >= least and counts[-1] == least, f"{name} ended with {counts[-1]} pods, {samples[-1]['second'] - shape_seconds} s after the load"
        waited = falls[0] - spike_end if falls else 0
        yield falls != [] and waited >= WINDOW_S - 15, f"{name} gave up its first pod {waited} s after the spike's end (window {WINDOW_S} s); it rose in {len(rises)} steps, fell in {len(falls)}"


def picture(samples, title):
    """Three curves over time, each in a band of its own."""
    width, height, left = 900, 150, 60
    last = samples[-1]["second"]
    bands = [("users", ["users"]), ("requests a second", ["rps"]), ("pods", list(BOUNDS))]
    colours = ["#1f6f8b", "#c8553d"]
    parts = [f'<text x="{left}" y="18" font-weight="bold">{title}</text>']
    for row, (label, names) in enumerate(bands):
        top, most = 40 + row * (height + 40), max(sample[name] for sample in samples for name in names)
        parts.append(f'<text x="{left}" y="{top - 5}">{label}, at most {most}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#ccd"/>')
        for i, name in enumerate(names):
            points = " ".join(f"{left + s['second'] / last * width:.1f},{top + height - s[name] / most * height:.1f}" for s in samples)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colours[i]}" stroke-width="2"/>')
            if len(names) > 1:
                parts.append(f'<text x="{left + width - 160 + 80 * i}" y="{top - 5}" fill="{colours[i]}">{name}</text>')
        for minute in range(0, last // 60 + 1, 2):
            x = left + minute * 60 / last * width
            parts.append(f'<text x="{x:.0f}" y="{top + height + 14}" text-anchor="middle">{minute} min</text>')
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="{40 + 3 * (height + 40)}" font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'


def main():
    costs = json.loads(pathlib.Path(sys.argv[1]).read_text())["services"]
    shape = sys.argv[4] if len(sys.argv) > 4 else "full"
    profile = PROFILES[shape]
    shape_seconds = sum(length for length, _ in profile)
    people = crowd(costs)
    print(f"one user of the profile stands for {people} people: our services need that many before they need ten pods")
    samples = []
    for sample in play(costs, sys.argv[2], profile, shape_seconds):
        if not samples or any(sample[name] != samples[-1][name] for name in BOUNDS):
            print("  {second:4} s  {users:4} users  {rps:7} requests/s  gateway {gateway:2}  orders {orders:2}".format(**sample), flush=True)
        samples.append(sample)
    out = pathlib.Path(sys.argv[3])
    out.with_suffix(".csv").write_text("\n".join(",".join(map(str, row)) for row in [list(samples[0]), *(list(s.values()) for s in samples)]) + "\n")
    out.with_suffix(".svg").write_text(picture(samples, f"Autoscalers under the load test's profile ({shape}), one user standing for {people} people"))
    verdicts = list(judge(samples, profile))
    for held, sentence in verdicts:
        print(f"{'ok      ' if held else 'FAILED  '}{sentence}")
    print(f"{sum(held for held, _ in verdicts)} passed, {sum(not held for held, _ in verdicts)} failed")
    sys.exit(0 if all(held for held, _ in verdicts) else 1)


if __name__ == "__main__":
    main()
