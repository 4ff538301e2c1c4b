//! Payments: money and orders agree after any answer of the provider, even a late one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, Request};
use chassis::Shutdown;
use futures::future::join_all;
use orders::{Answer, Charge, Decision, Provider, ProviderError};
use serde_json::{Value, json};
use testbed::Identities;
use uuid::Uuid;

use crate::databases::on_each_database;
use crate::shop::{Reply, Shop};

/// A provider that records its calls, by payment.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    is_away: bool,
    calls: BTreeMap<Uuid, Vec<&'static str>>,
}

impl Bank {
    fn set_away(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    fn calls(&self, payment: &Value) -> Vec<&'static str> {
        let id = payment["id"].as_str().unwrap().parse().unwrap();
        self.0
            .lock()
            .unwrap()
            .calls
            .get(&id)
            .cloned()
            .unwrap_or_default()
    }

    fn all_calls(&self) -> Vec<&'static str> {
        let mut calls: Vec<_> = self
            .0
            .lock()
            .unwrap()
            .calls
            .values()
            .flatten()
            .copied()
            .collect();
        calls.sort_unstable();
        calls
    }

    fn note(&self, payment: Uuid, call: &'static str) -> Result<(), ProviderError> {
        let mut books = self.0.lock().unwrap();
        if books.is_away {
            return Err(ProviderError("it is closed".to_owned()));
        }
        books.calls.entry(payment).or_default().push(call);
        Ok(())
    }

    fn done(&self, payment: Uuid, call: &'static str) -> Answer<'_, ()> {
        Box::pin(std::future::ready(self.note(payment, call)))
    }
}

impl Provider for Bank {
    fn authorise<'a>(&'a self, charge: Charge<'a>) -> Answer<'a, Decision> {
        let decision = match charge.token {
            "good" => Decision::Authorised,
            "slow" => Decision::Later,
            _ => Decision::Declined("no funds".to_owned()),
        };
        let noted = self.note(charge.payment, "authorise").map(|()| decision);
        Box::pin(std::future::ready(noted))
    }

    fn capture(&self, payment: Uuid) -> Answer<'_, ()> {
        self.done(payment, "capture")
    }

    fn void(&self, payment: Uuid) -> Answer<'_, ()> {
        self.done(payment, "void")
    }

    fn refund(&self, payment: Uuid) -> Answer<'_, ()> {
        self.done(payment, "refund")
    }
}

/// A shop with an unpaid order of three lamps.
struct Case {
    shop: Shop,
    bank: Bank,
    order: i64,
    lamp: Uuid,
}

async fn check(test: impl AsyncFn(Case)) {
    on_each_database(async |database| {
        let bank = Bank::default();
        let shop = Shop::open_paying(database, Arc::new(bank.clone())).await;
        let lamp = shop.catalogue.add(1000, "USD", 9);
        let order = shop.post(shop.order(&[(lamp, 3)])).await.id();
        test(Case {
            shop,
            bank,
            order,
            lamp,
        })
        .await;
    })
    .await;
}

impl Case {
    async fn pay(&self, token: &str) -> Reply {
        let path = format!("/orders/{}/payments", self.order);
        self.shop
            .send(Request::post(path), Some(json!({ "token": token })))
            .await
    }

    async fn report(&self, payment: &Value, status: &str) -> Reply {
        let body = json!({"payment_id": payment["id"], "status": status, "reason": "no funds"});
        self.shop
            .send(Request::post("/orders/payments/events"), Some(body))
            .await
    }

    async fn status(&self) -> String {
        let order = self
            .shop
            .get(&format!("/orders/{}", self.order))
            .await
            .json();
        order["status"].as_str().unwrap().to_owned()
    }

    async fn payments(&self) -> Vec<Value> {
        let page = self
            .shop
            .get(&format!("/orders/{}/payments", self.order))
            .await
            .json();
        page["items"].as_array().unwrap().clone()
    }

    async fn states(&self) -> Vec<String> {
        let state = |payment: &Value| payment["status"].as_str().unwrap().to_owned();
        self.payments().await.iter().map(state).collect()
    }

    async fn expire(&self) {
        let mut transaction = self.shop.database.write().await.unwrap();
        sqlx::query("UPDATE orders SET expires_at_ms = 1")
            .execute(transaction.connection())
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        self.work_until(async || self.status().await == "expired")
            .await;
    }

    /// Makes the payments appear older than half a minute, and runs the background work until the condition holds.
    async fn work_until(&self, holds: impl AsyncFn() -> bool) {
        self.work(async || {
            let is_held = holds().await;
            if !is_held {
                let mut transaction = self.shop.database.write().await.unwrap();
                sqlx::query("UPDATE payments SET updated_at_ms = 1")
                    .execute(transaction.connection())
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
            }
            is_held
        })
        .await;
    }

