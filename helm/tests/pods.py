"""The chart's pods as plain processes; see pods.sh.

  pods.py describe rendered.yaml …      what each Deployment runs, as JSON
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

# What names a store that is not here: without it the program takes the embedded one.
STORES = {"TIDEMARK_MYSQL", "TIDEMARK_BROKERS", "TIDEMARK_DYNAMODB", "TIDEMARK_PROPERTIES", "TIDEMARK_OBJECTS"}


def describe(paths):
    import documents

    pods = []
    for path in paths:
        manifests = documents.read(path)
        settings = {d["metadata"]["name"]: d["data"] for d in manifests if d["kind"] == "ConfigMap"}
        for deployment in (d for d in manifests if d["kind"] == "Deployment"):
            spec = deployment["spec"]["template"]["spec"]
            container = spec["containers"][0]
            name = deployment["metadata"]["name"]
            pods.append({
                "name": name, "args": container["args"], "port": container["ports"][0]["containerPort"],
                "environment": {key: value for key, value in settings[name].items() if key not in STORES},
                "user": spec["securityContext"]["runAsUser"], "grace": spec["terminationGracePeriodSeconds"],
                "pause": container["lifecycle"]["preStop"]["sleep"]["seconds"],
                "starts_within": container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"],
                "limit": container["resources"]["limits"]["memory"],
            })
    return pods


def answers(port, path):
    """The status of a probe, or None."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(port, path, process, seconds):
    """Seconds until the probe succeeds, or None."""
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
    """Runs a pod's program; returns whether all was well, and a sentence."""
    user = str(pod["user"])
    confined = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*confined, program, *pod["args"]], env=pod["environment"], cwd="/", stdout=log, stderr=log)
        live = wait_for(pod["port"], "/health/live", process, pod["starts_within"])
        ready = wait_for(pod["port"], "/health/ready", process, 30) if live is not None else None
        memory = resident_mib(process) if process.poll() is None else 0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        ended = time.monotonic()
        try:
            code = process.wait(pod["grace"] - pod["pause"])
        except subprocess.TimeoutExpired:
            process.kill()
            code = "none: it had to be killed"
        took = time.monotonic() - ended
        log.seek(0)
        said = log.read().decode(errors="replace")
    if live is None or ready is None or code != 0:
        return False, f"live {live}, ready {ready}, exit code {code}\n{said[-1500:]}"
    return True, f"live after {live:.2f} s, ready after {live + ready:.2f} s, {memory:.0f} MiB of {pod['limit']}, ended {took:.2f} s after it was told"


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
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
