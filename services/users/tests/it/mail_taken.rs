//! Mail about accounts that the notifications service takes and sends.

use axum::http::{Method, StatusCode};

use crate::mail::{ADA, check, token};

#[tokio::test]
async fn only_services_take_mail_which_returns_until_it_is_settled() {
    check(async |shop| {
        let ada = shop.sign_up(ADA).await;
        for caller in [&shop.client, &ada.client] {
            let taken = caller.send(Method::POST, "/account-mail/take", None).await;
            assert!(matches!(taken.status.as_u16(), 401 | 403));
            let settled = caller
                .send(Method::POST, "/account-mail/1/settled", None)
                .await;
            assert!(matches!(settled.status.as_u16(), 401 | 403));
        }

        let first = shop.take_unsettled().await;
        assert_eq!(first.len(), 1);
        assert_eq!(
            shop.take_unsettled().await.len(),
            0,
            "the mail was already taken"
        );

        shop.run("UPDATE account_mail SET due_at_ms = 1 WHERE due_at_ms IS NOT NULL")
            .await;
        let again = shop.take().await;
        assert_eq!(again[0]["id"], first[0]["id"]);
        assert_ne!(again[0]["link"], first[0]["link"]);

        shop.run("UPDATE account_mail SET due_at_ms = 1 WHERE due_at_ms IS NOT NULL")
            .await;
        assert_eq!(shop.take().await.len(), 0, "the mail was already sent");
        let both = [&first, &again].map(|taken| token(taken, "verify_address", ADA));
        assert_eq!(ada.verify(&both[0]).await.status, StatusCode::OK);
        ada.verify(&both[1])
            .await
            .assert_problem(422, Some("token"));
    })
    .await;
}

#[tokio::test]
async fn two_replicas_of_notifications_take_each_mail_once() {
    check(async |shop| {
        for number in 0..5 {
            shop.sign_up(&format!("a{number}@test.com")).await;
        }
        let takers = (0..4).map(|_| shop.take_unsettled());
        let taken = futures::future::join_all(takers).await.concat();
        assert_eq!(taken.len(), 5);
    })
    .await;
}
