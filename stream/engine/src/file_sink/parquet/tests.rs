//! Files are read back by the library's reader of rows, and compared with the JSON that they were made of.

use bytes::Bytes;
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use record_log::NewRecord;

use super::super::line;
use super::*;

/// Key, value and headers of a record.
type Parts<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a [u8])]);

fn lines(records: &[Parts<'_>]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (key, value, headers) in records {
        let record = NewRecord {
            topic: "counts",
            partition: None,
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            headers,
        };
        line::append(&record, &mut lines);
    }
    lines
}

/// Rows with these values.
fn of_values(values: &[&str]) -> Vec<u8> {
    let records: Vec<_> = values
        .iter()
        .map(|value| ("k", Some(*value), &[][..]))
        .collect();
    lines(&records)
}

/// The cells of each row that have a value, by column.
type Rows = Vec<Vec<(String, Field)>>;

struct Read {
    rows: Rows,
    /// The type of each column.
    columns: Vec<(String, PhysicalType, Option<LogicalType>)>,
    groups: Vec<i64>,
}

fn read(lines: &[u8]) -> Read {
    let file = SerializedFileReader::new(Bytes::from(file_of(lines))).unwrap();
    let rows = file.get_row_iter(None).unwrap().map(|row| {
        let cells = row.unwrap().into_columns().into_iter();
        cells.filter(|(_, cell)| *cell != Field::Null).collect()
    });
    let schema = file.metadata().file_metadata().schema();
    let columns = schema.get_fields().iter().map(|field| {
        let logical = field.get_basic_info().logical_type_ref().cloned();
        (field.name().to_owned(), field.get_physical_type(), logical)
    });
    let groups = file.metadata().row_groups().iter();

    Read {
        columns: columns.collect(),
        groups: groups.map(|group| group.num_rows()).collect(),
        rows: rows.collect(),
    }
}

/// The cells of column `a` of rows with these values.
fn column(values: &[&str]) -> Vec<Option<Field>> {
    let objects: Vec<_> = values
        .iter()
        .map(|value| format!("{{\"a\":{value}}}"))
        .collect();
    let objects: Vec<_> = objects.iter().map(String::as_str).collect();
    let read = read(&of_values(&objects));
    let cell = |row: Vec<(String, Field)>| {
        let found = row.into_iter().find(|(name, _)| name == "a");
        found.map(|(_, cell)| cell)
    };
    read.rows.into_iter().map(cell).collect()
}

fn text(text: &str) -> Option<Field> {
    Some(Field::Str(text.to_owned()))
}

