//! Tables as Parquet files: columns with types, which DuckDB, pandas and Spark read.
//!
//! Numbers are unsigned integers of 64 bits, instants are timestamps in UTC with milliseconds, and amounts are lists
//! of `{currency, minor_units}`. Rows are collected in a row group, which is sent when it is full, so a table of any
//! length needs the memory of [`GROUP_ROWS`] rows.

use std::mem;
use std::sync::Arc;

use axum::body::Bytes;
use events::Amount;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::Encoder;
use super::row::{Cell, Column, Kind, Row};

/// Number of rows in a row group.
const GROUP_ROWS: usize = 10_000;
/// The reason why no call of the library can fail here.
const WRITABLE: &str = "cells are of the kinds of their columns, and memory takes all";

/// A row group that is being written.
type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// A Parquet file that is being written.
pub struct Parquet {
    writer: SerializedFileWriter<Vec<u8>>,
    /// The cells of the row group, by column.
    columns: Vec<Cells>,
    rows: usize,
}

/// The cells of a column.
enum Cells {
    Numbers(Vec<i64>),
    OptionalNumbers(Sparse),
    Texts(Vec<ByteArray>),
    Flags(Vec<bool>),
    Amounts(Lists),
}

/// Numbers of a column in which some rows have none.
#[derive(Default)]
struct Sparse {
    numbers: Vec<i64>,
    /// For each row 1 if it has a number, and 0 otherwise.
    levels: Vec<i16>,
}

/// Lists of amounts.
#[derive(Default)]
struct Lists {
    currencies: Vec<ByteArray>,
    minor_units: Vec<i64>,
    /// For each amount 1, and 0 for an empty list.
    levels: Vec<i16>,
    /// For each level 0 if it begins a row, and 1 if it continues the row's list.
    repetitions: Vec<i16>,
}

impl Parquet {
    /// Begins a file with the columns of `R`.
    pub fn new<R: Row>() -> Self {
        let schema = parse_message_type(&schema(R::COLUMNS)).expect("the schema is well-formed");
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let writer =
            SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build()));

        Self {
            writer: writer.expect(WRITABLE),
            columns: R::COLUMNS.iter().map(Cells::of).collect(),
            rows: 0,
        }
    }

    /// Writes the collected rows as a row group.
    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;

        self.rows = 0;
        Ok(())
    }

    /// Returns the bytes that were written since the last call.
    fn written(&mut self) -> Bytes {
        self.writer.flush().expect(WRITABLE);
        mem::take(self.writer.inner_mut()).into()
    }
}

impl<R: Row> Encoder<R> for Parquet {
    fn begin(&mut self) -> Bytes {
        self.written()
    }

    fn rows(&mut self, rows: &[R]) -> Bytes {
        for row in rows {
            for (column, cell) in self.columns.iter_mut().zip(row.cells()) {
                column.push(cell);
            }

            self.rows += 1;
            if self.rows == GROUP_ROWS {
                self.write_group().expect(WRITABLE);
            }
        }
        self.written()
    }

    fn end(&mut self) -> Bytes {
        if self.rows > 0 {
            self.write_group().expect(WRITABLE);
        }
        self.writer.finish().expect(WRITABLE);
        self.written()
    }
}

