"""Runs the chart's pods as plain processes; see pods.sh.

  pods.py describe rendered.yaml …      prints the program of each Deployment, as JSON
  pods.py run PROGRAM < that            runs each as its pod would
"""
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

# Variables that name a store, which is not available here. Without them the program uses the embedded one.
STORES = {"TIDEMARK_MYSQL", "TIDEMARK_BROKERS", "TIDEMARK_DYNAMODB", "TIDEMARK_PROPERTIES", "TIDEMARK_OBJECTS", "TIDEMARK_CHECKPOINTS"}


# Settings without which services refuse to start. Any value will do here.
SECRETS = {"TIDEMARK_SERVICE_SECRET": "a secret of these pods and no others"}


def describe(paths):
    import documents

    pods = []
    for path in paths:
        manifests = documents.read(path)
        settings = {d["metadata"]["name"]: d["data"] for d in manifests if d["kind"] == "ConfigMap"}
        given = {d["metadata"]["name"]: d["spec"]["target"]["template"]["data"] for d in manifests if d["kind"] == "ExternalSecret"}
        for workload in (d for d in manifests if d["kind"] in ("Job", "Deployment", "StatefulSet")):
            name, spec = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
            container = spec["containers"][0]
            environment = settings.get(name) or {entry["name"]: entry["value"] for entry in container["env"]}
            environment = environment | {key: value for key, value in SECRETS.items() if key in given.get(name, {})}
            pods.append({
                "name": f"{workload['kind']} {name}", "args": container["args"], "user": spec["securityContext"]["runAsUser"],
                "environment": {key: value for key, value in environment.items() if key not in STORES},
                "limit": container["resources"]["limits"]["memory"],
            } | (server(spec, container) if workload["kind"] != "Job" else {}))
    return pods


def server(spec, container):
    """Returns the description of a pod that serves."""
    probe = container["startupProbe"]
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return {
        "port": container["ports"][0]["containerPort"], "ends_within": spec["terminationGracePeriodSeconds"] - pause,
        "starts_within": probe["periodSeconds"] * probe["failureThreshold"],
    }


def answers(port, path):
    """Returns the status of a probe, or None."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(port, path, process, seconds):
    """Returns the seconds until the probe succeeds, or None."""
    start = time.monotonic()
    while time.monotonic() - start < seconds and process.poll() is None:
        if answers(port, path) == 200:
            return time.monotonic() - start
        time.sleep(0.05)
    return None


def resident_mib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def run(program, pod):
    """Runs a pod's program. Returns True if all was as expected, and a sentence."""
    user = str(pod["user"])
    confined = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*confined, program, *pod["args"]], env=pod["environment"], cwd="/", stdout=log, stderr=log)
        held, sentence = (serves if "port" in pod else ends)(process, pod)
        process.kill()
        process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
    return held, sentence if held else f"{sentence}\n{said[-1500:]}"


def ends(process, pod):
    """Runs a job: it does its work and ends."""
    start = time.monotonic()
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired:
        code = "none"
    return code == 0, f"ended with {code} after {time.monotonic() - start:.2f} s"


def serves(process, pod):
    """Runs a server: it becomes live, then ready, and shuts down on request."""
    live = wait_for(pod["port"], "/health/live", process, pod["starts_within"])
    ready = wait_for(pod["port"], "/health/ready", process, 30) if live is not None else None
    if ready is None:
        return False, f"live {live}, ready {ready}"
    memory, told = resident_mib(process), time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(pod["ends_within"])
    except subprocess.TimeoutExpired:
        return False, f"had to be killed after {pod['ends_within']} s"
    took = time.monotonic() - told
    return code == 0, (f"live after {live:.2f} s, ready after {live + ready:.2f} s, {memory:.0f} MiB of {pod['limit']}, "
                       f"ended with {code} {took:.2f} s after it was told")


def main():
    if sys.argv[1] == "describe":
        json.dump(describe(sys.argv[2:]), sys.stdout)
        return
    failed = 0
    pods = json.load(sys.stdin)
    try:
        open("/nothing-may-be-written-here", "w").close()
        sys.exit("the root is not read-only")
    except OSError:
        pass
    for pod in pods:
        held, sentence = run(sys.argv[2], pod)
        failed += not held
        print(f"{'ok      ' if held else 'FAILED  '} {pod['name']}: {sentence}", flush=True)
    print(f"{len(pods) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not pods else 0)


if __name__ == "__main__":
    main()
