"""The Google provider's schema, from the TypeScript package that was generated from it (@cdktf/provider-google, MPL-2.0).

    python schema.py PACKAGE/.jsii schema.json

Per resource and data source: attributes with their types and whether they are required, optional or computed, and nested
blocks. The package lacks two facts: if a repeated block is a list or a set (a list is assumed), and if Google fills in an optional
attribute that is left out (no is assumed).
"""

import json
import re
import sys

# The name in HCL, as the documentation's anchor spells it.
ANCHOR = re.compile(r"#([a-z0-9_]+) [A-Za-z0-9]+#")
TYPE_NAME = re.compile(r"/docs/(?:resources|data-sources)/\S+ ([a-z0-9_]+)\}")
PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
RESOURCE, DATA = "cdktf.TerraformResource", "cdktf.TerraformDataSource"
# Arguments that every resource has from Terraform itself, not from the provider.
META = {"connection", "count", "dependsOn", "forEach", "lifecycle", "provider", "provisioners"}
ONLY_IN_TYPESCRIPT = re.compile(r"^(tfResourceType|.*Input)$")


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Package:
    """The types of the package, and their equivalents in Terraform."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            package = json.load(file)
        self.types = package["types"]
        self.prefix = package["name"] + "."

    def struct(self, kind):
        name = kind.get("fqn", "")
        return name if name.startswith(self.prefix) and self.types[name]["kind"] == "interface" else None

    def settle(self, kind):
        """Returns the one alternative that is not a placeholder for an unknown value."""
        if "union" not in kind:
            return kind
        return next(other for other in map(self.settle, kind["union"]["types"]) if other.get("fqn") != "cdktf.IResolvable")

    def block(self, name, parents=()):
        attributes, blocks = {}, {}
        for member in self.types[name].get("properties", []):
            if name.endswith("Config") and member["name"] in META:
                continue
            self.add(member, attributes, blocks, (*parents, name))
        return {"attributes": attributes, "blocks": blocks}

    def add(self, member, attributes, blocks, parents):
        docs = member.get("docs", {})
        anchor = ANCHOR.search(docs.get("remarks", "") + " " + docs.get("summary", ""))
        name = anchor[1] if anchor else snake(member["name"])
        kind = self.settle(member["type"])
        collection = kind.get("collection")
        element = self.settle(collection["elementtype"]) if collection else kind
        struct = self.struct(element)
        if struct is None:
            attributes[name] = {"type": self.attribute_type(collection, element), "required": not member.get("optional"), "computed": name == "id"}
        elif struct in parents:
            return
        elif docs.get("summary", "").endswith(f"{name} block."):
            single = name == "timeouts"
            blocks[name] = {
                **self.block(struct, parents),
                "nesting": "single" if single else "list",
                "min": 0 if member.get("optional") else 1,
                "max": 0 if collection or single else 1,
            }
        else:
            inner = self.block(struct, parents)["attributes"]
            attributes[name] = {"type": ["list", ["object", {key: value["type"] for key, value in inner.items()}]], "required": not member.get("optional"), "computed": True}

    @staticmethod
    def attribute_type(collection, element):
        inner = PRIMITIVES.get(element.get("primitive"), "dynamic")
        if collection is None:
            return inner
        return [{"array": "list", "map": "map"}[collection["kind"]], inner]

    def computed(self, resource, known):
        """Returns the attributes that Google fills in: members of the class that cannot be set."""
        for member in resource.get("properties", []):
            name = snake(member["name"])
            kind = member["type"]
            if not member.get("immutable") or ONLY_IN_TYPESCRIPT.match(member["name"]) or name in known:
                continue
            if "primitive" in kind:
                yield name, {"type": PRIMITIVES[kind["primitive"]], "required": False, "computed": True, "settable": False}
            elif kind.get("fqn") == "cdktf.StringMap":
                yield name, {"type": ["map", "string"], "required": False, "computed": True, "settable": False}

    def schema(self):
        kinds = {RESOURCE: {}, DATA: {}}
        for name, type_ in self.types.items():
            settings = f"{name}Config"
            if type_["kind"] != "class" or type_.get("base") not in kinds or settings not in self.types:
                continue
            block = self.block(settings)
            block["attributes"].update(self.computed(type_, {*block["attributes"], *block["blocks"]}))
            kinds[type_["base"]][TYPE_NAME.search(type_["docs"]["summary"])[1]] = block
        (provider,) = (name for name, type_ in self.types.items() if type_.get("base") == "cdktf.TerraformProvider")
        return {"provider": self.block(f"{provider}Config"), "resource": kinds[RESOURCE], "data": kinds[DATA]}


def main():
    source, target = sys.argv[1:]
    schema = Package(source).schema()
    with open(target, "w", encoding="utf-8") as file:
        json.dump(schema, file, separators=(",", ":"))
    print(f"{len(schema['resource'])} resources, {len(schema['data'])} data sources")


if __name__ == "__main__":
    main()
