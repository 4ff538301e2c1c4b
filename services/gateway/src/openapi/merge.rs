//! Merges several OpenAPI documents into one. Pure.
//!
//! Names of different services must not collide: components and operation ids get the service's
//! name as a prefix, and references follow. Only paths below the service's noun are taken: health
//! and metrics stay internal.

use serde_json::{Map, Value, json};

use crate::proxy::PREFIX;

/// A service's description.
pub(super) struct Part {
    pub(super) service: &'static str,
    pub(super) document: Value,
}

/// Returns one document of all parts. `missing` names the services whose description is not
/// available.
pub(super) fn merge(parts: Vec<Part>, missing: &[&str]) -> Value {
    let mut paths = Map::new();
    let mut components: Map<String, Value> = Map::new();
    for Part {
        service,
        mut document,
    } in parts
    {
        rename(&mut document, service);
        for (path, item) in taken(&mut document, "paths") {
            if is_public(&path, service) {
                paths.insert(format!("{PREFIX}{path}"), tagged(item, service));
            }
        }

        for (kind, members) in taken(&mut document, "components") {
            let target = components.entry(kind.clone()).or_insert_with(|| json!({}));
            if let (Some(target), Value::Object(members)) = (target.as_object_mut(), members) {
                target.extend(
                    members
                        .into_iter()
                        .map(|(name, member)| (own_name(&kind, service, &name), member)),
                );
            }
        }
    }

    json!({
        "openapi": "3.1.0",
        "info": {"title": "Tidemark", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
        "x-missing": missing,
    })
}

fn taken(document: &mut Value, field: &str) -> Map<String, Value> {
    match document.get_mut(field).map(Value::take) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Returns whether a path is public: for users, `/users` and the paths below it, except those that
/// the gateway hides.
fn is_public(path: &str, service: &str) -> bool {
    let rest = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(service));

    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        && !crate::HIDDEN.iter().any(|hidden| {
            hidden
                .strip_prefix(PREFIX)
                .is_some_and(|hidden| path.starts_with(hidden))
        })
}

/// Tags operations that have no tag with their service.
fn tagged(mut item: Value, service: &str) -> Value {
    let operations = item.as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in operations
        .filter_map(Value::as_object_mut)
        .filter(|fields| fields.contains_key("responses"))
    {
        operation.insert("tags".to_owned(), json!([service]));
    }

    item
}

/// Returns a component's name in the merged document. Security schemes are shared and keep their
/// names, because operations require them by name; all others get the service's prefix.
fn own_name(kind: &str, service: &str, name: &str) -> String {
    if kind == "securitySchemes" {
        name.to_owned()
    } else {
        format!("{service}.{name}")
    }
}

/// Applies the new names to all references: `$ref`, a discriminator's mapping, a link.
fn rename(value: &mut Value, service: &str) {
    match value {
        Value::Array(members) => members
            .iter_mut()
            .for_each(|member| rename(member, service)),
        Value::Object(fields) => fields.iter_mut().for_each(|(field, value)| match value {
            Value::String(id) if field == "operationId" => *id = format!("{service}.{id}"),
            value => rename(value, service),
        }),
        Value::String(text) if text.starts_with("#/components/") => {
            *text = renamed_reference(text, service);
        }
        _ => {}
    }
}

fn renamed_reference(target: &str, service: &str) -> String {
    let component = target
        .strip_prefix("#/components/")
        .and_then(|rest| rest.split_once('/'));
    match component {
        Some((kind, name)) => format!("#/components/{kind}/{}", own_name(kind, service, name)),
        None => target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(service: &'static str) -> Part {
        let noun = format!("/{service}");
        let reference = json!({"$ref": "#/components/schemas/Item"});
        let links = json!({"again": {"operationId": "list"}});
        let listing = json!({"get": {"operationId": "list", "responses": {"200": {"schema": reference, "links": links}}}});

        let document = json!({
            "openapi": "3.1.0",
            "paths": {noun: listing, "/health": {"get": {"responses": {}}}, "/usersandmore": {}},
            "components": {
                "schemas": {"Item": {"title": service, "properties": {"operationId": {"type": "string"}}}},
                "securitySchemes": {"token": {"type": "http"}},
            },
        });

        Part { service, document }
    }

    #[test]
    fn what_services_call_alike_stays_apart_and_references_follow() {
        let merged = merge(vec![part("users"), part("orders")], &["products"]);
        for service in ["users", "orders"] {
            let operation = &merged["paths"][format!("/api/{service}")]["get"];
            assert_eq!(operation["operationId"], format!("{service}.list"));
            assert_eq!(operation["tags"], json!([service]));

            assert_eq!(
                operation["responses"]["200"]["links"]["again"]["operationId"],
                format!("{service}.list")
            );

            let target = format!("#/components/schemas/{service}.Item");
            assert_eq!(operation["responses"]["200"]["schema"]["$ref"], target);
            assert_eq!(
                merged["components"]["schemas"][format!("{service}.Item")]["title"],
                service
            );
        }

        assert_eq!(
            merged["components"]["securitySchemes"],
            json!({"token": {"type": "http"}})
        );
        assert_eq!(merged["x-missing"], json!(["products"]));
    }

    #[test]
    fn only_what_clients_can_reach_is_described() {
        let mut products = part("products");
        products.document["paths"]["/products/reservations"] = json!({"post": {"responses": {}}});
        let merged = merge(vec![products], &[]);
        let paths: Vec<&String> = merged["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/api/products"]);
    }

    #[test]
    fn a_document_that_is_no_object_adds_nothing() {
        let merged = merge(
            vec![Part {
                service: "users",
                document: json!([1]),
            }],
            &[],
        );
        assert_eq!(merged["paths"], json!({}));
    }
}
