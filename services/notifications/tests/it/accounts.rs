//! A users service that knows whom the test wants it to know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Users by id, and how often they were asked for.
#[derive(Clone, Default)]
pub struct Accounts(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    users: HashMap<u64, Value>,
    asked: usize,
    is_away: bool,
}

impl Accounts {
    /// Users 1 to 50, with an e-mail address and a telephone number each.
    pub fn of_fifty() -> Self {
        let accounts = Self::default();
        (1..=50).for_each(|id| accounts.set(id, Some(&format!("+4912345{id:05}"))));
        accounts
    }

    pub fn set(&self, id: u64, phone: Option<&str>) {
        let user =
            json!({"id": id, "name": "Ada", "email": format!("user{id}@test.com"), "phone": phone});
        self.0.lock().unwrap().users.insert(id, user);
    }

    pub fn remove(&self, id: u64) {
        self.0.lock().unwrap().users.remove(&id);
    }

    pub fn set_away(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    /// Serves on a port of its own; the address is its base.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/users/{id}", get(show))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });

        url
    }
}

async fn show(State(accounts): State<Accounts>, Path(id): Path<u64>) -> Response {
    let mut known = accounts.0.lock().unwrap();
    known.asked += 1;
    match known.users.get(&id) {
        _ if known.is_away => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(user) => Json(user.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