    /// Runs the background work until the condition holds.
    async fn work(&self, holds: impl AsyncFn() -> bool) {
        let shutdown = Shutdown::new();
        let until = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            shutdown.request();
        };

        let work = async { tokio::join!(self.shop.service.work(&shutdown), until) };
        tokio::time::timeout(Duration::from_secs(30), work)
            .await
            .expect("the condition did not hold in time");
    }
}

#[tokio::test]
async fn a_payment_is_authorised_and_captured_and_pays_the_order() {
    check(async |at| {
        let paid = at.pay("good").await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        let payment = paid.json();
        assert_eq!(
            (
                payment["status"].as_str(),
                payment["total_cents"].as_u64(),
                payment["order_id"].as_i64()
            ),
            (Some("captured"), Some(3000), Some(at.order))
        );
        assert!(
            !paid.text.contains("good"),
            "the token must not be returned"
        );
        assert_eq!(at.status().await, "paid");
        assert_eq!(at.bank.calls(&payment), ["authorise", "capture"]);
        assert_eq!(at.payments().await, [payment]);

        at.pay("good").await.assert_problem(409, Some("status"));
        assert_eq!(at.bank.all_calls().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_declined_payment_leaves_the_order_to_be_paid() {
    check(async |at| {
        let declined = at.pay("bad").await;
        declined.assert_problem(422, Some("token"));
        assert!(declined.text.contains("no funds"), "{}", declined.text);
        assert_eq!(at.status().await, "pending");

        assert_eq!(at.pay("good").await.status, 201);
        assert_eq!(at.states().await, ["declined", "captured"]);
    })
    .await;
}

#[tokio::test]
async fn cards_are_not_tried_without_end() {
    check(async |at| {
        for _ in 0..10 {
            at.pay("bad").await.assert_problem(422, Some("token"));
        }
        at.pay("good").await.assert_problem(409, Some("token"));
        assert_eq!(at.bank.all_calls().len(), 10);
    })
    .await;
}

#[tokio::test]
async fn a_report_that_comes_late_and_twice_pays_once() {
    check(async |at| {
        let later = at.pay("slow").await;
        assert_eq!(
            (later.status.as_u16(), later.json()["status"].as_str()),
            (202, Some("pending"))
        );
        assert_eq!(at.status().await, "pending");

        for _ in 0..2 {
            assert_eq!(at.report(&later.json(), "captured").await.status, 204);
            assert_eq!(at.status().await, "paid");
        }
        // A late report of an earlier state changes nothing, and neither does a contradictory one.
        assert_eq!(at.report(&later.json(), "authorised").await.status, 204);
        assert_eq!(at.report(&later.json(), "declined").await.status, 204);
        assert_eq!(at.states().await, ["captured"]);
        assert_eq!(at.shop.count("outbox").await, 2);
    })
    .await;
}

#[tokio::test]
async fn reports_at_the_same_time_pay_once() {
    check(async |at| {
        let later = at.pay("slow").await.json();
        let reports = join_all((0..8).map(|_| at.report(&later, "captured"))).await;
        assert!(reports.iter().all(|reply| reply.status == 204));
        assert_eq!(
            (at.status().await.as_str(), at.shop.count("outbox").await),
            ("paid", 2)
        );
    })
    .await;
}

#[tokio::test]
async fn money_for_an_expired_order_goes_back() {
    check(async |at| {
        let later = at.pay("slow").await.json();
        at.expire().await;
        for _ in 0..2 {
            assert_eq!(at.report(&later, "captured").await.status, 204);
        }
        assert_eq!(at.states().await, ["refunded"]);
        assert_eq!(at.status().await, "refunded");
        let calls = at.bank.calls(&later);
        assert_eq!(calls.iter().filter(|call| **call == "refund").count(), 1);
        at.shop.return_stock().await;
        assert_eq!(at.shop.catalogue.stock(at.lamp), 9);
    })
    .await;
}

#[tokio::test]
async fn money_that_is_only_held_for_an_expired_order_is_let_go() {
    check(async |at| {
        let later = at.pay("slow").await.json();
        at.expire().await;
        assert_eq!(at.report(&later, "authorised").await.status, 204);
        assert_eq!(
            (at.states().await, at.status().await.as_str()),
            (vec!["voided".to_owned()], "expired")
        );
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_order_gets_its_money_back() {
    check(async |at| {
        let payment = at.pay("good").await.json();
        assert_eq!(at.shop.set_status(at.order, "cancelled").await.status, 200);
        at.work_until(async || at.status().await == "refunded")
            .await;
        assert_eq!(at.bank.calls(&payment), ["authorise", "capture", "refund"]);
        assert_eq!(at.states().await, ["refunded"]);
        assert_eq!(at.shop.catalogue.stock(at.lamp), 9);
    })
    .await;
}

#[tokio::test]
async fn a_refund_of_a_delivered_order_does_not_release_its_stock() {
    check(async |at| {
        let payment = at.pay("good").await.json();
        for status in ["shipped", "delivered", "refunded"] {
            assert_eq!(at.shop.set_status(at.order, status).await.status, 200);
        }
        at.work_until(async || at.states().await == ["refunded"])
            .await;
        assert_eq!(at.bank.calls(&payment), ["authorise", "capture", "refund"]);
        assert_eq!(at.shop.catalogue.stock(at.lamp), 6);
    })
    .await;
}

#[tokio::test]
async fn of_two_payments_at_the_same_time_one_pays_and_the_others_go_back() {
    check(async |at| {
        let replies = join_all((0..4).map(|_| at.pay("good"))).await;
        let paid = replies.iter().filter(|reply| reply.status == 201);
        assert_eq!(paid.count(), 1, "no other reply reads as if it had paid");
        at.work_until(async || {
            let states = at.states().await;
            states
                .iter()
                .all(|state| ["captured", "voided", "refunded"].contains(&state.as_str()))
        })
        .await;

        let states = at.states().await;
        assert_eq!(
            states.iter().filter(|state| *state == "captured").count(),
            1,
            "{states:?}"
        );
        assert_eq!(
            (at.status().await.as_str(), at.shop.count("outbox").await),
            ("paid", 2)
        );
    })
    .await;
}

#[tokio::test]
async fn a_payment_whose_provider_was_away_is_taken_to_its_end() {
    check(async |at| {
        at.bank.set_away(true);
        let refused = at.pay("good").await;
        refused.assert_problem(503, None);
        assert_eq!(
            (at.states().await, at.status().await.as_str()),
            (vec!["pending".to_owned()], "pending")
        );

        // An interrupted payment is due at once, not only after half a minute.
        at.bank.set_away(false);
        at.work(async || at.states().await == ["captured"]).await;
        assert_eq!(at.status().await, "paid");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_payment_is_a_4xx_naming_its_field() {
    check(async |at| {
        for token in [
            json!(""),
            json!("a b"),
            json!("x".repeat(129)),
            json!(7),
            Value::Null,
        ] {
            let path = format!("/orders/{}/payments", at.order);
            let body = Some(json!({ "token": token }));
            at.shop
                .send(Request::post(path), body)
                .await
                .assert_problem(422, Some("token"));
        }
        at.shop
            .send(
                Request::post("/orders/999999/payments"),
                Some(json!({"token": "good"})),
            )
            .await
            .assert_problem(404, None);

        let unknown = json!({"id": Uuid::now_v7()});
        at.report(&unknown, "captured")
            .await
            .assert_problem(404, Some("payment_id"));
        at.report(&unknown, "voided")
            .await
            .assert_problem(422, Some("status"));
        assert!(at.payments().await.is_empty() && at.bank.all_calls().is_empty());
    })
    .await;
}

#[tokio::test]
async fn only_the_owner_pays_and_only_services_report() {
    on_each_database(async |database| {
        let identities = Identities::default();
        let shop = Shop::open_enforced(database, &identities.auth).await;
        let ada = identities.user(shop.user_id);
        let bob = identities.user(shop.add_user("bob@test.com").await);
        let lamp = shop.catalogue.add(1, "USD", 9);
        let order = shop
            .send_as(
                &ada,
                Method::POST,
                "/orders",
                Some(shop.order(&[(lamp, 1)])),
            )
            .await
            .id();

        let path = format!("/orders/{order}/payments");
        let token = Some(json!({"token": "sim-later"}));
        for method in [Method::GET, Method::POST] {
            let body = token.clone().filter(|_| method == Method::POST);
            shop.send_as(&bob, method, &path, body)
                .await
                .assert_problem(404, None);
        }

        let payment = shop.send_as(&ada, Method::POST, &path, token).await;
        assert_eq!(payment.status, 202, "{}", payment.text);
        let report = Some(json!({"payment_id": payment.json()["id"], "status": "captured"}));
        for customer in [&ada, &bob] {
            shop.send_as(
                customer,
                Method::POST,
                "/orders/payments/events",
                report.clone(),
            )
            .await
            .assert_problem(403, None);
        }

        let service = identities.service();
        let reported = shop
            .send_as(&service, Method::POST, "/orders/payments/events", report)
            .await;
        assert_eq!(reported.status, 204);
        let seen = shop.send_as(&ada, Method::GET, &path, None).await.json();
        assert_eq!(seen["items"][0]["status"], "captured");
    })
    .await;
}
