#!/usr/bin/env python3
"""Reads charts and manifests for operators.sh.

  operators.py list                     chart, version and repository of each operator
  operators.py order                    operator, chart, version and namespace, in the order of the waves
  operators.py values FOLDER            writes the values of each into FOLDER/<operator>.values.json
  operators.py names VALUES CHART       checks that the chart or its dependencies define every name in the values
  operators.py split MANIFESTS FOLDER   splits them into definitions, webhooks and others
  operators.py allowed MANIFESTS KINDS  checks that Argo CD's project allows them; KINDS are the kinds outside of namespaces
  operators.py selectors MONITORING SHOP   checks that monitoring selects the shop's objects
  operators.py start MANIFESTS DEPLOYMENT  prints the service account of a Deployment, then its program's arguments
  operators.py kinds FOLDER SHOP        checks that each object's kind is defined in an earlier wave; FOLDER has each operator's manifests
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import documents

TESTS = pathlib.Path(__file__).resolve().parent
ARGOCD = TESTS.parent / "argocd"


def app_of_apps():
    """The app of apps with the values of infra-aws, which enable every operator."""
    done = subprocess.run(["helm", "template", "root", ARGOCD, "-f", TESTS / "argocd.yaml"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the app of apps does not render: {done.stderr}")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as rendered:
        rendered.write(done.stdout)
        rendered.flush()
        return documents.read(rendered.name)


def operators():
    """The Applications of the operators, in the order of their waves; metrics-server last: its API has no server here."""
    found = [d for d in app_of_apps() if d["kind"] == "Application" and "chart" in d["spec"].get("source", {})]
    wave = "argocd.argoproj.io/sync-wave"
    return sorted(found, key=lambda d: (d["metadata"]["name"] == "metrics-server", int(d["metadata"]["annotations"][wave])))


def names(ours, chart, chart_place=""):
    """Returns the names in the values that the chart does not define. A name in a comment or a template counts; below an empty
    default every name is allowed."""
    chart = pathlib.Path(chart)
    text = (chart / "values.yaml").read_text()
    templates = "".join(path.read_text() for path in (chart / "templates").rglob("*") if path.is_file())
    dependencies = {path.name: path for path in (chart / "charts").glob("*")} if (chart / "charts").is_dir() else {}

    def walk(ours, theirs, place):
        for name, value in ours.items():
            in_comment = re.search(rf"^\s*#+\s*{re.escape(name)}:", text, re.MULTILINE)
            in_template = re.search(rf"\.Values\.{re.escape((place + name).removeprefix(chart_place))}\b", templates)
            if name not in theirs and not in_comment and not in_template:
                yield f"{place}{name}"
            elif isinstance(value, dict) and isinstance(theirs.get(name), dict) and theirs[name]:
                yield from walk(value, theirs[name], f"{place}{name}.")

    (theirs,) = documents.read(chart / "values.yaml")
    own = {name: value for name, value in ours.items() if name not in dependencies}
    yield from walk(own, theirs, chart_place)
    for name in ours.keys() & dependencies.keys():
        yield from names(ours[name], dependencies[name], f"{chart_place}{name}.")


def split(manifests, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    parts = {"definitions": [], "webhooks": [], "others": []}
    for document in flat(manifests):
        kind = document["kind"]
        part = "definitions" if kind == "CustomResourceDefinition" else "webhooks" if kind.endswith("WebhookConfiguration") else "others"
        parts[part].append(document)
    for part, items in parts.items():
        (folder / part).write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}) if items else "")


def flat(manifests):
    """Yields the documents, those in lists one by one."""
    return [each for found in documents.read(manifests) for each in found.get("items", [found])]


def forbidden(manifests, kinds):
    """Returns the objects that the project of the applications does not allow: kinds outside of namespaces, and foreign namespaces."""
    (project,) = [d["spec"] for d in app_of_apps() if d["kind"] == "AppProject"]
    outside = set(pathlib.Path(kinds).read_text().split())
    allowed = {f"{entry['group']}/{entry['kind']}" for entry in project["clusterResourceWhitelist"]}
    namespaces = {entry["namespace"] for entry in project["destinations"]}
    for document in flat(manifests):
        group, _, _ = document["apiVersion"].rpartition("/")
        kind, namespace = f"{group}/{document['kind']}", document["metadata"].get("namespace")
        if kind in outside and kind not in allowed or namespace and namespace not in namespaces:
            yield f"{kind} {document['metadata']['name']} in {namespace or 'no namespace'}"


def unselected(monitoring, shop):
    """Returns the objects of the shop for monitoring that monitoring does not select."""
    monitoring, shop = documents.read(monitoring), documents.read(shop)
    (prometheus,) = [d["spec"] for d in monitoring if d["kind"] == "Prometheus"]
    for kind, selector in (("ServiceMonitor", "serviceMonitorSelector"), ("PrometheusRule", "ruleSelector")):
        wanted = prometheus[selector]["matchLabels"].items()
        yield from (f"{kind} {d['metadata']['name']}" for d in shop if d["kind"] == kind and not wanted <= d["metadata"]["labels"].items())
        if prometheus[selector.replace("Selector", "NamespaceSelector")] != {}:
            yield f"{selector} leaves out namespaces"
    (grafana,) = [d for d in monitoring if d["kind"] == "Deployment" and "grafana" in d["metadata"]["name"]]
    containers = grafana["spec"]["template"]["spec"]["containers"]
    told = {e["name"]: e.get("value") for c in containers if "dashboard" in c["name"] for e in c["env"]}
    boards = [d for d in shop if d["kind"] == "ConfigMap" and d["metadata"]["name"].startswith("dashboard-")]
    found = [d for d in boards if d["metadata"]["labels"].get(told["LABEL"]) == told["LABEL_VALUE"]]
    if len(found) != len(boards) or len(boards) < 3 or told.get("NAMESPACE") != "ALL":
        yield f"Grafana is told {told} and would find {len(found)} of {len(boards)} dashboards"


def undefined(folder, shop):
    """Returns the objects whose kind is not defined by their own chart or in an earlier wave."""
    waves = {d["metadata"]["name"]: int(d["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for d in app_of_apps() if d["kind"] == "Application"}
    found = {name: flat(pathlib.Path(folder) / f"{name}.yaml") for name in waves if name != "tidemark"}
    found["tidemark"] = documents.read(shop)
    defined = {(d["spec"]["group"], d["spec"]["names"]["kind"]): name for name in found for d in found[name] if d["kind"] == "CustomResourceDefinition"}
    for name, manifests in found.items():
        for group, kind in sorted({(d["apiVersion"].rpartition("/")[0], d["kind"]) for d in manifests}):
            if "." not in group or group.endswith(".k8s.io"):
                continue
            by = defined.get((group, kind))
            if by is None or by != name and waves[by] >= waves[name]:
                yield f"{name} of wave {waves[name]} has {kind}, which {f'{by} of wave {waves[by]} defines' if by else 'no chart defines'}"
    print(f"{len(defined)} kinds, of {len(set(defined.values()))} charts; waves {sorted(set(waves.values()))}", file=sys.stderr)


def start(manifests, deployment):
    (found,) = [d for d in documents.read(manifests) if d["kind"] == "Deployment" and d["metadata"]["name"] == deployment]
    pod = found["spec"]["template"]["spec"]
    print(pod["serviceAccountName"], *pod["containers"][0]["args"], sep="\n")


def complain(findings):
    findings = list(findings)
    print("\n".join(findings))
    sys.exit(1 if findings else 0)


def main():
    command, *arguments = sys.argv[1:]
    if command in ("list", "order"):
        for operator in operators():
            source, name = operator["spec"]["source"], operator["metadata"]["name"]
            what = [source["chart"], source["targetRevision"]]
            print(*([*what, source["repoURL"]] if command == "list" else [name, *what, operator["spec"]["destination"]["namespace"]]))
    elif command == "values":
        for operator in operators():
            values = operator["spec"]["source"]["helm"]["valuesObject"]
            (pathlib.Path(arguments[0]) / f"{operator['metadata']['name']}.values.json").write_text(json.dumps(values))
    elif command == "names":
        complain(names(json.loads(pathlib.Path(arguments[0]).read_text()), arguments[1]))
    elif command == "split":
        split(*arguments)
    elif command == "allowed":
        complain(forbidden(*arguments))
    elif command == "selectors":
        complain(unselected(*arguments))
    elif command == "start":
        start(*arguments)
    elif command == "kinds":
        complain(undefined(*arguments))


if __name__ == "__main__":
    main()
