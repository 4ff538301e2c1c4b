//! Pages, cursors and limits.

use chassis::{Cursor, Limit, Page, PageQuery};
use serde_json::json;

fn query(json: serde_json::Value) -> Result<PageQuery, serde_json::Error> {
    serde_json::from_value(json)
}

#[test]
fn walking_the_cursors_visits_every_item_once() {
    let all: Vec<u32> = (0..45).collect();
    let mut seen = Vec::new();
    let mut cursor = None;

    loop {
        let asked = query(json!({ "limit": 20, "cursor": cursor })).unwrap();
        let after = asked.after::<u32>().unwrap();
        let found = all
            .iter()
            .copied()
            .filter(|item| after.is_none_or(|after| *item > after));
        let found = found.take(asked.limit.items() + 1).collect();
        let page = Page::cut(found, asked.limit, |item| *item);
        seen.extend(page.items);
        cursor = page.next;

        if cursor.is_none() {
            break;
        }
    }

    assert_eq!(seen, all);
}

#[test]
fn a_page_that_is_just_full_is_the_last() {
    let limit = Limit::default();
    assert!(Page::cut(vec![0; 20], limit, |item| *item).next.is_none());
    assert!(Page::cut(vec![0; 21], limit, |item| *item).next.is_some());
}

#[test]
fn limits_are_from_1_to_100_and_20_when_not_said() {
    assert_eq!(query(json!({})).unwrap().limit.items(), 20);
    assert_eq!(query(json!({"limit": "100"})).unwrap().limit.items(), 100);
    for limit in [json!(0), json!(101), json!("x")] {
        assert!(query(json!({ "limit": limit })).is_err(), "{limit}");
    }
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let foreign: Cursor = serde_json::from_value(json!("bm90IG91cnM")).unwrap();
    assert!(foreign.decode::<u32>().is_err());
    assert!(Cursor::encode(&"text").decode::<u32>().is_err());

    assert_eq!(
        Cursor::encode(&(7, "a")).decode::<(u8, String)>().unwrap(),
        (7, "a".to_owned())
    );
}
