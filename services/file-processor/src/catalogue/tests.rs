//! Catalogues as programs write them, good and bad.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::chunks::Stop;
use crate::csv::{self, Dialect};

fn import(text: &str) -> Result<(Products, Value), Stop> {
    let mut products = Products::default();
    let chunks = std::iter::once(Ok(Bytes::copy_from_slice(text.as_bytes())));
    let table = csv::read(chunks, Dialect::PLAIN, &mut products)?;
    Ok((products, table.summary))
}

#[test]
fn rows_become_products_and_rows_that_make_no_sense_are_bad() {
    let text = "name,price_cents,stock,colour\nLamp,1999,3,\nPen,free,,red\n,5,,\nCup,250,,blue\n";
    let (products, summary) = import(text).unwrap();

    let bodies: Vec<Value> = products
        .found
        .iter()
        .map(|product| product.body.clone().into())
        .collect();

    assert_eq!(
        bodies,
        [
            json!({"name": "Lamp", "price_cents": 1999, "stock": 3}),
            json!({"name": "Cup", "price_cents": 250, "colour": "blue"})
        ]
    );

    assert_eq!(products.found[1].rows[0].row, 4);
    assert_eq!(products.found[1].rows[0].line, 5);
    assert_eq!(
        (&summary["rows"], &summary["bad_rows"]),
        (&json!(4), &json!(2))
    );

    assert_eq!(
        summary["first_bad"][0],
        json!({"row": 2, "line": 3, "column": "price_cents", "problem": "\"free\" is not a whole number"})
    );
}

#[test]
fn a_product_is_known_by_its_sku_or_else_by_its_name() {
    let ids = |text| {
        import(text)
            .unwrap()
            .0
            .found
            .into_iter()
            .map(|product| product.id)
            .collect::<Vec<_>>()
    };

    let first = ids("sku,name,price_cents\nL1,Lamp,1\n,Lamp,1\n");
    let second = ids("price_cents,name,sku\n2,Old Lamp,L1\n3,Lamp,\n");

    assert_eq!(first, second);
    assert_ne!(first[0], first[1]);
    assert_eq!(first[0].get_version_num(), 7);
}

#[test]
fn a_header_that_is_not_a_catalogues_is_refused() {
    for header in [
        "name,price\nLamp,1\n",
        "price_cents\n1\n",
        "id,name,price_cents\n1,Lamp,1\n",
        "name,price_cents,stock_version\nLamp,1,2\n",
    ] {
        assert!(matches!(import(header), Err(Stop::Refused(_))), "{header}");
    }
}

#[test]
fn a_whole_number_is_one_however_it_is_written() {
    let whole = [
        "3", "3.0", "3.00", "3e0", "3E0", "3.", "+3", "03", "0.3e1", "30e-1", "3.0E+0", "0.003e3",
    ];

    for text in whole {
        assert_eq!(whole_number(text), Some(3), "{text}");
    }
    for text in ["0", "0.0", "000.000", "0e9", "0e-9", ".0"] {
        assert_eq!(whole_number(text), Some(0), "{text}");
    }

    assert_eq!(whole_number("1.999E+03"), Some(1999));
    assert_eq!(whole_number("10000000000.0"), Some(10_000_000_000));
    assert_eq!(whole_number("18446744073709551615"), Some(u64::MAX));

    let none = [
        "",
        ".",
        "e3",
        "3.5",
        "3e-1",
        "-3",
        "-0.5",
        "3,0",
        "1,999",
        "3.0.0",
        "3e",
        "3 0",
        "NaN",
        "inf",
        "0x3",
        "1e20",
        "1e99999999999",
        "1e-400",
        "5e-324",
        "0.1e-99999999999",
        "٣",
    ];

    for text in none {
        assert_eq!(whole_number(text), None, "{text}");
    }
}

