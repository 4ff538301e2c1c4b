//! Tests of the index: matching, filtering, sorting and changes. After random changes it must find
//! the same as an index built anew.

use events::Timestamp;
use serde_json::json;

use super::*;
use crate::product::{Details, Object};

fn product(number: u128, name: &str, category: Option<&str>, price_cents: u64) -> Product {
    let body = json!({"name": name, "category": category, "price_cents": price_cents, "description": "Brass, made by hand"});
    let body: Object = serde_json::from_value(body).unwrap();
    Product::new(
        Uuid::from_u128(number),
        Details::parse(body).unwrap(),
        Timestamp::now(),
    )
}

fn index(products: &[(&str, Option<&str>, u64)]) -> Index {
    let mut index = Index::default();
    for (number, (name, category, price)) in (1..).zip(products) {
        index.put(&product(number, name, *category, *price));
    }
    index
}

fn find(index: &Index, wanted: &Wanted) -> Vec<u128> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let mut page = index.find(wanted, after.as_ref(), 2).page;
        let has_more = page.len() > 2;
        page.truncate(2);
        found.extend(page.iter().map(|position| position.id().as_u128()));
        after = page.pop();

        if !has_more {
            return found;
        }
    }
}

fn text(text: &str) -> Wanted {
    Wanted {
        text: text.to_owned(),
        ..Wanted::default()
    }
}

#[test]
fn every_word_must_be_found_whatever_its_case_and_accents() {
    let index = index(&[
        ("Café crème", None, 1),
        ("Lamp", Some("Home"), 2),
        ("Crème de la crème", None, 3),
        ("Lampshade", Some("Home"), 4),
    ]);

    for query in ["cafe", "CAFÉ", "cafe creme", "crem caf", "  café,  "] {
        assert_eq!(find(&index, &text(query)), [1], "{query}");
    }

    assert_eq!(
        find(&index, &text("lamp")),
        [2, 4],
        "an equal word goes before a longer one"
    );

    assert_eq!(
        find(&index, &text("home lamp")),
        [2, 4],
        "the category counts"
    );

    assert_eq!(
        find(&index, &text("brass")),
        [4, 3, 2, 1],
        "the description counts"
    );

    assert_eq!(find(&index, &text("")), [4, 3, 2, 1]);
    assert_eq!(find(&index, &text("  ")), [4, 3, 2, 1]);
    for signs in ["🌊", "%", "!!!"] {
        assert_eq!(find(&index, &text(signs)), [0; 0], "{signs}");
    }
    assert_eq!(find(&index, &text("lamp cafe")), [0; 0]);
    assert_eq!(find(&index, &text("lmap")), [2], "a typing error");

    assert_eq!(
        find(&index, &text("c")),
        [3, 1],
        "the first letter is typed"
    );
}

#[test]
fn what_is_found_is_filtered_sorted_and_counted() {
    let index = index(&[
        ("Éclair", Some("Food"), 300),
        ("apple", Some("Food"), 100),
        ("Zebra", None, 200),
        ("banana", Some("Toys"), 100),
    ]);

    let sorted = |sort| {
        find(
            &index,
            &Wanted {
                sort,
                ..Wanted::default()
            },
        )
    };
    assert_eq!(sorted(Sort::Newest), [4, 3, 2, 1]);
    assert_eq!(sorted(Sort::Name), [2, 4, 1, 3]);
    assert_eq!(sorted(Sort::Cheapest), [4, 2, 3, 1]);
    assert_eq!(sorted(Sort::Dearest), [1, 3, 4, 2]);

    let priced = |from, to| {
        find(
            &index,
            &Wanted {
                price: Prices { from, to },
                ..Wanted::default()
            },
        )
    };
    assert_eq!(priced(Some(101), None), [3, 1]);
    assert_eq!(priced(None, Some(100)), [4, 2]);
    assert_eq!(priced(Some(200), Some(200)), [3]);

    let in_yen = Wanted {
        currency: Some("JPY".to_owned()),
        ..text("brass")
    };
    assert_eq!(find(&index, &in_yen), [0; 0]);

    let food = Wanted {
        category: Some("Food".to_owned()),
        ..text("brass")
    };
    assert_eq!(find(&index, &food), [2, 1]);

    let found = index.find(&food, None, 1);
    let categories: Vec<_> = found.categories.into_iter().collect();
    assert_eq!((found.total, found.page.len()), (2, 2));
    assert_eq!(categories, [("Food".to_owned(), 2), ("Toys".to_owned(), 1)]);
}

