//! The outbox, its batches and the relay's lease in SQL. Each function that writes is one
//! transaction.
//!
//! `outbox` has the columns of Debezium's outbox event router. Its rows are only inserted and
//! deleted, as the router requires. The batch number that the relay stamps on a row is stored in
//! `outbox_batches`.

use std::time::Duration;

use chassis::sql::Database;
use events::Timestamp;
use sqlx::{AnyConnection, Row};

/// The key of the lease's row.
const LEASE: &str = "orders";
/// Maximum number of rows in a batch.
pub const MAX_BATCH_ROWS: i64 = 1000;

const TAKE: &str = "UPDATE relay_lease SET epoch = epoch + 1, holder = ?, expires_at_ms = ? \
                    WHERE name = ? AND (holder = ? OR expires_at_ms < ?)";
const EPOCH: &str = "SELECT epoch FROM relay_lease WHERE name = ?";
const RENEW: &str = "UPDATE relay_lease SET expires_at_ms = ? WHERE name = ?";
const GIVE_UP: &str = "UPDATE relay_lease SET expires_at_ms = 0 WHERE name = ? AND epoch = ?";
const STAMP: &str = "INSERT INTO outbox_batches (outbox_seq, batch) \
                     SELECT o.seq, ? FROM outbox o LEFT JOIN outbox_batches b ON b.outbox_seq = o.seq \
                     WHERE b.outbox_seq IS NULL ORDER BY o.seq LIMIT ?";
const WAITING: &str = "SELECT COUNT(*) FROM (SELECT seq FROM outbox LIMIT 1) AS waiting";
const LOWEST: &str = "SELECT MIN(batch) FROM outbox_batches";
const LOAD: &str = "SELECT o.id, o.aggregateid, o.type, o.payload, o.traceparent FROM outbox_batches b \
                    JOIN outbox o ON o.seq = b.outbox_seq WHERE b.batch = ? ORDER BY o.seq";
const CLEAN_ROWS: &str =
    "DELETE FROM outbox WHERE seq IN (SELECT outbox_seq FROM outbox_batches WHERE batch <= ?)";
const CLEAN_BATCHES: &str = "DELETE FROM outbox_batches WHERE batch <= ?";

/// An outbox row to publish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutboxRow {
    /// The event's id.
    pub id: String,
    /// The record's key.
    pub aggregateid: String,
    /// The event's type.
    pub event_type: String,
    /// The record's value.
    pub payload: String,
    /// The W3C `traceparent` of the request that caused the event.
    pub traceparent: Option<String>,
}

/// A relay's request for the lease.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Identifies the relay.
    pub holder: String,
    /// The time after which the lease expires unless it is renewed.
    pub duration: Duration,
}

impl Lease {
    fn expiry(&self) -> i64 {
        now_ms() + i64::try_from(self.duration.as_millis()).unwrap_or(i64::MAX / 2)
    }
}

/// Reads the system clock. A wrong clock changes only the time at which another relay takes the lease.
fn now_ms() -> i64 {
    i64::try_from(Timestamp::now().as_ms()).expect("the year 9999 fits")
}

/// Takes the lease if it is free, expired or already this relay's, and returns the new epoch. With
/// `is_alone` the lease is always taken.
pub async fn take_lease(
    database: &Database,
    lease: &Lease,
    is_alone: bool,
) -> Result<Option<u64>, sqlx::Error> {
    let mut transaction = database.write().await?;
    let free_before = if is_alone { i64::MAX } else { now_ms() };
    let taken = sqlx::query(TAKE)
        .bind(&lease.holder)
        .bind(lease.expiry())
        .bind(LEASE)
        .bind(&lease.holder)
        .bind(free_before)
        .execute(transaction.connection())
        .await?;

    if taken.rows_affected() == 0 {
        return Ok(None);
    }

    let epoch = sqlx::query(EPOCH)
        .bind(LEASE)
        .fetch_one(transaction.connection())
        .await?
        .try_get::<i64, _>(0)?;

    transaction.commit().await?;
    Ok(Some(unsigned(epoch)?))
}

