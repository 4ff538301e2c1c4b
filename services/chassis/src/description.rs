//! A service's own description, in OpenAPI, and its enforcement: a query parameter that is not
//! described is rejected, and so is a query that is not UTF-8.
//!
//! An unknown parameter is a caller's mistake: if it were ignored, the caller would misread the
//! answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use crate::Problem;

/// The path at which a service publishes its description.
const PATH: &str = "/openapi.json";

/// The names of the query's parameters, by path and method.
struct Parameters(HashMap<(String, String), HashSet<String>>);

/// Publishes the description beside these routes, and answers query parameters that it does not
/// contain with a 400.
///
/// # Panics
/// When the document is not JSON: a mistake in the service, found by its first test.
pub fn described(routes: Router, document: &'static str) -> Router {
    let parsed: Value = serde_json::from_str(document).expect("a description is JSON");
    let parameters = Arc::new(Parameters::of(&parsed));
    let publish = get(async move || ([(header::CONTENT_TYPE, "application/json")], document));
    routes
        .layer(from_fn_with_state(parameters, refuse_unknown))
        .route(PATH, publish)
}

async fn refuse_unknown(
    State(parameters): State<Arc<Parameters>>,
    request: Request,
    next: Next,
) -> Response {
    match parameters.unknown_of(&request) {
        None if !is_utf8(&request) => {
            Problem::bad_request("the query is not UTF-8").into_response()
        }
        None => next.run(request).await,
        Some(name) => Problem::bad_request("this operation has no such query parameter")
            .field(name)
            .into_response(),
    }
}

impl Parameters {
    fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            operations
                .filter(|(method, _)| *method != "parameters")
                .map(move |(method, operation)| {
                    let all = in_query(document, item).chain(in_query(document, operation));
                    ((path.clone(), method.clone()), all.collect())
                })
        });

        Self(operations.collect())
    }

    /// Returns the first query parameter of the request that its operation does not describe.
    /// Returns none if the operation is not described.
    fn unknown_of(&self, request: &Request) -> Option<String> {
        let query = request.uri().query().filter(|query| !query.is_empty())?;
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let method = match *request.method() {
            Method::HEAD => "get".to_owned(),
            ref method => method.as_str().to_ascii_lowercase(),
        };
        let known = self.0.get(&(path.to_owned(), method))?;
        let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);

        names
            .find(|name| !known.contains(name.as_ref()))
            .map(Into::into)
    }
}

/// Returns whether the query is UTF-8. Other bytes would be read as U+FFFD, and a search would find
/// other texts than the one in the query.
fn is_utf8(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .all(|(name, value)| ![name, value].iter().any(|text| text.contains('\u{FFFD}')))
}

/// Returns the names of the query parameters that are listed in `there`.
fn in_query<'a>(document: &'a Value, there: &'a Value) -> impl Iterator<Item = String> + 'a {
    let listed = there["parameters"].as_array().into_iter().flatten();
    listed.filter_map(move |parameter| {
        let reference = parameter["$ref"].as_str();
        let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
        let parameter = pointer.map_or(Some(parameter), |pointer| document.pointer(pointer))?;
        let is_in_query = parameter["in"] == "query";
        is_in_query.then(|| parameter["name"].as_str().map(str::to_owned))?
    })
}
