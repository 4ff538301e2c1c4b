#!/usr/bin/env python3
"""Checks that the release lists what its image contains: runs the real syft, with the arguments of the release workflow, on an image
with the files that the Dockerfile copies beside the program. Every package of Cargo.lock must be in the list.

By default syft reads no Cargo.lock in an image, and the program does not contain the list of its packages. So this also plants both
mistakes, a workflow without the argument and a Dockerfile without the file, which must each leave packages out.
"""
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKERFILE, WORKFLOW, LOCK = ROOT / "Dockerfile", ROOT / ".github/workflows/release.yml", ROOT / "Cargo.lock"
LEAST_PACKAGES = 100


def copied(dockerfile):
    """Returns the places of Cargo.lock in the last stage."""
    return re.findall(r"^COPY \S+ \S*/Cargo\.lock (\S+)$", dockerfile.rpartition("\nFROM ")[2], re.MULTILINE)


def arguments_of_syft(workflow):
    """Returns the arguments between the image's name and the output."""
    (line,) = [line for line in workflow.splitlines() if '/bin/syft"' in line]
    return shlex.split(line.partition('"$NAME"')[2].partition("--output")[0])


def write_image(file, places):
    """Writes an image of one layer, in the format of `docker save`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        add(archive, "usr/local/bin/platform", b"the program")
        for place in places:
            add(archive, place.lstrip("/"), LOCK.read_bytes())
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    manifest = [{"Config": "config.json", "RepoTags": ["tidemark:test"], "Layers": ["layer.tar"]}]
    with tarfile.open(file, "w") as archive:
        add(archive, "config.json", json.dumps(config).encode())
        add(archive, "layer.tar", layer.getvalue())
        add(archive, "manifest.json", json.dumps(manifest).encode())


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def missing(dockerfile, workflow):
    """Returns the packages of Cargo.lock that are not in syft's list, and the number of those that should be."""
    with tempfile.TemporaryDirectory() as folder:
        image, listed = f"{folder}/image.tar", f"{folder}/sbom.json"
        write_image(image, copied(dockerfile))
        command = ["syft", f"docker-archive:{image}", "--quiet", *arguments_of_syft(workflow), "--output", f"spdx-json={listed}"]
        subprocess.run(command, check=True, env={"PATH": os.environ["PATH"], "HOME": folder, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
        found = {(each["name"], each.get("versionInfo")) for each in json.loads(pathlib.Path(listed).read_text())["packages"]}
    packages = {(each["name"], each["version"]) for each in tomllib.loads(LOCK.read_text())["package"] if "source" in each}
    return sorted(packages - found), len(packages)


def main():
    dockerfile, workflow = DOCKERFILE.read_text(), WORKFLOW.read_text()
    absent, wanted = missing(dockerfile, workflow)
    print(f"{wanted - len(absent)} of {wanted} packages are listed; missing: {absent[:3]}")
    unnoticed = [
        name for name, texts in {
            "the workflow without the argument": (dockerfile, workflow.replace("--select-catalogers +rust-cargo-lock-cataloger ", "")),
            "the Dockerfile without the file": (re.sub(r"^COPY .*Cargo\.lock.*\n", "", dockerfile, flags=re.MULTILINE), workflow),
        }.items() if texts == (dockerfile, workflow) or not missing(*texts)[0]
    ]
    print("".join(f"not noticed: {name}\n" for name in unnoticed), end="")
    sys.exit(bool(absent or unnoticed or wanted < LEAST_PACKAGES))


if __name__ == "__main__":
    main()
