//! The REST interface of the catalogue.

mod listing;
mod reservations;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use chassis::auth::{Admin, Trusted};
use chassis::{Json, Path, Problem, Result, described, in_one_line};
use events::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::precondition::{self, IfMatch};
use crate::product::{Details, Invalid, Object, Product};
use crate::store::{NotChanged, Store, StoreError};

/// The OpenAPI description of the service.
const DESCRIPTION: &str = include_str!("../openapi.json");
/// The field of a patch that names the version of the stock it was decided on.
const STOCK_VERSION: &str = "stock_version";

/// Returns the routes of this service.
pub fn router(store: Store) -> Router {
    let routes = Router::new()
        .route("/products", get(listing::list).post(create))
        .route(
            "/products/{id}",
            get(show).put(add).patch(patch).delete(remove),
        )
        .route("/products/reservations", post(reservations::reserve))
        .route(
            "/products/reservations/{key}",
            delete(reservations::release).get(reservations::show),
        )
        .with_state(store);
    described(routes, DESCRIPTION)
}

/// A product as a reply, with its entity tag.
struct Shown(Product);

async fn create(
    _: Trusted,
    State(store): State<Store>,
    Json(body): Json<Object>,
) -> Result<Response> {
    let product = Product::new(Uuid::now_v7(), Details::parse(body)?, Timestamp::now());
    store.create(&product).await?;
    let location = format!("/products/{}", product.id);

    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Shown(product),
    )
        .into_response())
}

/// Adds a product under an id that the caller chooses, so that the request can be repeated. It
/// never replaces a product: the caller must send `If-None-Match: *`.
async fn add(
    _: Trusted,
    State(store): State<Store>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(body): Json<Object>,
) -> Result<Response> {
    precondition::require_none(&headers)?;
    let product = Product::new(id, Details::parse(body)?, Timestamp::now());
    match store.create(&product).await {
        Err(StoreError::Changed) => Err(precondition::exists()),
        outcome => Ok(outcome.map(|()| (StatusCode::CREATED, Shown(product)).into_response())?),
    }
}

async fn show(
    State(store): State<Store>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response> {
    let product = store.get(id).await?.ok_or_else(missing)?;
    if precondition::is_known(&headers, product.version)? {
        let tag = precondition::tag(product.version);
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(Shown(product).into_response())
}

/// Applies a merge patch. Without preconditions it applies to the newest version. Fields that it does
/// not name are never overwritten. A client that sets the stock should send the `stock_version` that
/// it has read, because orders may be taking from the stock.
async fn patch(
    _: Trusted,
    State(store): State<Store>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(mut patch): Json<Object>,
) -> Result<Shown> {
    let wanted = IfMatch::of(&headers)?;
    let stock_version = patch.remove(STOCK_VERSION);
    let change = |product: &Product| -> Result<Product> {
        wanted.check(product.version)?;
        precondition::require_unknown(&headers, product.version)?;
        if let Some(version) = &stock_version {
            require_stock_version(version, product)?;
        }
        Ok(product.patched(&patch, Timestamp::now())?)
    };

    store
        .change(id, change)
        .await
        .map(Shown)
        .map_err(|error| match error {
            NotChanged::Missing => missing(),
            NotChanged::Refused(problem) => problem,
            NotChanged::Store(error) => error.into(),
        })
}

/// Checks that the stock is at the version that the client decided on.
fn require_stock_version(wanted: &Value, product: &Product) -> Result<()> {
    let Some(wanted) = wanted.as_u64() else {
        let detail = "stock_version must be the whole number that was read with the product";
        return Err(Problem::unprocessable(detail).field(STOCK_VERSION));
    };
    if wanted == product.stock_version {
        return Ok(());
    }

    let detail = format!(
        "the stock is at version {}, not {wanted}: it has changed since; read the product again",
        product.stock_version
    );
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail).field(STOCK_VERSION))
}

async fn remove(
    _: Admin,
    State(store): State<Store>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    let wanted = IfMatch::of(&headers)?;
    let mut version = None;
    if wanted != IfMatch::Anything {
        let product = store.get(id).await?.ok_or_else(missing)?;
        wanted.check(product.version)?;
        version = Some(product.version);
    }

    match store.delete(id, version).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing()),
    }
}

fn missing() -> Problem {
    Problem::not_found("there is no such product")
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        // A sale does not change the tag, so a cache that compares tags would show an old stock.
        let headers = [
            (header::ETAG, precondition::tag(self.0.version)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (headers, Json(self.0)).into_response()
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::unprocessable(invalid.to_string()).field(invalid.field)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Changed => precondition::changed(),
            StoreError::Busy => {
                Self::unavailable("too many other requests change the same product; try again")
            }
            StoreError::Unreadable(error) => Self::internal(error),
            StoreError::DynamoDb(error) => {
                tracing::warn!(error = in_one_line(&*error), "DynamoDB failed");
                Self::unavailable("the catalogue cannot be reached; try again")
            }
        }
    }
}
