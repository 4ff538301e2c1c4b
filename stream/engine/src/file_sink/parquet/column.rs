//! The values of a column in the row group that is being written.

use std::mem;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedRowGroupWriter;
use serde_json::value::RawValue;

use super::kind::Kind;

/// The reason why a value can be read.
const OF_KIND: &str = "the column's type fits each of its values";

/// A column.
pub struct Column {
    kind: Kind,
    values: Values,
    /// For each row 1 if it has a value, and 0 otherwise; rows at the end may be missing.
    levels: Vec<i16>,
}

enum Values {
    Flags(Vec<bool>),
    Wholes(Vec<i64>),
    Doubles(Vec<f64>),
    Texts(Vec<ByteArray>),
}

impl Column {
    /// Returns a column without rows.
    pub fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Flag => Values::Flags(Vec::new()),
            Kind::Natural | Kind::Integer | Kind::Unsigned => Values::Wholes(Vec::new()),
            Kind::Double => Values::Doubles(Vec::new()),
            Kind::Text | Kind::Json => Values::Texts(Vec::new()),
        };
        Self {
            kind,
            values,
            levels: Vec::new(),
        }
    }

    /// Sets the value of a row. Rows are set in order, and the first value of a row stays.
    pub fn set(&mut self, row: usize, value: &RawValue) {
        if self.levels.len() > row || Kind::of(value).is_none() {
            return;
        }
        self.levels.resize(row, 0);
        self.levels.push(1);

        let json = value.get();
        match &mut self.values {
            Values::Flags(flags) => flags.push(json == "true"),
            Values::Wholes(numbers) => numbers.push(self.kind.whole(json)),
            Values::Doubles(numbers) => numbers.push(json.parse().expect(OF_KIND)),
            Values::Texts(texts) => texts.push(self.kind.text(json).into_bytes().into()),
        }
    }

    /// Writes the values of `rows` rows as the next column of the group, and empties the column.
    pub fn write(
        &mut self,
        rows: usize,
        group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    ) -> Result<(), ParquetError> {
        let mut levels = mem::take(&mut self.levels);
        levels.resize(rows, 0);

        match &mut self.values {
            Values::Flags(flags) => write::<BoolType>(group, &mem::take(flags), &levels),
            Values::Wholes(numbers) => write::<Int64Type>(group, &mem::take(numbers), &levels),
            Values::Doubles(numbers) => write::<DoubleType>(group, &mem::take(numbers), &levels),
            Values::Texts(texts) => write::<ByteArrayType>(group, &mem::take(texts), &levels),
        }
    }
}

impl Kind {
    /// Returns a whole number as Parquet stores it.
    fn whole(self, json: &str) -> i64 {
        if self == Self::Unsigned {
            json.parse::<u64>().expect(OF_KIND).cast_signed()
        } else {
            json.parse().expect(OF_KIND)
        }
    }

    fn text(self, json: &str) -> String {
        if self == Self::Text {
            serde_json::from_str(json).expect(OF_KIND)
        } else {
            json.to_owned()
        }
    }
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: &[i16],
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has the column");
    column
        .typed::<T>()
        .write_batch(values, Some(levels), None)?;
    column.close()
}