#[test]
fn a_number_that_may_be_thousands_is_a_bad_row() {
    for field in ["1.000", "12.000", "999.000", "+1.000"] {
        let text = format!("name,price_cents\nLamp,{field}\nPen,5\n");
        let (products, summary) = import(&text).unwrap();
        assert_eq!(products.found.len(), 1, "{field}");
        assert_eq!(summary["first_bad"][0]["column"], "price_cents", "{field}");
    }

    let (_, summary) = import("name,price_cents,stock\nLamp,5,1.000\n").unwrap();
    assert_eq!(summary["first_bad"][0]["column"], "stock");

    for (field, price) in [
        ("1.0", 1),
        ("1.00", 1),
        ("1.0000", 1),
        ("0.000", 0),
        ("1000.000", 1000),
    ] {
        let (products, _) = import(&format!("name,price_cents\nLamp,{field}\n")).unwrap();
        assert_eq!(products.found[0].body["price_cents"], price, "{field}");
    }
}

#[test]
fn a_products_key_is_equal_in_every_form_of_unicode() {
    let (products, _) =
        import("sku,name,price_cents\nÄ1,Lamp,1\nA\u{308}1,Lamp,2\n,Käse,3\n,Ka\u{308}se,4\n")
            .unwrap();
    let bodies: Vec<Value> = products
        .found
        .iter()
        .map(|product| product.body.clone().into())
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"sku": "Ä1", "name": "Lamp", "price_cents": 2}),
            json!({"name": "Käse", "price_cents": 4})
        ]
    );

    // Letters of attributes and of their names are composed too, and nothing else is changed.
    let text = "name,price_cents,Gro\u{308}ße,category\nLamp,1,5 m² Ka\u{308}se,Ka\u{308}se\n";
    let (products, _) = import(text).unwrap();
    assert_eq!(
        Value::from(products.found[0].body.clone()),
        json!({"name": "Lamp", "price_cents": 1, "Größe": "5 m² Käse", "category": "Käse"})
    );

    for sku in ["\u{200b}A", "A\u{202e}B", "A\u{ad}"] {
        let text = format!("sku,name,price_cents\n{sku},Lamp,1\n");
        let (_, summary) = import(&text).unwrap();
        assert_eq!(summary["first_bad"][0]["column"], "sku", "{sku:?}");
    }
}

#[test]
fn a_column_is_known_though_its_name_has_hidden_characters() {
    for header in [
        "name,price_cents\u{200b}",
        "\u{feff}\u{feff}name,price_cents",
        "\u{ff4e}ame,Price_Cents\u{a0}",
        "\u{1d40d}ame,price_cents",
        "na\u{ad}me,\u{200e}price_cents\u{200f}",
        "na\u{2060}me,price\u{200c}_\u{200d}cents",
    ] {
        let (products, _) = import(&format!("{header}\nLamp,5\n")).unwrap();
        let body = Value::from(products.found[0].body.clone());
        assert_eq!(
            body,
            json!({"name": "Lamp", "price_cents": 5}),
            "{header:?}"
        );
    }
}

