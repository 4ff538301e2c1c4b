//! Rows of a table, their columns and cells.

use events::{Amount, Timestamp};
use serde::Serialize;

/// An object that is a row of a table. In NDJSON it is the object itself.
pub trait Row: Serialize + Send + 'static {
    /// The columns.
    const COLUMNS: &'static [Column];

    /// Returns a cell for each column, of the column's kind.
    fn cells(&self) -> Vec<Cell>;
}

/// A column: its name and the kind of its cells.
pub struct Column(pub &'static str, pub Kind);

/// The kind of a column's cells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A number in each cell.
    Number,
    /// A number, or none.
    OptionalNumber,
    /// A text.
    Text,
    /// An instant.
    Instant,
    /// True or false.
    Flag,
    /// Amounts in different currencies, in minor units.
    Amounts,
}

/// A cell of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cell {
    /// A cell of [`Kind::Number`].
    Number(u64),
    /// A cell of [`Kind::OptionalNumber`].
    OptionalNumber(Option<u64>),
    /// A cell of [`Kind::Text`].
    Text(String),
    /// A cell of [`Kind::Instant`].
    Instant(Timestamp),
    /// A cell of [`Kind::Flag`].
    Flag(bool),
    /// A cell of [`Kind::Amounts`].
    Amounts(Vec<Amount>),
}