/// Returns whether the lease is still held under `epoch`; if so, renews it.
pub async fn confirm(database: &Database, lease: &Lease, epoch: u64) -> Result<bool, sqlx::Error> {
    let mut transaction = database.write().await?;
    if !lock_and_renew(database, transaction.connection(), lease, epoch).await? {
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// Stamps up to [`MAX_BATCH_ROWS`] waiting rows and returns their number, or `None` if the lease is
/// no longer held under `epoch`.
pub async fn stamp(
    database: &Database,
    lease: &Lease,
    epoch: u64,
    batch: u64,
) -> Result<Option<u64>, sqlx::Error> {
    let mut transaction = database.write().await?;
    if !lock_and_renew(database, transaction.connection(), lease, epoch).await? {
        return Ok(None);
    }

    let stamped = sqlx::query(STAMP)
        .bind(signed(batch)?)
        .bind(MAX_BATCH_ROWS)
        .execute(transaction.connection())
        .await?
        .rows_affected();

    transaction.commit().await?;
    Ok(Some(stamped))
}

/// Expires the lease at once, if it is still held under `epoch`.
pub async fn give_up(database: &Database, epoch: u64) -> Result<(), sqlx::Error> {
    let mut transaction = database.write().await?;
    sqlx::query(GIVE_UP)
        .bind(LEASE)
        .bind(signed(epoch)?)
        .execute(transaction.connection())
        .await?;

    transaction.commit().await
}

/// Returns whether the outbox has a row.
pub async fn is_waiting(database: &Database) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(WAITING)
        .fetch_one(database.pool())
        .await?
        .try_get::<i64, _>(0)?
        > 0)
}

/// Returns the lowest batch number that is stamped on a row.
pub async fn lowest_stamped(database: &Database) -> Result<Option<u64>, sqlx::Error> {
    let lowest: Option<i64> = sqlx::query(LOWEST)
        .fetch_one(database.pool())
        .await?
        .try_get(0)?;
    lowest.map(unsigned).transpose()
}

/// Returns the rows of a batch, in the order in which they were written.
pub async fn load(database: &Database, batch: u64) -> Result<Vec<OutboxRow>, sqlx::Error> {
    let rows = sqlx::query(LOAD)
        .bind(signed(batch)?)
        .fetch_all(database.pool())
        .await?;

    let read = |row: &sqlx::any::AnyRow| {
        Ok(OutboxRow {
            id: row.try_get(0)?,
            aggregateid: row.try_get(1)?,
            event_type: row.try_get(2)?,
            payload: row.try_get(3)?,
            traceparent: row.try_get(4)?,
        })
    };

    rows.iter().map(read).collect()
}

/// Deletes the rows of every batch up to `up_to`.
pub async fn clean(database: &Database, up_to: u64) -> Result<(), sqlx::Error> {
    let mut transaction = database.write().await?;
    for statement in [CLEAN_ROWS, CLEAN_BATCHES] {
        sqlx::query(statement)
            .bind(signed(up_to)?)
            .execute(transaction.connection())
            .await?;
    }

    transaction.commit().await
}

async fn lock_and_renew(
    database: &Database,
    connection: &mut AnyConnection,
    lease: &Lease,
    epoch: u64,
) -> Result<bool, sqlx::Error> {
    let holder = sqlx::query(database.dialect().locking(EPOCH))
        .bind(LEASE)
        .fetch_one(&mut *connection)
        .await?;

    if unsigned(holder.try_get(0)?)? != epoch {
        return Ok(false);
    }

    sqlx::query(RENEW)
        .bind(lease.expiry())
        .bind(LEASE)
        .execute(connection)
        .await?;

    Ok(true)
}

fn signed(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn unsigned(number: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
}