impl Cells {
    fn of(Column(_, kind): &Column) -> Self {
        match kind {
            Kind::Number | Kind::Instant => Self::Numbers(Vec::new()),
            Kind::OptionalNumber => Self::OptionalNumbers(Sparse::default()),
            Kind::Text => Self::Texts(Vec::new()),
            Kind::Flag => Self::Flags(Vec::new()),
            Kind::Amounts => Self::Amounts(Lists::default()),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Numbers(column), Cell::Number(number)) => column.push(number.cast_signed()),
            (Self::Numbers(column), Cell::Instant(at)) => column.push(at.as_ms().cast_signed()),
            (Self::OptionalNumbers(column), Cell::OptionalNumber(number)) => column.push(number),
            (Self::Texts(column), Cell::Text(text)) => column.push(text.into_bytes().into()),
            (Self::Flags(column), Cell::Flag(flag)) => column.push(flag),
            (Self::Amounts(column), Cell::Amounts(amounts)) => column.push(&amounts),
            (_, cell) => panic!("{cell:?} is not of the kind of its column"),
        }
    }

    /// Writes the cells as the next column of the group, and empties the column.
    fn write(&mut self, group: &mut Group<'_>) -> Result<(), ParquetError> {
        match self {
            Self::Numbers(column) => write::<Int64Type>(group, &mem::take(column), None, None),
            Self::Texts(column) => write::<ByteArrayType>(group, &mem::take(column), None, None),
            Self::Flags(column) => write::<BoolType>(group, &mem::take(column), None, None),
            Self::OptionalNumbers(column) => {
                let Sparse { numbers, levels } = mem::take(column);
                write::<Int64Type>(group, &numbers, Some(&levels), None)
            }
            Self::Amounts(column) => {
                let lists = mem::take(column);
                let levels = Some(&*lists.levels);
                let repetitions = Some(&*lists.repetitions);
                write::<ByteArrayType>(group, &lists.currencies, levels, repetitions)?;
                write::<Int64Type>(group, &lists.minor_units, levels, repetitions)
            }
        }
    }
}

impl Sparse {
    fn push(&mut self, number: Option<u64>) {
        self.levels.push(number.is_some().into());
        self.numbers.extend(number.map(u64::cast_signed));
    }
}

impl Lists {
    fn push(&mut self, amounts: &[Amount]) {
        if amounts.is_empty() {
            self.levels.push(0);
            self.repetitions.push(0);
        }

        for (at, amount) in amounts.iter().enumerate() {
            self.currencies
                .push(amount.currency.to_string().into_bytes().into());
            self.minor_units.push(amount.minor_units.cast_signed());
            self.levels.push(1);
            self.repetitions.push((at > 0).into());
        }
    }
}

/// Writes values as the next column of the group. The definition levels mark the rows that have a value, and the
/// repetition levels the values that belong to the same row.
fn write<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    levels: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has the column");
    column
        .typed::<T>()
        .write_batch(values, levels, repetitions)?;
    column.close()
}

/// Returns the schema of a table, in the notation of Parquet.
fn schema(columns: &[Column]) -> String {
    let fields = columns.iter().map(|Column(name, kind)| match kind {
        Kind::Number => format!("required int64 {name} (INTEGER(64,false));"),
        Kind::OptionalNumber => format!("optional int64 {name} (INTEGER(64,false));"),
        Kind::Text => format!("required binary {name} (UTF8);"),
        Kind::Instant => format!("required int64 {name} (TIMESTAMP(MILLIS,true));"),
        Kind::Flag => format!("required boolean {name};"),
        Kind::Amounts => format!(
            "required group {name} (LIST) {{ repeated group list {{ required group element {{ \
             required binary currency (UTF8); required int64 minor_units (INTEGER(64,false)); }} }} }}"
        ),
    });
    format!("message table {{ {} }}", fields.collect::<String>())
}

#[cfg(test)]
mod tests {
    use events::{Currency, Timestamp};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    use serde::Serialize;

    use super::*;

    /// A row with a cell of each kind, computed from its number.
    #[derive(Serialize)]
    struct Numbered(u64);

    impl Numbered {
        fn amounts(&self) -> Vec<Amount> {
            let amount = |code: &str| Amount {
                currency: code.parse::<Currency>().unwrap(),
                minor_units: u64::MAX - self.0,
            };
            let all = ["EUR", "JPY", "USD"].map(amount);
            all[..usize::try_from(self.0 % 4).unwrap()].to_vec()
        }

        fn optional(&self) -> Option<u64> {
            self.0.is_multiple_of(3).then_some(self.0)
        }
    }

