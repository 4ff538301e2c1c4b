//! Claims: stock reservations that have no order yet, or no longer have one.
//!
//! A claim ends in one of two ways. Storing its order deletes the claim, which is possible only
//! while `releasing` is 0. Giving up sets `releasing` to 1, after which no order can be stored for
//! it. The row's lock orders the two.

use std::time::Duration;

use chassis::sql::is_duplicate;
use events::Timestamp;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row};
use uuid::Uuid;

use super::{
    Reply, Store, StoreError, TooMuchUnpaid, UnpaidLimit, decode, millis, unpaid, unsigned,
};
use crate::idempotency::IdempotencyKey;

/// Maximum number of attempts to insert a claim. An attempt fails if another request inserts or deletes the same
/// idempotency key meanwhile.
const MAX_TRIES: usize = 5;

const FIND_USER: &str = "SELECT u.id, COALESCE(h.orders, -1) AS orders, COALESCE(h.pieces, 0) AS pieces \
                    FROM users u LEFT JOIN unpaid_orders h ON h.user_id = u.id WHERE u.id = ? AND u.closed_at_ms IS NULL";
const INSERT: &str =
    "INSERT INTO stock_claims (reservation_key, releasing, created_at_ms) VALUES (?, 0, ?)";
const INSERT_RELEASED: &str =
    "INSERT INTO stock_claims (reservation_key, releasing, created_at_ms) VALUES (?, 1, ?)";
const INSERT_KEY: &str = "INSERT INTO idempotency_keys \
                          (user_id, idempotency_key, fingerprint, reservation_key, reply, created_at_ms) \
                          VALUES (?, ?, ?, ?, NULL, ?)";
const FIND_KEY: &str = "SELECT fingerprint, reservation_key, reply FROM idempotency_keys \
                        WHERE user_id = ? AND idempotency_key = ?";
const DELETE_CLAIM: &str = "DELETE FROM stock_claims WHERE reservation_key = ? AND releasing = 0";
const DELETE_KEY: &str = "DELETE FROM idempotency_keys WHERE reservation_key = ? AND reply IS NULL";
const RELEASE: &str =
    "UPDATE stock_claims SET releasing = 1 WHERE reservation_key = ? AND releasing = 0";
const OLD_CLAIMS: &str =
    "SELECT reservation_key FROM stock_claims WHERE releasing = 0 AND created_at_ms < ? LIMIT 100";
const RELEASED_CLAIMS: &str = "SELECT reservation_key FROM stock_claims \
                        WHERE releasing = 1 AND reservation_key > ? ORDER BY reservation_key LIMIT 100";
const DELETE_RELEASED: &str =
    "DELETE FROM stock_claims WHERE reservation_key = ? AND releasing = 1";
const DELETE_REPLIES: &str =
    "DELETE FROM idempotency_keys WHERE created_at_ms < ? AND reply IS NOT NULL";

/// The right of a request to store one order.
#[derive(Clone, Debug)]
pub struct KeyClaim {
    /// The user whose order it is.
    pub user_id: i64,
    /// The idempotency key of the request, if it has one.
    pub idempotency_key: Option<IdempotencyKey>,
    /// A hash of the request: equal for equal requests.
    pub fingerprint: String,
    /// The key under which stock is reserved.
    pub reservation_key: Uuid,
    /// The time of the request.
    pub now: Timestamp,
}

/// The outcome of [`Store::claim`].
#[derive(Debug)]
pub enum ClaimOutcome {
    /// The claim exists, and may be shared with requests under the same idempotency key.
    Claimed(KeyClaim),
    /// The order of the idempotency key is already stored.
    Replied(Reply),
    /// The idempotency key belongs to a different request.
    OtherRequest,
    /// The user does not exist.
    NoUser,
    /// The user has too many unpaid orders.
    TooMuchUnpaid(TooMuchUnpaid),
}

