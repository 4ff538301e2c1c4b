//! The rights of callers if they must authenticate.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use users::Config;

use crate::client::Client;
use crate::databases::on_each_database;

const ADMIN: &str = "admin@test.com";
const PASSWORD: &str = "correct horse";

fn config() -> Config {
    Config {
        users_admin_email: Some(ADMIN.parse().unwrap()),
        users_admin_password: Some(PASSWORD.parse().unwrap()),
        ..Config::default()
    }
}

async fn check(test: impl AsyncFn(Client)) {
    on_each_database(async |database| test(Client::enforced(database, &config()).await).await)
        .await;
}

/// Signs up and logs in. Returns the client, and the path of the account.
async fn somebody(client: &Client, email: &str) -> (Client, String) {
    let created = client
        .post(json!({"name": "Demo", "email": email, "password": PASSWORD}))
        .await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);

    (
        client.logged_in(email, PASSWORD).await,
        created.location.unwrap(),
    )
}

#[tokio::test]
async fn signing_up_is_open_and_wants_a_password() {
    check(async |client| {
        client
            .post(json!({"name": "Demo", "email": "demo@test.com"}))
            .await
            .assert_problem(422, Some("password"));
        let (demo, path) = somebody(&client, "demo@test.com").await;
        assert_eq!(demo.get(&path).await.body["email"], "demo@test.com");
    })
    .await;
}

#[tokio::test]
async fn a_user_sees_and_changes_its_own_account_and_no_other() {
    check(async |client| {
        let (ada, hers) = somebody(&client, "ada@test.com").await;
        let (_, his) = somebody(&client, "bob@test.com").await;
        for path in [&his, "/users/999999"] {
            ada.get(path).await.assert_problem(403, None);
            ada.patch(path, json!({"name": "Eve"}))
                .await
                .assert_problem(403, None);
            ada.send(Method::DELETE, path, None)
                .await
                .assert_problem(403, None);

            let password = json!({"current_password": PASSWORD, "new_password": "battery staple"});
            ada.send(Method::PUT, &format!("{path}/password"), Some(password))
                .await
                .assert_problem(403, None);
            client.get(path).await.assert_problem(401, None);
        }

        assert_eq!(
            ada.patch(&hers, json!({"name": "Ada"})).await.body["name"],
            "Ada"
        );
    })
    .await;
}

#[tokio::test]
async fn an_access_token_alone_closes_no_account() {
    check(async |client| {
        let (ada, hers) = somebody(&client, "ada@test.com").await;
        for body in [
            None,
            Some(json!({})),
            Some(json!({"current_password": null})),
        ] {
            ada.send(Method::DELETE, &hers, body)
                .await
                .assert_problem(422, Some("current_password"));
        }

        let wrong = json!({"current_password": "wrong horse"});
        ada.send(Method::DELETE, &hers, Some(wrong))
            .await
            .assert_problem(403, Some("current_password"));
        assert_eq!(ada.get(&hers).await.status, StatusCode::OK);

        let right = json!({"current_password": PASSWORD});
        let closed = ada.send(Method::DELETE, &hers, Some(right)).await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT);
    })
    .await;
}

#[tokio::test]
async fn an_admin_closes_other_accounts_without_the_password() {
    check(async |client| {
        let (_, path) = somebody(&client, "ada@test.com").await;
        let admin = client.logged_in(ADMIN, PASSWORD).await;
        let closed = admin.send(Method::DELETE, &path, None).await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT);

        let listed = admin.get("/users").await;
        let own = format!("/users/{}", listed.body["items"][0]["id"]);
        admin
            .send(Method::DELETE, &own, None)
            .await
            .assert_problem(422, Some("current_password"));
    })
    .await;
}

#[tokio::test]
async fn the_list_of_users_is_for_admins_and_no_field_makes_one() {
    check(async |client| {
        let (ada, path) = somebody(&client, "ada@test.com").await;
        ada.get("/users").await.assert_problem(403, None);
        for field in ["is_admin", "roles", "admin"] {
            ada.patch(&path, json!({ field: true }))
                .await
                .assert_problem(422, Some(field));
            let mut new = json!({"name": "Eve", "email": "eve@test.com", "password": PASSWORD});
            new[field] = json!(true);
            client.post(new).await.assert_problem(422, Some(field));
        }

        client
            .logged_in("ada@test.com", PASSWORD)
            .await
            .get("/users")
            .await
            .assert_problem(403, None);
    })
    .await;
}

