//! The types of columns, by the JSON of their values.

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::Type;
use serde_json::value::RawValue;

/// The type of a value, and of a column that holds values of such types.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// True or false.
    Flag,
    /// A whole number from 0 to 2^63 - 1.
    Natural,
    /// A whole number from -2^63 to 2^63 - 1.
    Integer,
    /// A whole number from 0 to 2^64 - 1.
    Unsigned,
    /// A number with a fraction or an exponent whose magnitude a double can have.
    Double,
    /// A text.
    Text,
    /// Any JSON.
    Json,
}

impl Kind {
    /// Returns the type of a value; none of null.
    pub fn of(value: &RawValue) -> Option<Self> {
        let json = value.get();
        match json.as_bytes().first() {
            Some(b'n') => None,
            Some(b't' | b'f') => Some(Self::Flag),
            Some(b'"') if serde_json::from_str::<String>(json).is_ok() => Some(Self::Text),
            Some(b'-' | b'0'..=b'9') => Some(Self::of_number(json)),
            _ => Some(Self::Json),
        }
    }

    fn of_number(json: &str) -> Self {
        let is_whole = !json.contains(['.', 'e', 'E']);
        match (json.parse::<i64>(), json.parse::<u64>()) {
            (Ok(_), Ok(_)) => Self::Natural,
            (Ok(_), Err(_)) => Self::Integer,
            (Err(_), Ok(_)) => Self::Unsigned,
            (Err(_), Err(_)) if is_whole => Self::Json,
            (Err(_), Err(_)) => match json.parse::<f64>() {
                Ok(number) if number.is_finite() => Self::Double,
                _ => Self::Json,
            },
        }
    }

    /// Returns the type of a column that has values of both.
    pub fn and(self, other: Self) -> Self {
        use Kind::{Double, Integer, Natural, Unsigned};
        match (self, other) {
            (one, same) if one == same => one,
            (Natural, Integer) | (Integer, Natural) => Integer,
            (Natural, Unsigned) | (Unsigned, Natural) => Unsigned,
            (Natural | Integer | Unsigned, Double) | (Double, Natural | Integer | Unsigned) => {
                Double
            }
            _ => Self::Json,
        }
    }

    /// Returns the description of a column.
    pub fn field(self, name: &str) -> Result<Type, ParquetError> {
        let whole = |is_signed| LogicalType::integer(64, is_signed);
        let (physical, logical) = match self {
            Self::Flag => (PhysicalType::BOOLEAN, None),
            Self::Natural | Self::Integer => (PhysicalType::INT64, Some(whole(true))),
            Self::Unsigned => (PhysicalType::INT64, Some(whole(false))),
            Self::Double => (PhysicalType::DOUBLE, None),
            Self::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Self::Json => (PhysicalType::BYTE_ARRAY, Some(LogicalType::Json)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
    }
}
