#!/usr/bin/env python3
"""A stand-in for the driver of EBS: creates a volume for each claim that the cluster hands to that driver. Runs until it is ended.

The controller of volumes and the scheduler are real. They choose the class of a claim, wait for the pod's node and name the driver;
only then is there a claim here. A claim without a class, or of another driver, is left alone. As the driver does, it refuses a mode
or a type of volume that EBS does not have.
"""
import sys
import time

import api

DRIVER = "ebs.csi.aws.com"
MODES = {"ReadWriteOnce", "ReadWriteOncePod"}
TYPES = {"gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"}
NAMED = "volume.kubernetes.io/storage-provisioner"
NODE = "volume.kubernetes.io/selected-node"


def volume_for(claim):
    meta, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{meta['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": spec["resources"]["requests"],
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "csi": {"driver": DRIVER, "volumeHandle": f"vol-{meta['uid']}"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **{key: meta[key] for key in ("namespace", "name", "uid")}},
        },
    }


def refusal(claim):
    """Returns the driver's reason to refuse a claim, if it has one."""
    storage_class = api.call(f"/apis/storage.k8s.io/v1/storageclasses/{claim['spec']['storageClassName']}")
    modes = set(claim["spec"]["accessModes"]) - MODES
    volume_type = storage_class.get("parameters", {}).get("type", "gp3")

    if modes:
        return f"EBS has no volumes with the access modes {sorted(modes)}"
    if volume_type not in TYPES:
        return f"EBS has no volumes of the type {volume_type}"
    return None


def look(made):
    for claim in api.call("/api/v1/persistentvolumeclaims")["items"]:
        annotations = claim["metadata"].get("annotations", {})
        uid = claim["metadata"]["uid"]
        if annotations.get(NAMED) != DRIVER or NODE not in annotations or uid in made:
            continue

        made.add(uid)
        reason = refusal(claim)
        if reason:
            print(f"{claim['metadata']['name']}: {reason}", file=sys.stderr, flush=True)
        else:
            api.call("/api/v1/persistentvolumes", volume_for(claim), "POST")


def main():
    made = set()
    while True:
        try:
            look(made)
        except OSError as error:  # a claim vanished meanwhile, or the API server is busy
            print(error, file=sys.stderr, flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
