// Reads schemas of an OpenAPI document: follows references, and makes an example.

// Schemas may refer to themselves.
const DEEPEST = 6;

/** The schema that `value` is or refers to. */
export function resolve(description, value) {
  if (!value?.$ref) return value;
  const steps = value.$ref.replace("#/", "").split("/");
  return resolve(description, steps.reduce((found, step) => found?.[step], description));
}

/** A value that probably fits the schema. */
export function example(description, schema, depth = 0) {
  const own = resolve(description, schema);
  if (!own || depth > DEEPEST) return null;
  if (own.example !== undefined) return own.example;
  if (own.examples?.length) return own.examples[0];
  if (own.default !== undefined) return own.default;
  if (own.enum) return own.enum[0];
  const part = own.oneOf ?? own.anyOf;
  if (part) return example(description, part[0], depth + 1);
  if (own.allOf) return Object.assign({}, ...own.allOf.map((one) => example(description, one, depth + 1)));
  return ofType(description, own, depth);
}

function ofType(description, own, depth) {
  const type = [own.type].flat().find((type) => type !== "null");
  if (type === "array") return [example(description, own.items, depth + 1)];
  if (type === "object" || own.properties) {
    const fields = Object.entries(own.properties ?? {}).filter(([, field]) => !resolve(description, field)?.readOnly);
    return Object.fromEntries(fields.map(([name, field]) => [name, example(description, field, depth + 1)]));
  }
  if (type === "integer" || type === "number") return own.minimum ?? 1;
  if (type === "boolean") return false;
  if (own.format === "uuid") return "00000000-0000-0000-0000-000000000000";
  return own.format === "email" ? "somebody@example.org" : "";
}
