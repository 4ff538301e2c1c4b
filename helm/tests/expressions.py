#!/usr/bin/env python3
"""Lists and parses every PromQL expression of dashboards and rules, and compares the metrics with those that the sources declare.

  expressions.py lint            every panel has a title, a unit, a datasource variable and legends; every metric exists
  expressions.py mistakes        plants mistakes in dashboards, each of which must be detected
  expressions.py rules           the panels' expressions as a rules file, for promtool to parse
  expressions.py canary PROD     the same for the analysis of new pods in a rendered chart, as of orders' pods with the hash `new`
  expressions.py list            all expressions as JSON: [{"from", "expr", "labels"}], Grafana's variables filled in
"""
import copy
import json
import pathlib
import re
import sys

import documents

HELM_FOLDER = pathlib.Path(__file__).resolve().parent.parent
ROOT = HELM_FOLDER.parent
SOURCES = ["services", "stream"]
# Metrics of others: Prometheus itself, kube-state-metrics, the node exporter, cAdvisor.
FOREIGN = re.compile(r"(up|kube_\w+|rollout_\w+|node_\w+|container_\w+)$")
VARIABLES = {"$__rate_interval": "5m", "$service": ".*", "$namespace": "tidemark"}
WORDS = set(
    "by without on ignoring group_left group_right and or unless bool offset sum avg min max count topk rate increase deriv "
    "histogram_quantile absent vector time scalar label_replace clamp_min changes avg_over_time max_over_time".split()
)


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((HELM_FOLDER / "dashboards").glob("*.json"))}


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def faults_of(name, board):
    """Yields the faults of a dashboard."""
    variables = {v["name"] for v in board["templating"]["list"]}
    if "datasource" not in variables:
        yield f"{name}: no datasource variable"
    titles = [panel.get("title") for panel in panels(board)]
    for panel in panels(board):
        where = f"{name}: {panel.get('title') or 'a panel without a title'}"
        if not panel.get("title") or titles.count(panel["title"]) > 2:
            yield f"{where}: title"
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{where}: unit"
        if not panel.get("targets"):
            yield f"{where}: no query"
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            yield f"{where}: hangs over the edge"
        for target in panel.get("targets", []):
            if target["datasource"].get("uid") != "${datasource}":
                yield f"{where}: datasource"
            if not target.get("legendFormat"):
                yield f"{where}: legend"
            for used in re.findall(r"\$(\w+)", target["expr"]):
                if used not in variables and not used.startswith("__"):
                    yield f"{where}: ${used} is no variable"
            unknown = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"] or "")) - labels_left(target["expr"])
            if unknown:
                yield f"{where}: the legend names {unknown}, which the expression does not keep"


def labels_left(expr):
    """Returns the labels that the result may have: those by which it groups, or all if it does not group."""
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", expr)
    if not grouped:
        return {"horizontalpodautoscaler", "instance", "pod", "partition", "reason", "service"}
    return {label.strip() for group in grouped for label in group.split(",")}


def filled(expr):
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    return expr


def rule_documents():
    return {path.name: documents.read(path)[0] for path in sorted((HELM_FOLDER / "rules").glob("*.yaml"))}


def expressions():
    """Yields all expressions, each with its place."""
    for name, board in dashboards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                labels = re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"])
                yield {"from": f"{name}: {panel['title']}", "expr": filled(target["expr"]), "labels": labels}
    for name, document in rule_documents().items():
        for group in document["groups"]:
            for rule in group["rules"]:
                yield {"from": f"{name}: {rule.get('alert') or rule.get('record')}", "expr": rule["expr"].strip(), "labels": []}


def canaries(rendered):
    """Yields the expressions that analyses of new pods ask Prometheus."""
    for template in (d for d in documents.read(rendered) if d["kind"] == "AnalysisTemplate"):
        for metric in template["spec"]["metrics"]:
            query = metric["provider"]["prometheus"]["query"]
            yield {"from": metric["name"], "expr": query.replace("{{args.service}}", "orders").replace("{{args.hash}}", "new").strip()}


