//! The contract with clients.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::Client;
use crate::databases::on_each_database;

fn demo() -> Value {
    json!({"name": "Demo User", "email": "demo@test.com"})
}

async fn check(test: impl AsyncFn(Client)) {
    on_each_database(async |database| test(Client::new(database).await).await).await;
}

#[tokio::test]
async fn a_user_is_created_with_an_id_and_found_at_its_location() {
    check(async |client| {
        let created = client.post(demo()).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        assert!(created.body["id"].as_i64().unwrap() > 0);
        assert_eq!(created.body["phone"], Value::Null);

        let found = client.get(&created.location.unwrap()).await;
        assert_eq!(found.status, StatusCode::OK);
        assert_eq!(found.body, created.body);
    })
    .await;
}

#[tokio::test]
async fn ids_do_not_count_the_users() {
    check(async |client| {
        let mut ids = Vec::new();
        for name in ["ada", "bob", "eve"] {
            let email = format!("{name}@test.com");
            let created = client.post(json!({"name": name, "email": email})).await;
            ids.push(created.body["id"].as_i64().unwrap());
        }

        assert!(
            ids.iter().all(|id| (1 << 40..1 << 53).contains(id)),
            "{ids:?}"
        );
        assert_ne!(ids[1] - ids[0], 1, "{ids:?}");
        assert_ne!(ids[1] - ids[0], ids[2] - ids[1], "{ids:?}");
    })
    .await;
}

#[tokio::test]
async fn names_in_any_script_come_back_as_they_were() {
    check(async |client| {
        let created = client
            .post(json!({"name": "Zoë 東京 🛒", "email": "zoe@test.com"}))
            .await;
        let found = client.get(&created.location.unwrap()).await;
        assert_eq!(found.body["name"], "Zoë 東京 🛒");
    })
    .await;
}

#[tokio::test]
async fn a_password_never_comes_back() {
    check(async |client| {
        let mut new = demo();
        new["password"] = json!("correct horse");
        let created = client.post(new).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);

        let listed = client.get("/users").await;
        for body in [created.body, listed.body] {
            let text = body.to_string();
            assert!(
                !text.contains("horse") && !text.contains("argon2") && !text.contains("password"),
                "{text}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn another_address_needs_the_password_of_an_account_that_has_one() {
    check(async |client| {
        let password = "correct horse battery";
        let mut new = demo();
        new["password"] = json!(password);
        let path = client.post(new).await.location.unwrap();
        let change = async |given: Value| {
            let mut body = json!({"email": "new@test.com"});
            body["current_password"] = given;
            client.patch(&path, body).await
        };

        change(Value::Null)
            .await
            .assert_problem(422, Some("current_password"));
        change(json!("not the right one"))
            .await
            .assert_problem(403, Some("current_password"));
        assert_eq!(client.get(&path).await.body["email"], "demo@test.com");

        // The address that the account already has is not a change.
        let same = json!({"name": "Grace", "email": "DEMO@test.com"});
        assert_eq!(client.patch(&path, same).await.body["name"], "Grace");
        assert_eq!(change(json!(password)).await.body["email"], "new@test.com");

        // An account without a password changes its address without a password.
        let other = json!({"name": "Eve", "email": "eve@test.com"});
        let eve = client.post(other).await.location.unwrap();
        let moved = client.patch(&eve, json!({"email": "eve2@test.com"})).await;
        assert_eq!(moved.body["email"], "eve2@test.com");
    })
    .await;
}

#[tokio::test]
async fn addresses_cannot_be_probed_without_the_password() {
    check(async |client| {
        client.post(demo()).await;
        let mallory =
            json!({"name": "M", "email": "m@test.com", "password": "correct horse battery"});
        let path = client.post(mallory).await.location.unwrap();
        for address in ["demo@test.com", "nobody@test.com"] {
            client
                .patch(&path, json!({ "email": address }))
                .await
                .assert_problem(422, Some("current_password"));
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_valid_is_a_422_naming_its_field() {
    check(async |client| {
        for (field, value) in [
            ("name", json!("")),
            ("name", json!(7)),
            ("email", json!("nobody")),
            ("phone", json!("1")),
        ] {
            let mut new = demo();
            new[field] = value;
            client.post(new).await.assert_problem(422, Some(field));
        }

        client
            .post(json!({"name": "Demo"}))
            .await
            .assert_problem(422, Some("email"));

        client
            .post(json!({"name": "D", "email": "d@test.com", "password": "short"}))
            .await
            .assert_problem(422, Some("password"));

        client
            .post(json!({"name": "D", "email": "d@test.com", "role": "admin"}))
            .await
            .assert_problem(422, Some("role"));

        assert_eq!(
            client.get("/users").await.body,
            json!({"items": [], "next": null})
        );
    })
    .await;
}

#[tokio::test]
async fn a_change_touches_only_what_it_names() {
    check(async |client| {
        let mut new = demo();
        new["phone"] = json!("+1 555 010 9999");
        let path = client.post(new).await.location.unwrap();
        let renamed = client.patch(&path, json!({"name": "Ada"})).await;
        assert_eq!(renamed.body["name"], "Ada");
        assert_eq!(renamed.body["phone"], "+15550109999");

        let without_phone = client.patch(&path, json!({"phone": null})).await;
        assert_eq!(without_phone.body["phone"], Value::Null);
        assert_eq!(without_phone.body["email"], "demo@test.com");
        assert_eq!(client.get(&path).await.body, without_phone.body);

        client
            .patch(&path, json!({"id": 9}))
            .await
            .assert_problem(422, Some("id"));
    })
    .await;
}

#[tokio::test]
async fn a_deleted_user_is_gone() {
    check(async |client| {
        let path = client.post(demo()).await.location.unwrap();
        assert_eq!(
            client.send(Method::DELETE, &path, None).await.status,
            StatusCode::NO_CONTENT
        );

        client.get(&path).await.assert_problem(404, None);
        client
            .send(Method::DELETE, &path, None)
            .await
            .assert_problem(404, None);

        client
            .patch(&path, json!({"name": "Ada"}))
            .await
            .assert_problem(404, None);

        assert_eq!(client.post(demo()).await.status, StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn the_list_shows_every_user_once_in_pages() {
    check(async |client| {
        for number in 0..5 {
            client
                .post(json!({"name": "Demo", "email": format!("demo{number}@test.com")}))
                .await;
        }

        let mut emails = Vec::new();
        let mut path = "/users?limit=2".to_owned();
        loop {
            let page = client.get(&path).await.body;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);

            emails.extend(
                items
                    .iter()
                    .map(|user| user["email"].as_str().unwrap().to_owned()),
            );

            let Some(next) = page["next"].as_str() else {
                break;
            };

            path = format!("/users?limit=2&cursor={next}");
        }

        let expected: Vec<String> = (0..5)
            .map(|number| format!("demo{number}@test.com"))
            .collect();
        assert_eq!(emails, expected);
    })
    .await;
}

#[tokio::test]
async fn queries_and_paths_of_the_wrong_form_are_a_400() {
    check(async |client| {
        client
            .get("/users?limit=0")
            .await
            .assert_problem(400, Some("limit"));

        client
            .get("/users?limit=101")
            .await
            .assert_problem(400, Some("limit"));

        client
            .get("/users?cursor=!")
            .await
            .assert_problem(400, Some("cursor"));

        client
            .get("/users/first")
            .await
            .assert_problem(400, Some("id"));

        client.get("/users/999999").await.assert_problem(404, None);
        client
            .send(Method::PUT, "/users", None)
            .await
            .assert_problem(405, None);
    })
    .await;
}