#[test]
fn a_field_of_rows_is_a_column_of_its_type() {
    let rows = of_values(&[
        r#"{"user_id":42,"at":"2026-11-22T10:00:00.000Z","share":0.5,"is_late":true,"gain":-7}"#,
        r#"{"user_id":43,"share":2,"gain":8,"is_late":false,"note":null}"#,
    ]);
    let read = read(&rows);

    let whole = Some(LogicalType::integer(64, true));
    let expected = [
        ("_key", PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        ("user_id", PhysicalType::INT64, whole.clone()),
        ("at", PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        ("share", PhysicalType::DOUBLE, None),
        ("is_late", PhysicalType::BOOLEAN, None),
        ("gain", PhysicalType::INT64, whole),
    ];
    assert_eq!(
        read.columns,
        expected.map(|(name, physical, logical)| (name.to_owned(), physical, logical))
    );

    let cell = |name: &str, field| (name.to_owned(), field);
    let key = || cell("_key", Field::Str("k".to_owned()));
    let first = vec![
        key(),
        cell("user_id", Field::Long(42)),
        cell("at", Field::Str("2026-11-22T10:00:00.000Z".to_owned())),
        cell("share", Field::Double(0.5)),
        cell("is_late", Field::Bool(true)),
        cell("gain", Field::Long(-7)),
    ];
    let second = vec![
        key(),
        cell("user_id", Field::Long(43)),
        cell("share", Field::Double(2.0)),
        cell("is_late", Field::Bool(false)),
        cell("gain", Field::Long(8)),
    ];
    assert_eq!(read.rows, [first, second]);
}

#[test]
fn no_number_is_changed_by_the_type_of_its_column() {
    let largest = u64::MAX.to_string();
    assert_eq!(
        column(&["1", &largest]),
        [Some(Field::ULong(1)), Some(Field::ULong(u64::MAX))]
    );
    assert_eq!(
        column(&["-9223372036854775808", "9223372036854775807"]),
        [Some(Field::Long(i64::MIN)), Some(Field::Long(i64::MAX))]
    );

    // No type of 64 bits has both, and no double has the third.
    assert_eq!(column(&["-1", &largest]), [text("-1"), text(&largest)]);
    assert_eq!(
        column(&["18446744073709551616", "1"]),
        [text("18446744073709551616"), text("1")]
    );
    assert_eq!(column(&["1e400"]), [text("1e400")]);
    assert_eq!(
        column(&["1e3", "null", "-2"]),
        [Some(Field::Double(1000.0)), None, Some(Field::Double(-2.0))]
    );
}

#[test]
fn values_of_different_types_lists_and_objects_are_json() {
    assert_eq!(column(&["\"x\"", "1"]), [text("\"x\""), text("1")]);
    assert_eq!(
        column(&["true", "\"true\""]),
        [text("true"), text("\"true\"")]
    );
    assert_eq!(
        column(&["[{\"b\": 1.50}]", "null", "{}"]),
        [text("[{\"b\": 1.50}]"), None, text("{}")]
    );
    assert_eq!(column(&["\"\\u00e9\\n\"", "\"\""]), [text("é\n"), text("")]);
    // Half of a surrogate pair is JSON, but no text.
    assert_eq!(column(&["\"\\ud800\""]), [text("\"\\ud800\"")]);
}

#[test]
fn what_is_no_object_of_few_fields_is_one_cell() {
    let only = |rows: Vec<u8>| {
        let rows = read(&rows).rows;
        let last = rows.into_iter().next_back().unwrap();
        let cells = last.into_iter().filter(|(name, _)| name != "_key");
        cells.collect::<Vec<_>>()
    };
    let value = |text: &str| [("_value".to_owned(), Field::Str(text.to_owned()))];

    assert_eq!(only(of_values(&["plain"])), value("plain"));
    assert_eq!(only(of_values(&["[1, 2]"])), value("[1, 2]"));
    assert_eq!(
        only(of_values(&["{\"\\udc00\":1}"])),
        value("{\"\\udc00\":1}")
    );
    assert_eq!(only(lines(&[("gone", None, &[])])), []);
    assert_eq!(only(of_values(&["{}"])), []);

    let many: Vec<_> = (0..=COLUMNS_MAX)
        .map(|at| format!("{{\"f{at}\":{at}}}"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let of_many = read(&of_values(&many));
    assert_eq!(of_many.columns.len(), 2);
    assert_eq!(
        only(of_values(&many)),
        value(&format!("{{\"f{COLUMNS_MAX}\":{COLUMNS_MAX}}}"))
    );
}

#[test]
fn names_of_fields_are_none_of_the_columns_of_records() {
    let value = r#"{"_key":1,"_value":2,"__key":3,"a":4,"a":5}"#;
    let late: [(&str, &[u8]); 1] = [("reason", b"late")];
    let read = read(&lines(&[("k", Some(value), &late)]));

    let cells: Vec<_> = read.rows[0]
        .iter()
        .map(|(name, cell)| format!("{name}={cell}"))
        .collect();
    assert_eq!(
        cells,
        [
            "_key=\"k\"",
            "__key=1",
            "__value=2",
            "___key=3",
            "a=4",
            "_headers=\"[[\"reason\",\"late\"]]\"",
        ]
    );
}

#[test]
fn rows_are_in_order_over_several_row_groups() {
    let rows = 2 * GROUP_ROWS + 1;
    let values: Vec<_> = (0..rows)
        .map(|row| match row % 3 {
            0 => format!("{{\"row\":{row}}}"),
            1 => format!("{{\"row\":{row},\"third\":\"{row}\"}}"),
            _ => format!("{{\"other\":{row}}}"),
        })
        .collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    let read = read(&of_values(&values));
    assert_eq!(read.groups, [10_000, 10_000, 1]);

    for (row, cells) in (0_i64..).zip(&read.rows) {
        let cell = |name: &str| {
            cells
                .iter()
                .find(|(of, _)| of == name)
                .map(|(_, cell)| cell.clone())
        };
        let is_third = row % 3 == 2;
        assert_eq!(cell("row"), (!is_third).then_some(Field::Long(row)));
        assert_eq!(
            cell("third"),
            (row % 3 == 1).then(|| Field::Str(row.to_string()))
        );
        assert_eq!(cell("other"), is_third.then_some(Field::Long(row)));
    }
}
