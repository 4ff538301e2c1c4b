#!/usr/bin/env python3
"""Checks how an image gets from a tag to the values of an environment: the release workflow, and propose.sh against a real Git
repository with a stand-in for GitHub's client.

  delivery.py            checks both
  delivery.py mistakes   plants mistakes in them, each of which must be detected
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import documents

ROOT = pathlib.Path(__file__).resolve().parents[2]
NONE = "sha256:" + "0" * 64
NEW = "sha256:" + "5" * 64


def scripts(job):
    return [step.get("run", "") for step in job["steps"]]


def place(texts, word):
    """Returns the index of the first step that has a word, or None."""
    return next((i for i, text in enumerate(texts) if word in text), None)


def in_order(job, name, *words):
    """Yields each word that no step of the job has, or that comes before the previous one."""
    lines = "\n".join(scripts(job)).splitlines()
    at = -1
    for word in words:
        found = next((i for i, line in enumerate(lines) if word in line and i >= at), None)
        if found is None:
            yield f"{name}: no `{word}` at its place"
        else:
            at = found


def workflow_faults(text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        (workflow,) = documents.read(file.name)
    jobs = workflow["jobs"]
    built = {entry["architecture"] for entry in jobs["build"]["strategy"]["matrix"]["include"]}
    if built != {"amd64", "arm64"}:
        yield f"builds {sorted(built)}"
    if workflow["permissions"] != {"contents": "read"}:
        yield "every job has more rights than to read"
    yield from in_order(jobs["build"], "build", "cargo test --locked", "docker build", "docker run --rm --read-only", "docker push")
    yield from in_order(jobs["publish"], "publish", "imagetools create", "digest=", "syft", "cosign sign --yes", "cosign attest --yes", "cosign verify", "propose.sh dev")
    yield from in_order(jobs["promote"], "promote", "propose.sh read dev", "cosign verify", "propose.sh prod")
    if jobs["publish"].get("needs") != "build":
        yield "publish does not wait for both architectures"
    for name, environment in (("build", "dev"), ("publish", "dev"), ("promote", "prod")):
        job = jobs[name]
        if job["environment"] != environment or job["permissions"].get("id-token") != "write":
            yield f"{name} has no identity for {environment}"
        for step in job["steps"]:
            if "uses" in step and not step["uses"].partition("@")[2].startswith("v"):
                yield f"{name}: {step['uses']} has no version"
            if "cosign-installer" in step.get("uses", "") and not step.get("with", {}).get("cosign-release", "").startswith("v"):
                yield f"{name}: cosign has no version"
            if "secrets." in str(step).replace("github.token", ""):
                yield f"{name} uses a stored secret"
    signed = [line for job in jobs.values() for text in scripts(job) for line in text.splitlines() if "cosign sign" in line or "cosign attest" in line]
    if any('"$NAME"' not in line for line in signed) or "@${{" not in str(jobs["publish"]["steps"]):
        yield "what is signed is not named by its digest"


def proposal_faults(script):
    """Runs propose.sh on a copy of the values. GitHub's client is a stand-in that writes down its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        origin, tree, bin_folder = work / "origin.git", work / "tree", work / "bin"
        for path in (tree / ".github", tree / "helm", bin_folder):
            path.mkdir(parents=True)
        for environment in ("dev", "prod"):
            shutil.copy(ROOT / f"helm/values-{environment}.yaml", tree / "helm")
        (tree / ".github/propose.sh").write_text(script)
        (bin_folder / "gh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{work}/asked\n')
        for path in (tree / ".github/propose.sh", bin_folder / "gh"):
            path.chmod(0o755)
        settings = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": "/dev/null"}

        def run(*command):
            return subprocess.run(command, cwd=tree, env=settings, capture_output=True, text=True)

        def propose(*arguments):
            return run(".github/propose.sh", *arguments)

        run("git", "init", "-q", "--bare", str(origin))
        run("git", "init", "-q", "-b", "main")
        run("git", "add", ".")
        run("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", "first")
        run("git", "remote", "add", "origin", str(origin))
        yield from refusals(propose)
        if propose("dev", NEW, "v1.2.3").returncode:
            yield "it cannot propose a digest"
            return
        branch = f"release-dev-{'5' * 12}"
        changed = run("git", "diff", "--numstat", "main", branch).stdout.split()
        if changed != ["1", "1", "helm/values-dev.yaml"]:
            yield f"the proposal changes {changed}"
        if run("git", "ls-remote", "--heads", "origin").stdout.split()[1:] != [f"refs/heads/{branch}"]:
            yield "the proposal is not pushed to a branch of its own alone"
        asked = (work / "asked").read_text().splitlines() if (work / "asked").exists() else []
        if asked[:6] != ["pr", "create", "--base", "main", "--head", branch] or NEW not in asked[-1]:
            yield f"GitHub is asked for {asked}"
        if propose("read", "dev").stdout.strip() != NEW:
            yield "the proposed digest is not the one that a promotion reads"


def refusals(propose):
    if propose("read", "dev").returncode == 0:
        yield "an environment without a release can be promoted"
    for digest in ("sha256:5", "latest", NONE + "0", ""):
        if propose("dev", digest, "v1").returncode == 0:
            yield f"{digest or 'nothing'} is taken for a digest"


WORKFLOW, SCRIPT = ROOT / ".github/workflows/release.yml", ROOT / ".github/propose.sh"
MISTAKES = [
    (WORKFLOW, "          cosign verify \"$FROM@$digest\"", "          true \"$FROM@$digest\""),
    (WORKFLOW, "          cosign sign --yes \"$NAME\"\n", ""),
    (WORKFLOW, "cosign attest --yes --type spdxjson --predicate sbom.spdx.json \"$NAME\"", "cosign attest --yes --type spdxjson --predicate sbom.spdx.json \"$IMAGE:latest\""),
    (WORKFLOW, "          - {architecture: arm64, runner: ubuntu-24.04-arm}\n", ""),
    (WORKFLOW, "    needs: build\n", ""),
    (WORKFLOW, "      - run: cargo test --locked -p gateway -p users -p orders -p platform\n", ""),
    (WORKFLOW, "    environment: prod\n", "    environment: dev\n"),
    (WORKFLOW, "uses: sigstore/cosign-installer@v3", "uses: sigstore/cosign-installer@main"),
    (WORKFLOW, "        with: {cosign-release: v2.6.5}\n", ""),
    (WORKFLOW, "permissions:\n  contents: read\n", "permissions:\n  contents: write\n"),
    (WORKFLOW, ".github/propose.sh prod", ".github/propose.sh dev"),
    (SCRIPT, "^sha256:[0-9a-f]{64}$ ]]", "^sha256: ]]"),
    (SCRIPT, 'git push -q origin "$branch"', 'git push -q origin "$branch" main'),
    (SCRIPT, 'git commit -qm "Release ${3:?why} to $1" -m "$2" "$file"', 'echo >>README.md && git add . && git commit -qm "Release ${3:?why} to $1" -m "$2"'),
    (SCRIPT, "--base main", "--base dev"),
    (SCRIPT, '|| { echo "$2 has no release yet" >&2; exit 1; }', "|| true"),
]


def faults(path, text):
    try:
        return list(workflow_faults(text) if path == WORKFLOW else proposal_faults(text))
    except (KeyError, TypeError) as error:
        return [f"a part is missing: {error}"]


def main():
    if sys.argv[1:] == ["mistakes"]:
        missed = 0
        for path, text, new in MISTAKES:
            whole = path.read_text()
            found = faults(path, whole.replace(text, new)) if text in whole else []
            missed += not found
            print(f"  {'noticed: ' + found[0] if found else 'MISSED: ' + text}")
        sys.exit(bool(missed))
    found = [fault for path in (WORKFLOW, SCRIPT) for fault in faults(path, path.read_text())]
    print("".join(f"  {fault}\n" for fault in found), end="")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
