"""Reads the states of `terraform test`, and runs rules on them. check_state.py of infra-aws and of infra-gcp share it.

A rule is a function of the resources and the whole state; it yields a sentence for each finding. Its name is printed as its description.
"""

import json
import sys


class Resources:
    """The managed resources of a state."""

    def __init__(self, resources):
        self.all = [resource for resource in resources if resource["mode"] == "managed"]

    def of(self, *kinds):
        """Returns address and values of each resource of these kinds."""
        return [(resource["address"], resource["values"]) for resource in self.all if resource["type"] in kinds]

    def keys(self, kind):
        """Returns the keys of for_each, or the indexes, of the resources of a kind."""
        return {resource.get("index") for resource in self.all if resource["type"] == kind}

    def kinds(self):
        """Returns the types of the resources."""
        return {resource["type"] for resource in self.all}


def read_state(run):
    """Reads the state of a run from standard input, or the only state there if `run` is None."""
    if run is None:
        state = json.load(sys.stdin)
        return state, state["values"]["root_module"]["resources"]
    return read_lines(sys.stdin, run)


def read_lines(lines, run):
    """Reads the state of a run from the lines of `terraform test -json -verbose`."""
    for line in lines:
        message = json.loads(line)
        if message["type"] == "test_state" and message.get("@testrun") == run:
            state = message["test_state"]
            state.pop("provider_schemas", None)
            return state, state["root_module"]["resources"]
    sys.exit(f"no state of a run {run!r}: did terraform test fail?")


def judge(rules):
    """Prints a line for each rule on the state from standard input, and exits with 1 if one is broken."""
    state, found = read_state(sys.argv[1] if len(sys.argv) > 1 else None)
    resources = Resources(found)
    print(f"  {len(resources.all)} resources of {len(resources.kinds())} types")
    broken = 0
    for rule in rules:
        findings = list(rule(resources, state))
        broken += bool(findings)
        print(f"  {'FAILED' if findings else 'ok'}: {rule.__name__.replace('_', ' ')}" + "".join(f"\n    {finding}" for finding in findings))
    sys.exit(bool(broken))