def metrics_of(expr):
    """Returns the names of metrics in an expression."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    return {word for word in re.findall(r"[A-Za-z_:][\w:]*", bare) if word not in WORDS}


def declared():
    """Literals of the Rust sources, where a metric's name stands as one, and the names that rules record."""
    literals = set()
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.rs")):
            text = path.read_text()
            prefix = prefix_in(text) or prefix_in(module_around(path))
            for name in re.findall(r'"([a-z][a-z0-9_]*)"', text):
                # The metrics of a process have the same names everywhere, without a registry's prefix.
                literals.add(name if name.startswith("process_") else prefix + name)
    recorded = {r["record"] for d in rule_documents().values() for g in d["groups"] for r in g["rules"] if "record" in r}
    return literals, recorded


def prefix_in(text):
    """Returns the prefix that a registry puts before the names of its metrics."""
    found = re.search(r'Registry::new_custom\(Some\("(\w+)"', text)
    return found[1] + "_" if found else ""


def module_around(path):
    """Returns the source of the module to which a file belongs."""
    around = path.parent.with_suffix(".rs")
    return around.read_text() if around.exists() else ""


def unknown_metrics(entries):
    literals, recorded = declared()
    for entry in entries:
        for metric in metrics_of(entry["expr"]):
            base = re.sub(r"_(bucket|sum|count)$", "", metric)
            if not FOREIGN.match(metric) and metric not in recorded and not {metric, base} & literals:
                yield f"{entry['from']}: {metric} is exported by nobody"


def mistakes(board):
    """Returns changes that the lint must detect."""
    panel = panels(board)[0]
    target = panel["targets"][0]
    return [
        lambda: panel.update(title=""), lambda: panel["fieldConfig"]["defaults"].pop("unit"), lambda: panel.update(targets=[]),
        lambda: target.update(datasource={"uid": "prometheus-1"}), lambda: target.update(legendFormat=""),
        lambda: target.update(expr="sum(up{pod=~\"$pod\"})"), lambda: target.update(legendFormat="{{pod}}"),
        lambda: panel["gridPos"].update(x=20), lambda: board["templating"]["list"].pop(0),
    ]


def plant_mistakes():
    name, original = next((n, b) for n, b in dashboards().items() if n == "services.json")
    missed = 0
    for i in range(len(mistakes(original))):
        board = copy.deepcopy(original)
        mistakes(board)[i]()
        found = list(faults_of(name, board))
        missed += not found
        print(f"  {'noticed: ' + found[0] if found else f'MISSED: mistake {i}'}")
    return missed


def main():
    command = sys.argv[1]
    if command == "list":
        json.dump(list(expressions()), sys.stdout, indent=1)
    elif command == "rules":
        rules = [{"record": f"panel:{i}", "expr": e["expr"]} for i, e in enumerate(expressions())]
        json.dump({"groups": [{"name": "panels", "rules": rules}]}, sys.stdout)
    elif command == "canary":
        found = list(canaries(sys.argv[2]))
        findings = [*unknown_metrics(found), *([] if found else ["no analysis of new pods"])]
        if findings:
            sys.exit("\n".join(findings))
        json.dump({"groups": [{"name": "canary", "rules": [{"record": f"canary:{e['from']}", "expr": e["expr"]} for e in found]}]}, sys.stdout)
    elif command == "mistakes":
        sys.exit(1 if plant_mistakes() else 0)
    else:
        boards = dashboards()
        findings = [fault for name, board in boards.items() for fault in faults_of(name, board)] + list(unknown_metrics(expressions()))
        print("".join(f"  {finding}\n" for finding in findings), end="")
        print(f"  {len(boards)} dashboards, {sum(len(panels(b)) for b in boards.values())} panels, {len(list(expressions()))} expressions, {len(findings)} findings")
        sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