#[test]
fn what_changed_is_found_by_its_new_words_only() {
    let mut index = index(&[("Lamp", None, 1), ("Pen", None, 2)]);
    let mut changed = product(1, "Lantern", None, 5);
    changed.version = 2;
    index.put(&changed);

    assert_eq!(
        (find(&index, &text("lamp")), find(&index, &text("lantern"))),
        (vec![], vec![1])
    );

    index.put(&product(1, "Lamp", None, 1));
    assert_eq!(
        find(&index, &text("lantern")),
        [1],
        "an earlier version comes late"
    );

    index.remove(Uuid::from_u128(1));
    index.remove(Uuid::from_u128(1));
    assert_eq!((find(&index, &text("")), index.len()), (vec![2], 1));
}

#[test]
fn after_many_changes_the_index_is_as_one_made_anew() {
    let mut changing = Index::default();
    let mut names = BTreeMap::new();
    let mut seed = 7_u64;

    for round in 1..2_000_u64 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);

        let number = u128::from(seed >> 60);
        if (seed >> 40).is_multiple_of(3) {
            changing.remove(Uuid::from_u128(number));
            names.remove(&number);
        } else {
            let name = format!("Thing w{} {}", (seed >> 30) % 5, (seed >> 20) % 3);
            let mut product = product(number, &name, None, round);
            product.version = round;
            changing.put(&product);
            names.insert(number, product);
        }

        let mut anew = Index::default();
        names.values().for_each(|product| anew.put(product));
        for query in ["", "thing", "w1", "w2 1", "0"] {
            assert_eq!(
                find(&changing, &text(query)),
                find(&anew, &text(query)),
                "{round}: {query}"
            );
        }
    }

    assert!(changing.entries.len() <= 2 * changing.len() + 4);
}

/// Returns the ids of these products as a plain loop finds and sorts them.
fn sorted(products: &[Product], wanted: &Wanted) -> Vec<u128> {
    let is_wanted = |product: &&Product| {
        let details = &product.details;
        let category = wanted.category.is_none() || wanted.category == details.category;
        category && wanted.price.contain(details.price_cents)
    };
    let mut found: Vec<&Product> = products.iter().filter(is_wanted).collect();
    found.sort_by_key(|product| {
        let details = &product.details;
        let rank = match wanted.sort {
            Sort::Cheapest => details.price_cents,
            Sort::Dearest => u64::MAX - details.price_cents,
            Sort::Best | Sort::Newest | Sort::Name => 0,
        };
        let name = match wanted.sort {
            Sort::Name => details.name.to_lowercase().replace(['É', 'é'], "e"),
            _ => String::new(),
        };
        (rank, name, Reverse(product.id))
    });
    found.iter().map(|product| product.id.as_u128()).collect()
}

/// Compares the total, the facets and the currencies of a search with those of a plain loop.
fn check_counts(products: &[Product], wanted: &Wanted, found: &Found) {
    assert_eq!(found.total, sorted(products, wanted).len());
    for (name, count) in &found.categories {
        let of_category = Wanted {
            category: Some(name.clone()),
            ..wanted.clone()
        };
        assert_eq!(sorted(products, &of_category).len(), *count);
    }

    let currencies = products
        .iter()
        .map(|product| product.details.currency.clone());
    assert_eq!(found.currencies, currencies.collect());
}

#[test]
fn pages_follow_a_plain_sort_of_the_matches() {
    const NAMES: [&str; 5] = ["Étude", "etude", "Lamp", "lamp shade", "Zebra"];
    let mut products = Vec::new();
    let mut index = Index::default();
    for number in 1..=120_u128 {
        // Neither ids nor prices follow the order in which products are added.
        let id = number * 77 % 127;
        let of = |count: u128| usize::try_from(id / 3 % count).unwrap();
        let category = [None, Some("Home"), Some("Music")][of(3)];
        let mut product = product(
            id,
            NAMES[of(5)],
            category,
            100 + u64::try_from(number * 31 % 7).unwrap(),
        );
        product.details.currency = ["EUR", "JPY", "USD"][of(3)].to_owned();
        index.put(&product);
        products.push(product);
    }
    for removed in products.drain(10..20) {
        index.remove(removed.id);
    }

    let prices = Prices {
        from: Some(101),
        to: Some(104),
    };
    for sort in [
        Sort::Best,
        Sort::Newest,
        Sort::Name,
        Sort::Cheapest,
        Sort::Dearest,
    ] {
        for category in [None, Some("Home"), Some("Nowhere")] {
            for price in [Prices::default(), prices] {
                let wanted = Wanted {
                    category: category.map(str::to_owned),
                    price,
                    sort,
                    ..Wanted::default()
                };
                let expected = sorted(&products, &wanted);
                assert_eq!(find(&index, &wanted), expected, "{wanted:?}");

                check_counts(&products, &wanted, &index.find(&wanted, None, 2));
            }
        }
    }
}
