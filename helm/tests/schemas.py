#!/usr/bin/env python3
"""Writes strict JSON schemas for kubeconform, from the schemas in the Go modules of Kubernetes and of the operators.

  schemas.py OUT SWAGGER [CRD.yaml …]

Writes OUT/<kind>-<group's first label>-<version>.json, kubeconform's own naming. Strict means that an undescribed field is an
error; the API server itself only warns of it.
"""
import json
import pathlib
import sys

import documents

EITHER = {"oneOf": [{"type": "string"}, {"type": "number"}]}


def strict(node):
    """Returns the same schema, closed: objects that list their properties admit no others."""
    if isinstance(node, list):
        return [strict(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str):
        return {"$ref": "_definitions.json" + node["$ref"]}
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return EITHER
    closed = {key: strict(value) for key, value in node.items()}
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if isinstance(node.get("properties"), dict) and not open_ended:
        closed["additionalProperties"] = False
    return closed


def file_name(kind, group, version):
    """The schemas that kubeconform reads."""
    first = group.split(".")[0]
    return "-".join(part for part in (kind.lower(), first, version) if part) + ".json"


def of_kubernetes(swagger, out):
    """Writes the schemas of the built-in kinds; returns their number."""
    definitions = json.loads(pathlib.Path(swagger).read_text())["definitions"]
    closed = {name: strict(definition) for name, definition in definitions.items()}
    for name in closed:
        if name.endswith("resource.Quantity"):
            closed[name] = EITHER
        elif name.endswith("JSONSchemaProps"):
            closed[name] = {}
    (out / "_definitions.json").write_text(json.dumps({"definitions": closed}))
    count = 0
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            if "properties" in closed[name]:
                schema = named(closed[name], kind["kind"], kind["group"], kind["version"])
                (out / file_name(kind["kind"], kind["group"], kind["version"])).write_text(json.dumps(schema))
                count += 1
    return count


def named(schema, kind, group, version):
    """Returns the schema for this kind and version alone."""
    api_version = f"{group}/{version}" if group else version
    properties = schema["properties"] | {"apiVersion": {"enum": [api_version]}, "kind": {"enum": [kind]}}
    return schema | {"properties": properties, "required": sorted({*schema.get("required", []), "apiVersion", "kind"})}


def of_crds(paths, out):
    """Writes the schemas of the custom kinds; returns their number."""
    count = 0
    for crd in documents.read(*paths):
        spec = crd["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            kind = spec["names"]["kind"]
            text = json.dumps(named(schema, kind, spec["group"], version["name"]))
            (out / file_name(kind, spec["group"], version["name"])).write_text(text)
            count += 1
    return count


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    built_in = of_kubernetes(sys.argv[2], out)
    custom = of_crds(sys.argv[3:], out) if sys.argv[3:] else 0
    print(f"{built_in} schemas of Kubernetes, {custom} of operators")


if __name__ == "__main__":
    main()
