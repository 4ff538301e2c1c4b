//! The table behind the notifications, and the names in it.

use aws_sdk_dynamodb::Client;
use chassis::dynamodb::{Index, Key, KeyKind, Projected, Table, TableError, ensure_table};

/// The notifications, by event id.
pub const NOTIFICATIONS: &str = "notifications";
/// A user's notifications, sorted by time.
pub(super) const BY_USER: &str = "by-user";
/// The notifications of one shard of a day, sorted by time.
pub(super) const BY_DAY: &str = "by-day";

const POSITION: Option<(&str, KeyKind)> = Some(("position", KeyKind::Text));

const TABLE: Table = Table {
    name: NOTIFICATIONS,
    key: Key {
        partition: ("id", KeyKind::Text),
        sort: None,
    },
    indexes: &[
        Index {
            name: BY_USER,
            key: Key {
                partition: ("user_id", KeyKind::Number),
                sort: POSITION,
            },
            projected: Projected::All,
        },
        Index {
            name: BY_DAY,
            key: Key {
                partition: ("shelf", KeyKind::Text),
                sort: POSITION,
            },
            projected: Projected::All,
        },
    ],
    expires_at: Some("expires_at"),
};

/// Creates the table if it is missing.
pub(super) async fn ensure(client: &Client) -> Result<(), TableError> {
    ensure_table(client, &TABLE).await
}