    impl Row for Numbered {
        const COLUMNS: &'static [Column] = &[
            Column("number", Kind::Number),
            Column("optional", Kind::OptionalNumber),
            Column("text", Kind::Text),
            Column("instant", Kind::Instant),
            Column("flag", Kind::Flag),
            Column("amounts", Kind::Amounts),
        ];

        fn cells(&self) -> Vec<Cell> {
            vec![
                Cell::Number(u64::MAX - self.0),
                Cell::OptionalNumber(self.optional()),
                Cell::Text(format!("Zoë {}", self.0)),
                Cell::Instant(Timestamp::from_ms(self.0).unwrap()),
                Cell::Flag(self.0.is_multiple_of(2)),
                Cell::Amounts(self.amounts()),
            ]
        }
    }

    /// Returns the parts of a file whose pages have these numbers of rows.
    fn parts(pages: &[u64]) -> Vec<Bytes> {
        let mut encoder = Parquet::new::<Numbered>();
        let mut parts = vec![Encoder::<Numbered>::begin(&mut encoder)];
        let mut next = 0;
        for rows in pages {
            let page: Vec<_> = (next..next + rows).map(Numbered).collect();
            parts.push(encoder.rows(&page));
            next += rows;
        }
        parts.push(Encoder::<Numbered>::end(&mut encoder));
        parts
    }

    fn read(parts: &[Bytes]) -> SerializedFileReader<Bytes> {
        SerializedFileReader::new(parts.concat().into()).unwrap()
    }

    #[test]
    fn every_cell_is_read_back_with_its_type() {
        let group = u64::try_from(GROUP_ROWS).unwrap();
        let file = read(&parts(&[700, 0, 2 * group, 5]));
        let rows: Vec<_> = file
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 2 * GROUP_ROWS + 705);

        for (number, row) in (0..).zip(&rows) {
            let expected = Numbered(number);
            assert_eq!(row.get_ulong(0).unwrap(), u64::MAX - number);
            assert_eq!(row.get_ulong(1).ok(), expected.optional());
            assert_eq!(*row.get_string(2).unwrap(), format!("Zoë {number}"));
            assert_eq!(row.get_timestamp_millis(3).unwrap(), number.cast_signed());
            assert_eq!(row.get_bool(4).unwrap(), number % 2 == 0);

            let amounts = row.get_list(5).unwrap().elements().iter();
            let amounts: Vec<_> = amounts.map(ToString::to_string).collect();
            let expected = expected.amounts().into_iter().map(|amount| {
                let Amount {
                    currency,
                    minor_units,
                } = amount;
                format!("{{currency: \"{currency}\", minor_units: {minor_units}}}")
            });
            assert_eq!(amounts, expected.collect::<Vec<_>>(), "row {number}");
        }
    }

    #[test]
    fn full_row_groups_are_sent_before_the_end_and_each_holds_no_more_rows() {
        let group = u64::try_from(GROUP_ROWS).unwrap();
        let parts = parts(&[group - 1, 1, group + 1]);
        let is_sent: Vec<_> = parts.iter().map(|part| !part.is_empty()).collect();
        assert_eq!(is_sent, [true, false, true, true, true]);

        let metadata = read(&parts).metadata().clone();
        let rows: Vec<_> = metadata
            .row_groups()
            .iter()
            .map(|group| group.num_rows())
            .collect();
        assert_eq!(rows, [10_000, 10_000, 1]);
    }

    #[test]
    fn a_table_without_rows_has_its_columns() {
        let file = read(&parts(&[0]));
        let metadata = file.metadata().file_metadata();
        assert_eq!(metadata.num_rows(), 0);

        let names = metadata.schema().get_fields().iter();
        let names: Vec<_> = names.map(|field| field.name().to_owned()).collect();
        let expected = Numbered::COLUMNS.iter().map(|Column(name, _)| *name);
        assert_eq!(names, expected.collect::<Vec<_>>());
    }
}