#[test]
fn a_refusal_shows_the_header_that_was_read() {
    let Err(Stop::Refused(refusal)) = import("Price list 2026\nname;price_cents\n") else {
        panic!("a title is no header")
    };
    assert!(
        refusal.detail.contains("\"Price list 2026\""),
        "{}",
        refusal.detail
    );

    let Err(Stop::Refused(refusal)) = import(&format!("title,price,{}\n", "n".repeat(200))) else {
        panic!("name and price_cents are missing")
    };
    let detail = refusal.detail;
    assert!(detail.contains(r#""title", "price", "nnn"#), "{detail}");
    assert!(detail.chars().count() < 200, "{detail}");
}

#[test]
fn the_last_row_of_a_product_holds_and_it_is_brought_once() {
    let (products, _) = import(
        "sku,name,price_cents,stock\nA,Lamp,100,1\nB,Pen,5,\nA,Lamp II,200,\n A ,Lamp III,300.0,9\n,Pen,7,\n,Pen,8,\n",
    )
    .unwrap();

    let bodies: Vec<Value> = products
        .found
        .iter()
        .map(|product| product.body.clone().into())
        .collect();

    assert_eq!(
        bodies,
        [
            json!({"sku": "A", "name": "Lamp III", "price_cents": 300, "stock": 9}),
            json!({"sku": "B", "name": "Pen", "price_cents": 5}),
            json!({"name": "Pen", "price_cents": 8})
        ]
    );

    let rows: Vec<u64> = products.found[0].rows.iter().map(|row| row.row).collect();
    assert_eq!((products.repeated_rows, rows), (3, vec![1, 3, 4]));
}

#[test]
fn a_refused_product_is_blamed_on_the_row_that_set_the_field() {
    let text =
        "sku,name,price_cents,currency,category\nA,Lamp,1,usd,\nA,Lamp,2,,home\nA,Lamp II,,,\n";
    let (products, _) = import(text).unwrap();

    for (column, row) in [
        (Some("currency"), 1),
        (Some("category"), 2),
        (Some("name"), 3),
        (None, 1),
    ] {
        let complaint = Complaint {
            column: column.map(str::to_owned),
            problem: "is wrong".to_owned(),
        };
        let refused = products.found[0].refused(complaint.clone());
        assert_eq!((refused.row.row, refused.row.line), (row, row + 1));

        let bad: Vec<(RawRow, Complaint)> = refused.bad_rows().collect();
        assert_eq!((bad.len(), &bad[0].1), (3, &complaint), "{column:?}");
        let problem = format!("belongs to the product of row {row}");
        assert!(
            bad[1..].iter().all(|(_, other)| other.problem == problem),
            "{bad:?}"
        );
    }
}

#[test]
fn a_point_is_dropped_from_skus_if_all_of_them_have_one() {
    let skus = |text: &str| {
        let mut products = import(text).unwrap().0;
        let changed = products.drop_points();
        let found = products.found.into_iter();
        let found = found.map(|product| (product.id, product.body.get(SKU).cloned()));
        (changed, found.collect::<Vec<_>>())
    };

    let plain = skus("sku,name,price_cents\n1001,Pan,1\n0,Pin,2\n,Pen,3\n");
    let floats = skus("sku,name,price_cents\n1001.0,Pan,1\n0.0,Pin,2\n,Pen,3\n");
    assert_eq!((plain.0, floats.0), (0, 2));
    assert_eq!(plain.1, floats.1);

    for other in ["A1", "7", "1.5", "1.00", ".0", "-1.0", "1.0.0"] {
        for text in [
            format!("sku,name,price_cents\n1001.0,Pan,1\n{other},Pin,2\n"),
            format!("sku,name,price_cents\n{other},Pin,free\n1001.0,Pan,1\n"),
        ] {
            let kept = skus(&text);
            let has_point = kept.1.iter().any(|(_, sku)| *sku == Some("1001.0".into()));
            assert!(kept.0 == 0 && has_point, "{other}: {kept:?}");
        }
    }
}

#[test]
fn an_index_of_pandas_is_no_field_and_a_value_without_a_name_is_bad() {
    for index in ["", "Unnamed: 0"] {
        let (products, summary) = import(&format!(
            "{index},NAME, Price_Cents \n0,Lamp,1999.0\n1,Pen,250\n"
        ))
        .unwrap();
        assert_eq!(summary["bad_rows"], 0);

        let body = Value::from(products.found[0].body.clone());
        assert_eq!(body, json!({"name": "Lamp", "price_cents": 1999}));
    }

    let (products, summary) = import("name,price_cents,,\nLamp,1,,\nPen,2,,red\n").unwrap();
    assert_eq!(
        (products.found.len(), &summary["first_bad"][0]["column"]),
        (1, &json!("column 4"))
    );
}

#[test]
fn a_header_with_a_name_twice_is_refused() {
    for header in [
        "name,price_cents,price_cents",
        "name,price_cents, Price_Cents ",
        "name,NAME,price_cents",
        "name,price_cents,Größe,Gro\u{308}ße",
        "name,price_cents,my size,my\u{a0}size",
        "name,price_cents,price_cents\u{200b}",
        "name,price_cents,№,no",
        "name,price_cents,my size,my  size",
    ] {
        let Err(Stop::Refused(refusal)) = import(&format!("{header}\nLamp,1,5\n")) else {
            panic!("{header}")
        };
        assert!(refusal.detail.contains("duplicate"), "{}", refusal.detail);
    }
}
