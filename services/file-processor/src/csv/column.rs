//! The type of a column, inferred from its fields. Pure.

/// A column, with the type that fits all of its fields so far.
pub(super) struct Column {
    pub(super) name: String,
    kind: Option<Type>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Type {
    Boolean,
    Integer,
    Decimal,
    Date,
    Timestamp,
    Text,
}

impl Column {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
        }
    }

    /// Adds a field. An empty field does not change the type.
    pub(super) fn take(&mut self, field: &str) {
        if self.kind == Some(Type::Text) || field.is_empty() {
            return;
        }

        let kind = type_of(field);
        self.kind = Some(match (self.kind, kind) {
            (None, kind) => kind,
            (Some(known), kind) if known == kind => kind,
            (Some(Type::Integer | Type::Decimal), Type::Integer | Type::Decimal) => Type::Decimal,
            _ => Type::Text,
        });
    }

    /// Returns the name of the type, or `empty` for a column without a value.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            None => "empty",
            Some(Type::Boolean) => "boolean",
            Some(Type::Integer) => "integer",
            Some(Type::Decimal) => "decimal",
            Some(Type::Date) => "date",
            Some(Type::Timestamp) => "timestamp",
            Some(Type::Text) => "text",
        }
    }
}

fn type_of(field: &str) -> Type {
    let bytes = field.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) {
        return Type::Integer;
    }

    if is_date(bytes) {
        return Type::Date;
    }

    if bytes.len() >= 19
        && is_date(&bytes[..10])
        && matches!(bytes[10], b'T' | b' ')
        && is_time(&bytes[11..])
    {
        return Type::Timestamp;
    }

    if matches!(
        field,
        "true" | "false" | "TRUE" | "FALSE" | "True" | "False"
    ) {
        return Type::Boolean;
    }

    let is_number = digits
        .first()
        .is_some_and(|first| first.is_ascii_digit() || *first == b'.');

    if is_number && field.parse::<f64>().is_ok_and(f64::is_finite) {
        Type::Decimal
    } else {
        Type::Text
    }
}

/// Matches dates such as `2026-11-22`.
fn is_date(bytes: &[u8]) -> bool {
    bytes.len() == 10 && fits(bytes, b"0000-00-00")
}

/// Matches times such as `10:00:00`, with an optional fraction and offset.
fn is_time(bytes: &[u8]) -> bool {
    fits(&bytes[..8], b"00:00:00")
        && bytes[8..]
            .iter()
            .all(|byte| byte.is_ascii_digit() || b".:+-Z".contains(byte))
}

/// Returns `true` if the bytes have a digit for each `0` of the pattern and equal the pattern
/// elsewhere.
fn fits(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.iter().zip(pattern).all(|(byte, wanted)| {
        if *wanted == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == wanted
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(fields: &[&str]) -> &'static str {
        let mut column = Column::new("any");
        fields.iter().for_each(|field| column.take(field));
        column.kind()
    }

    #[test]
    fn a_column_has_the_type_that_all_of_its_fields_have() {
        assert_eq!(kind(&["1", "", "-20"]), "integer");
        assert_eq!(kind(&["1", "2.5", "1e3", ".5"]), "decimal");
        assert_eq!(kind(&["12345678901234567890"]), "decimal");
        assert_eq!(kind(&["2026-11-22", "2026-11-23"]), "date");

        assert_eq!(
            kind(&["2026-11-22T10:00:00.123Z", "2026-11-22 10:00:00"]),
            "timestamp"
        );

        assert_eq!(kind(&["true", "FALSE"]), "boolean");
        assert_eq!(kind(&["", ""]), "empty");
    }

    #[test]
    fn what_does_not_fit_together_is_text() {
        assert_eq!(kind(&["1", "x"]), "text");
        assert_eq!(kind(&["2026-11-22", "7"]), "text");
        assert_eq!(kind(&["inf"]), "text");
        assert_eq!(kind(&["-"]), "text");
    }
}
