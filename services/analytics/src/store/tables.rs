//! The DynamoDB tables of the counts, and their names.

use aws_sdk_dynamodb::Client;
use chassis::dynamodb::{Index, Key, KeyKind, Projected, Table, TableError, ensure_table};

/// The table of counts, packed in chunks, keyed by bucket of users and time.
pub const COUNTS: &str = "analytics-counts";
/// The table in which earlier versions have counts, keyed by user and window start. It is only read.
pub const RESULTS: &str = "analytics-results";
/// The table of windows, keyed by start.
pub const WINDOWS: &str = "analytics-windows";
/// The index of the counts of one shelf, by user.
pub(super) const BY_WINDOW: &str = "by-window";
/// The partition key of all windows.
pub(super) const ALL_WINDOWS: &str = "all";

const USER_ID: (&str, KeyKind) = ("user_id", KeyKind::Number);
const WINDOW_START: (&str, KeyKind) = ("window_start", KeyKind::Number);
const EXPIRES_AT: Option<&str> = Some("expires_at");

const TABLES: [Table; 3] = [
    Table {
        name: COUNTS,
        key: Key {
            partition: ("user_bucket", KeyKind::Text),
            sort: Some(("chunk", KeyKind::Text)),
        },
        indexes: &[],
        expires_at: EXPIRES_AT,
    },
    Table {
        name: RESULTS,
        key: Key {
            partition: USER_ID,
            sort: Some(WINDOW_START),
        },
        indexes: &[Index {
            name: BY_WINDOW,
            key: Key {
                partition: ("shelf", KeyKind::Text),
                sort: Some(USER_ID),
            },
            projected: Projected::All,
        }],
        expires_at: EXPIRES_AT,
    },
    Table {
        name: WINDOWS,
        key: Key {
            partition: ("series", KeyKind::Text),
            sort: Some(WINDOW_START),
        },
        indexes: &[],
        expires_at: EXPIRES_AT,
    },
];

/// Creates the missing tables.
pub(super) async fn ensure(client: &Client) -> Result<(), TableError> {
    for table in &TABLES {
        ensure_table(client, table).await?;
    }
    Ok(())
}