#[tokio::test]
async fn the_first_admin_runs_the_shop() {
    check(async |client| {
        let (_, path) = somebody(&client, "ada@test.com").await;
        let admin = client.logged_in(ADMIN, PASSWORD).await;
        assert_eq!(
            admin.get("/users").await.body["items"]
                .as_array()
                .map(Vec::len),
            Some(2)
        );

        assert_eq!(admin.get(&path).await.status, StatusCode::OK);
        admin.get("/users/999999").await.assert_problem(404, None);
    })
    .await;
}

#[tokio::test]
async fn an_admin_ends_the_sessions_of_any_account() {
    check(async |client| {
        let (ada, path) = somebody(&client, "ada@test.com").await;
        let admin = client.logged_in(ADMIN, PASSWORD).await;
        let sessions = format!("{path}/sessions");
        assert_eq!(ada.get(&path).await.status, StatusCode::OK);

        let ended = admin.send(Method::DELETE, &sessions, None).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT, "{}", ended.body);
        ada.get(&path).await.assert_problem(401, None);
        assert_eq!(admin.get(&sessions).await.body["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn an_admin_stays_one_through_a_refresh() {
    check(async |client| {
        let credentials = json!({"email": ADMIN, "password": PASSWORD});
        let mut tokens = client
            .send(Method::POST, "/users/login", Some(credentials))
            .await
            .body;
        let body = json!({"refresh_token": tokens["refresh_token"].take()});

        let refreshed = client
            .send(Method::POST, "/users/refresh", Some(body))
            .await
            .body;
        let admin = client.showing(refreshed["access_token"].as_str().unwrap());
        assert_eq!(admin.get("/users").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_with_the_first_admins_address_gets_nothing_of_it() {
    on_each_database(async |database| {
        let squatted = Client::enforced(database.clone(), &Config::default()).await;
        let new = json!({"name": "Eve", "email": ADMIN, "password": "squatters right"});
        assert_eq!(squatted.post(new).await.status, StatusCode::CREATED);

        let client = Client::enforced(database.clone(), &config()).await;
        let eve = client.logged_in(ADMIN, "squatters right").await;
        eve.get("/users").await.assert_problem(403, None);

        let elsewhere = client.at("198.51.100.1");
        elsewhere
            .log_in(ADMIN, "squatters right")
            .await
            .assert_problem(401, None);

        let admin = elsewhere.logged_in(ADMIN, PASSWORD).await;
        let users: Value = admin.get("/users").await.body["items"].take();
        let own = users
            .as_array()
            .unwrap()
            .iter()
            .find(|user| user["verified_email"] == ADMIN)
            .unwrap();

        let change = json!({"current_password": PASSWORD, "new_password": "battery staple"});
        let path = format!("/users/{}/password", own["id"]);
        let changed = admin.send(Method::PUT, &path, Some(change)).await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT);

        let restarted = Client::enforced(database, &config()).await;
        restarted
            .log_in(ADMIN, PASSWORD)
            .await
            .assert_problem(401, None);
        restarted.logged_in(ADMIN, "battery staple").await;
    })
    .await;
}

#[tokio::test]
async fn an_admin_without_a_proper_password_is_refused_at_start() {
    on_each_database(async |database| {
        let config = Config {
            users_admin_password: Some("short".parse().unwrap()),
            ..config()
        };
        let refused = users::appoint_admin(&config, &database, &chassis::Shutdown::new()).await;
        assert!(refused.unwrap_err().to_string().contains("password"));
    })
    .await;
}

#[tokio::test]
async fn a_service_of_the_platform_sees_a_user_and_changes_none() {
    on_each_database(async |database| {
        let identities = testbed::Identities::default();
        let client = Client::of(database, &Config::default(), identities.auth.clone()).await;
        let (_, path) = somebody(&client, "ada@test.com").await;
        let service = client.showing(&identities.service());
        assert_eq!(service.get(&path).await.body["email"], "ada@test.com");

        service
            .patch(&path, json!({"name": "Eve"}))
            .await
            .assert_problem(403, None);
        service.get("/users").await.assert_problem(403, None);
    })
    .await;
}