impl Store {
    /// Inserts the claim of one order with this number of `pieces`, before any stock is reserved.
    ///
    /// An order beyond the limit is refused here, so that it never holds stock. If several orders arrive at the same
    /// time and exceed the limit only together, [`Store::place`] refuses some of them.
    pub async fn claim(
        &self,
        claim: KeyClaim,
        pieces: u64,
        limit: Option<UnpaidLimit>,
    ) -> Result<ClaimOutcome, StoreError> {
        let user = sqlx::query(FIND_USER)
            .bind(claim.user_id)
            .fetch_optional(self.database.pool())
            .await?;

        let Some(user) = user else {
            return Ok(ClaimOutcome::NoUser);
        };

        // The count is -1 for a user without a row of unpaid orders.
        let orders: i64 = user.try_get("orders")?;
        if orders < 0 {
            unpaid::begin(&self.database, claim.user_id).await?;
        }

        let is_beyond = |limit: &UnpaidLimit| -> Result<bool, sqlx::Error> {
            let held = unsigned(user.try_get("pieces")?)?.saturating_add(pieces);
            Ok(orders >= limit.orders.into() || held > limit.pieces.into())
        };

        for _ in 0..MAX_TRIES {
            if let Some(outcome) = self.known(&claim).await? {
                return Ok(outcome);
            }

            if let Some(limit) = limit
                && is_beyond(&limit)?
            {
                return Ok(ClaimOutcome::TooMuchUnpaid(limit.refusal()));
            }

            match self.insert(&claim).await {
                Ok(()) => return Ok(ClaimOutcome::Claimed(claim)),
                // Another request inserted the idempotency key first, so its claim is read.
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }

        Err(StoreError::Contended)
    }

    /// Returns the outcome that the claim's idempotency key already determines, if any.
    async fn known(&self, claim: &KeyClaim) -> Result<Option<ClaimOutcome>, StoreError> {
        let Some(key) = &claim.idempotency_key else {
            return Ok(None);
        };

        let found = sqlx::query(FIND_KEY).bind(claim.user_id).bind(key.as_str());
        let Some(row) = found.fetch_optional(self.database.pool()).await? else {
            return Ok(None);
        };

        if row.try_get::<String, _>("fingerprint")? != claim.fingerprint {
            return Ok(Some(ClaimOutcome::OtherRequest));
        }
        if let Some(body) = row.try_get("reply")? {
            return Ok(Some(ClaimOutcome::Replied(Reply(body))));
        }

        let reservation_key = row
            .try_get::<String, _>("reservation_key")?
            .parse()
            .map_err(decode)?;

        Ok(Some(ClaimOutcome::Claimed(KeyClaim {
            reservation_key,
            ..claim.clone()
        })))
    }

    async fn insert(&self, claim: &KeyClaim) -> Result<(), sqlx::Error> {
        let reservation_key = claim.reservation_key.to_string();
        let mut transaction = self.database.write().await?;

        sqlx::query(INSERT)
            .bind(&reservation_key)
            .bind(millis(claim.now))
            .execute(transaction.connection())
            .await?;

        if let Some(key) = &claim.idempotency_key {
            sqlx::query(INSERT_KEY)
                .bind(claim.user_id)
                .bind(key.as_str())
                .bind(&claim.fingerprint)
                .bind(&reservation_key)
                .bind(millis(claim.now))
                .execute(transaction.connection())
                .await?;
        }

        transaction.commit().await
    }

    /// Deletes a claim that cannot hold stock.
    pub async fn forget_claim(&self, claim: &KeyClaim) -> Result<(), StoreError> {
        self.run(sqlx::query(DELETE_CLAIM).bind(claim.reservation_key.to_string()))
            .await
    }

    /// Marks a claim so that its stock is released, unless its order is stored.
    pub async fn release_claim(&self, claim: &KeyClaim) -> Result<(), StoreError> {
        self.give_up_claim(&claim.reservation_key.to_string()).await
    }

    /// Returns up to a hundred reservation keys whose claims are older than `age`.
    pub async fn old_claims(
        &self,
        now: Timestamp,
        age: Duration,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(OLD_CLAIMS)
            .bind(before(now, age))
            .fetch_all(self.database.pool())
            .await?;

        first_column(&rows)
    }

    /// Marks the claim of a reservation key so that its stock is released, unless its order is
    /// stored.
    pub async fn give_up_claim(&self, reservation_key: &str) -> Result<(), StoreError> {
        let mut transaction = self.database.write().await?;
        for statement in [RELEASE, DELETE_KEY] {
            sqlx::query(statement)
                .bind(reservation_key)
                .execute(transaction.connection())
                .await?;
        }

        Ok(transaction.commit().await?)
    }

    /// Returns up to a hundred reservation keys to release, in ascending order, that follow the key
    /// `after`.
    pub async fn released_claims(&self, after: &str) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(RELEASED_CLAIMS)
            .bind(after)
            .fetch_all(self.database.pool())
            .await?;

        first_column(&rows)
    }

    /// Deletes the claim of a reservation that was released.
    pub async fn forget_released(&self, reservation_key: &str) -> Result<(), StoreError> {
        self.run(sqlx::query(DELETE_RELEASED).bind(reservation_key.to_owned()))
            .await
    }

    /// Deletes idempotency keys with replies that are older than `age`.
    pub async fn forget_old_replies(
        &self,
        now: Timestamp,
        age: Duration,
    ) -> Result<(), StoreError> {
        self.run(sqlx::query(DELETE_REPLIES).bind(before(now, age)))
            .await
    }

    /// Runs a statement as a transaction of its own.
    async fn run(&self, statement: Query<'static, Any, AnyArguments>) -> Result<(), StoreError> {
        let mut transaction = self.database.write().await?;
        statement.execute(transaction.connection()).await?;
        Ok(transaction.commit().await?)
    }
}

/// Inserts a claim to be released, as part of the caller's transaction.
pub(super) async fn insert_released(
    connection: &mut AnyConnection,
    reservation_key: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT_RELEASED)
        .bind(reservation_key)
        .bind(millis(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes the claim of an order, in the transaction that stores the order. Returns false if the claim
/// was given up, or its order is already stored.
pub(super) async fn take(
    connection: &mut AnyConnection,
    claim: &KeyClaim,
) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(DELETE_CLAIM)
        .bind(claim.reservation_key.to_string())
        .execute(connection)
        .await?;
    Ok(taken.rows_affected() == 1)
}

/// Returns the reply stored for the claim's idempotency key.
pub(super) async fn kept_reply(
    connection: &mut AnyConnection,
    claim: &KeyClaim,
) -> Result<Option<Reply>, sqlx::Error> {
    let Some(key) = &claim.idempotency_key else {
        return Ok(None);
    };

    let found = sqlx::query(FIND_KEY).bind(claim.user_id).bind(key.as_str());
    let row = found.fetch_optional(connection).await?;

    Ok(row
        .map(|row| row.try_get::<Option<String>, _>("reply"))
        .transpose()?
        .flatten()
        .map(Reply))
}

fn first_column(rows: &[AnyRow]) -> Result<Vec<String>, StoreError> {
    let keys = rows.iter().map(|row| row.try_get(0));
    Ok(keys.collect::<Result<_, _>>()?)
}

/// Returns the time that lies `age` before `now`, in milliseconds since 1970.
fn before(now: Timestamp, age: Duration) -> i64 {
    millis(now).saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}
