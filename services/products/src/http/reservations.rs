//! Reservations of stock, for the orders service.

use axum::extract::State;
use axum::http::StatusCode;
use chassis::auth::Trusted;
use chassis::{Json, Path, Problem, Result};
use events::Timestamp;

use crate::reservation::{self, Basket, Request, Reservation, Status};
use crate::store::Store;
use crate::store::reservations::Reserved;

/// Reserves stock: 201 if it is reserved now, 200 if it was reserved before under this key.
pub(super) async fn reserve(
    _: Trusted,
    State(store): State<Store>,
    Json(request): Json<Request>,
) -> Result<(StatusCode, Json<Reservation>)> {
    let basket = Basket::parse(&request)?;
    match store.reserve(&basket).await? {
        Reserved::Now(reservation) => Ok((StatusCode::CREATED, Json(reservation))),
        Reserved::Before(reservation) => Ok((StatusCode::OK, Json(reservation))),
        Reserved::KeyTaken(Status::Held) => {
            Err(Problem::unprocessable("this key was used for other items").field("key"))
        }
        Reserved::KeyTaken(Status::Released) => {
            Err(Problem::conflict("the reservation of this key was released").field("key"))
        }
        Reserved::Unknown(id) => {
            let field = field_of(&request, |product_id| product_id == id, "product_id");
            Err(Problem::unprocessable(format!("there is no product {id}")).field(field))
        }
        Reserved::Short(product) => {
            let left = product.details.stock.unwrap_or_default();
            let field = field_of(&request, |id| id == product.id, "quantity");
            let name = &product.details.name;

            Err(
                Problem::conflict(format!("only {left} left of {name:?} ({})", product.id))
                    .field(field),
            )
        }
    }
}

/// Releases the key's reservation. Repeating the request has no effect. A key without a reservation
/// can never be reserved afterwards.
pub(super) async fn release(
    _: Trusted,
    State(store): State<Store>,
    Path(key): Path<String>,
) -> Result<StatusCode> {
    reservation::check_key(&key)?;
    store.release(&key, Timestamp::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn show(
    _: Trusted,
    State(store): State<Store>,
    Path(key): Path<String>,
) -> Result<Json<Reservation>> {
    reservation::check_key(&key)?;
    let found = store.reservation(&key).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("nothing was ever reserved under this key"))
}

fn field_of(request: &Request, is_meant: impl Fn(uuid::Uuid) -> bool, field: &str) -> String {
    let index = request
        .items
        .iter()
        .position(|item| is_meant(item.product_id))
        .unwrap_or_default();
    format!("items[{index}].{field}")
}
