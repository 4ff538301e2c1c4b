"""Compares the DynamoDB tables of this configuration with those that the services create if there are none.

    python check_tables.py PLATFORM RUN < terraform-test.json

Starts an emulated DynamoDB and the platform program on it, waits until it has created its tables, and compares keys, indexes and
expiry with the state of the run. Needs boto3 and moto's server beside it.
"""

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

import boto3
from rules import Resources, read_state

PATIENCE_S = 60


class Ended(Exception):
    """A started program failed."""


def free_ports(count):
    """Returns the first of some free ports in a row, below those that systems give to connections."""
    while True:
        first = random.randrange(20000, 30000, 10)
        with ExitStack() as stack:
            try:
                for offset in range(count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", first + offset))
                return first
            except OSError:
                continue


def key(elements):
    return [element["AttributeName"] for element in sorted(elements, key=lambda element: element["KeyType"])]


def made_by_services(client):
    tables = {}
    for name in client.list_tables()["TableNames"]:
        table = client.describe_table(TableName=name)["Table"]
        expiry = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        tables[name] = {
            "key": key(table["KeySchema"]),
            "attributes": {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]},
            "indexes": {
                index["IndexName"]: [*key(index["KeySchema"]), index["Projection"]["ProjectionType"]]
                for index in table.get("GlobalSecondaryIndexes", [])
            },
            "expires_at": expiry.get("AttributeName"),
        }
    return tables


def made_by_terraform(state_resources):
    def keys_of(values):
        return [name for name in (values["hash_key"], values["range_key"]) if name]

    return {
        table["name"]: {
            "key": keys_of(table),
            "attributes": {a["name"]: a["type"] for a in table["attribute"]},
            "indexes": {i["name"]: [*keys_of(i), i["projection_type"]] for i in table["global_secondary_index"]},
            "expires_at": next((ttl["attribute_name"] for ttl in table["ttl"] if ttl["enabled"]), None),
        }
        for _, table in state_resources.of("aws_dynamodb_table")
    }


def wait_for_port(port):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Ended("the emulated DynamoDB did not start")


def wait_for_tables(client, platform):
    """Waits until the set of tables has not changed for three seconds."""
    known, since, start = None, time.monotonic(), time.monotonic()
    while time.monotonic() - start < PATIENCE_S:
        if platform.poll() is not None:
            raise Ended(f"the platform ended with {platform.returncode}")
        tables = client.list_tables()["TableNames"]
        if tables != known:
            known, since = tables, time.monotonic()
        if known and time.monotonic() - since > 3:
            return
        time.sleep(0.2)
    raise Ended("the platform made no tables")


def services_tables(program):
    port = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"  # the laptop's region is named local
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w") as log:
        started = [subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)]
        client = boto3.client("dynamodb", endpoint_url=endpoint, region_name="local", aws_access_key_id="local", aws_secret_access_key="local")
        try:
            wait_for_port(port)
            settings = ["--data", os.path.join(folder, "data"), "--port-base", str(free_ports(8)), "--dynamodb", endpoint]
            started.append(subprocess.Popen([program, *settings], stdout=log, stderr=log))
            wait_for_tables(client, started[1])
            return made_by_services(client)
        except Ended as why:
            log.flush()
            with open(log.name, encoding="utf-8", errors="replace") as told:
                sys.exit(f"{why}\n{''.join(told.readlines()[-15:])}")
        finally:
            for process in reversed(started):
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def main():
    program, run = sys.argv[1:]
    ours = made_by_terraform(Resources(read_state(run)[1]))
    theirs = services_tables(program)
    wrong = [f"{name}: {ours.get(name, 'not here')}\n  the service has {table}" for name, table in theirs.items() if ours.get(name) != table]
    print(f"same: {', '.join(sorted(set(theirs) & set(ours)))}; not created by this build of the platform: {', '.join(sorted(set(ours) - set(theirs)))}")
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
