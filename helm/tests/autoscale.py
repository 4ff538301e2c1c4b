#!/usr/bin/env python3
"""Simulates the load test's profile for the autoscalers and records their decisions; see autoscale.sh.

  autoscale.py COSTS.json USAGE.json OUT [full|quick]

COSTS.json has the measured CPU time of an iteration and the memory of a process, by service (costs.sh). The metrics API reads
USAGE.json. A user of the load test is too little load for ten pods. So each user stands for the number of iterations a second that
brings the service to its maximum in the spike; the first lines of the output print it. OUT.csv gets users, requests and pods every
five seconds, OUT.svg the plot.
"""
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "cluster"))
import api

# The seconds of each part, and the number of users at its end. bench/k6/shop.js has the same for `full`.
PROFILES = {"full": [(30, 10), (120, 100), (300, 100), (0, 200), (60, 200), (60, 10)],
            "quick": [(15, 10), (45, 100), (60, 100), (0, 200), (60, 200), (30, 10)]}
BOUNDS = {"gateway": (2, 10), "orders": (2, 8)}
REQUEST_M, TARGET, WINDOW_S, SYNC_S = 200, 0.7, 300, 15
REQUESTS_PER_ITERATION = 3
# A tenth more load than the greatest number of pods is for, because the autoscaler tolerates a tenth.
BEYOND = 1.1


def users_at(second, profile):
    """Returns the number of users, with the ramps of k6; none after the end."""
    at, users = 0, 10
    for length, target in profile:
        if second < at + length:
            return users + (target - users) * (second - at) / length
        at, users = at + length, target
    return 0


def paces(costs):
    """Returns the iterations a second that a user stands for, by service."""
    spike = max(users for _, users in PROFILES["full"])
    return {name: BEYOND * most * REQUEST_M * TARGET * 1000 / (spike * costs[name]["cpu_us_per_iteration"]) for name, (_, most) in BOUNDS.items()}


def pods():
    """Returns the number of ready pods, by service."""
    rollouts = api.call("/apis/argoproj.io/v1alpha1/namespaces/tidemark/rollouts")["items"]
    return {each["metadata"]["name"]: each.get("status", {}).get("readyReplicas", 0) for each in rollouts if each["metadata"]["name"] in BOUNDS}


def use(path, users, costs, pace):
    """Sets the usage of the services in the metrics API. All are set at once, because the API is read at any time."""
    usage = {name: {"cpu_m": users * pace[name] * costs[name]["cpu_us_per_iteration"] / 1000, "memory_mib": costs[name]["memory_mib"]} for name in BOUNDS}
    partial = pathlib.Path(f"{path}.new")
    partial.write_text(json.dumps(usage))
    partial.rename(path)


def play(costs, usage_file, profile):
    """Follows the profile until the pods are back at their least; yields a sample every five seconds."""
    pace, start, length = paces(costs), time.monotonic(), sum(seconds for seconds, _ in profile)
    while True:
        second = time.monotonic() - start
        users = users_at(second, profile)
        use(usage_file, users, costs, pace)
        now = pods()
        yield {"second": round(second), "users": round(users), "rps": round(users * pace["gateway"] * REQUESTS_PER_ITERATION), **now}
        back = all(now[name] == least for name, (least, _) in BOUNDS.items())
        if second > length + 20 and back or second > length + 2 * WINDOW_S:
            return
        time.sleep(5 - (time.monotonic() - start) % 5)


def judge(samples, profile):
    """Returns the results for each service as pairs: True if it is as expected, and a sentence."""
    length = sum(seconds for seconds, _ in profile)
    spike_end = length - profile[-1][0]
    spike_start = spike_end - profile[-2][0]
    for name, (least, most) in BOUNDS.items():
        counts = [sample[name] for sample in samples]
        changes = [(after["second"], after[name] - before[name]) for before, after in zip(samples, samples[1:])]
        rises, falls = ([second for second, change in changes if sign * change > 0] for sign in (1, -1))
        first = next((s["second"] for s in samples if s[name] == most), None)
        yield counts[0] == least and min(counts) == least, f"{name} began with {counts[0]} pods and never had fewer than {min(counts)}"
        yield max(counts) == most, f"{name} reached {max(counts)} of {most} pods" + (f", {first - spike_start} s after the spike's start" if first else "")
        waited = falls[0] - spike_end if falls else 0
        yield waited >= WINDOW_S - SYNC_S, f"{name} gave up its first pods {waited} s after the spike's end (window {WINDOW_S} s)"
        yield counts[-1] == least, f"{name} ended with {counts[-1]} pods, {samples[-1]['second'] - length} s after the load; {len(rises)} steps up, {len(falls)} down"


def curves(samples, row, label, names):
    """Returns a band of the plot: the label, the frame, and a line for each of the names over time."""
    width, height, left, colours = 900, 150, 60, ["#1f6f8b", "#c8553d"]
    last, top, most = samples[-1]["second"], 50 + row * 190, max(sample[name] for sample in samples for name in names)
    yield f'<text x="{left}" y="{top - 5}">{label}, at most {most:,}</text>'
    yield f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#ccd"/>'
    for name, colour, x in zip(names, colours, (left + width - 140, left + width - 50)):
        points = " ".join(f"{left + s['second'] / last * width:.0f},{top + height - s[name] / most * height:.0f}" for s in samples)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        if len(names) > 1:
            yield f'<text x="{x}" y="{top - 5}" fill="{colour}">{name}</text>'
    for minute in range(0, last // 60 + 1, 2):
        yield f'<text x="{left + minute * 60 / last * width:.0f}" y="{top + height + 14}" text-anchor="middle">{minute} min</text>'


def picture(samples, title):
    bands = [("users", ["users"]), ("requests a second", ["rps"]), ("ready pods", list(BOUNDS))]
    body = "\n".join(line for row, (label, names) in enumerate(bands) for line in curves(samples, row, label, names))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="620" font-family="sans-serif" font-size="12">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n<text x="60" y="20" font-weight="bold">{title}</text>\n{body}\n</svg>\n')


def keep(samples, out, title):
    out.parent.mkdir(exist_ok=True)
    out.with_suffix(".csv").write_text("\n".join(",".join(map(str, row)) for row in [list(samples[0]), *(s.values() for s in samples)]) + "\n")
    out.with_suffix(".svg").write_text(picture(samples, title))


def main():
    measured = json.loads(pathlib.Path(sys.argv[1]).read_text())
    costs, shape = measured["services"], sys.argv[4] if len(sys.argv) > 4 else "full"
    stands_for = ", ".join(f"{pace:.1f} iterations a second at {name}" for name, pace in paces(costs).items())
    print(f"costs: {measured['how']}\na user of the profile stands for {stands_for}", flush=True)
    samples = []
    for sample in play(costs, sys.argv[2], PROFILES[shape]):
        if not samples or any(sample[name] != samples[-1][name] for name in BOUNDS):
            print("  {second:4} s  {users:4} users  {rps:6} requests/s  gateway {gateway:2}  orders {orders:2}".format(**sample), flush=True)
        samples.append(sample)
    keep(samples, pathlib.Path(sys.argv[3]), f"The autoscalers under the load test's profile ({shape})")
    verdicts = list(judge(samples, PROFILES[shape]))
    for held, sentence in verdicts:
        print(f"{'ok      ' if held else 'FAILED  '}{sentence}")
    print(f"{sum(held for held, _ in verdicts)} passed, {sum(not held for held, _ in verdicts)} failed")
    sys.exit(0 if verdicts and all(held for held, _ in verdicts) else 1)


if __name__ == "__main__":
    main()
