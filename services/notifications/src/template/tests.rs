//! Tests of the texts of messages.

use uuid::Uuid;

use super::*;

fn order(currency: &str) -> OrderCreated {
    OrderCreated {
        event_id: Uuid::nil(),
        event_type: events::ORDER_CREATED.to_owned(),
        order_id: 7,
        user_id: 42,
        total_cents: 3_998,
        currency: currency.to_owned(),
        items: vec![OrderItem {
            product_id: Uuid::nil(),
            quantity: 2,
            unit_price_cents: 1_999,
            name: None,
        }],
        created_at: "2026-11-22T10:00:00.123Z".parse().unwrap(),
    }
}

#[test]
fn each_mail_about_an_account_has_words_of_its_own_and_its_link() {
    let link = "https://shop.example/reset#t0ken&<b>";
    let mut subjects = Vec::new();
    for kind in [
        "verify_address",
        "address_in_use",
        "reset_password",
        "address_changing",
        "password_changed",
    ] {
        let message = account_mail(kind, Some(link)).unwrap();
        assert!(message.text.contains(link), "{}", message.text);
        assert!(message.html.contains("#t0ken&amp;&lt;b&gt;\""));

        let without = account_mail(kind, None).unwrap();
        assert!(!without.html.contains("href"), "{}", without.html);
        assert!(!without.text.contains("\n\n\n"), "{}", without.text);

        for text in [&message.subject, &message.text, &message.html] {
            assert!(!text.contains("{{"), "{text}");
        }
        subjects.push(message.subject);
    }

    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 5);
    assert!(account_mail("advertisement", None).is_none());
}

#[test]
fn an_order_is_told_with_its_lines_and_its_total() {
    let message = order_created(&order("USD"));
    assert_eq!(message.subject, "Your order 7 is in");
    let line = "2 × 00000000-0000-0000-0000-000000000000 at 19.99 USD: 39.98 USD";

    assert!(
        message.text.contains(line) && message.text.contains("Total: 39.98 USD"),
        "{}",
        message.text
    );

    assert!(
        message
            .html
            .contains("<td>00000000-0000-0000-0000-000000000000</td>"),
        "{}",
        message.html
    );

    assert!(
        message.html.contains("<strong>39.98 USD</strong>"),
        "{}",
        message.html
    );

    assert_eq!(
        message.short,
        "Tidemark: your order 7 is in. Total: 39.98 USD."
    );

    assert!(
        ![message.text, message.html, message.short]
            .iter()
            .any(|text| text.contains("{{"))
    );
}

#[test]
fn a_line_has_the_name_of_its_product() {
    let mut order = order("USD");
    order.items[0].name = Some("Lamp \"<b>\" {{total}}".to_owned());
    let message = order_created(&order);
    let line = "2 × Lamp \"<b>\" {{total}} at 19.99 USD: 39.98 USD";
    assert!(message.text.contains(line), "{}", message.text);

    let cell = "<td>Lamp &quot;&lt;b&gt;&quot; {{total}}</td>";
    assert!(message.html.contains(cell), "{}", message.html);
}

#[test]
fn what_an_event_says_is_text_in_html_and_no_markup() {
    let message = order_created(&order("<b onclick=\"x('&')\">"));
    assert!(!message.html.contains("<b "), "{}", message.html);
    let escaped = "39.98 &lt;b onclick=&quot;x(&#39;&amp;&#39;)&quot;&gt;";
    assert_eq!(message.html.matches(escaped).count(), 2, "{}", message.html);
}

#[test]
fn what_is_filled_in_is_no_template_and_no_second_subject_line() {
    let filled = fill(
        "To {{name}}\n\nHello {{name}}{{other}}.\n",
        &[("name", "{{name}}\nBcc: x"), ("other", "")],
    );

    assert_eq!(
        split(&filled),
        (
            "To {{name}} Bcc: x".into(),
            "Hello {{name}}\nBcc: x.".into()
        )
    );
}

#[test]
fn money_is_written_as_its_currency_has_it() {
    let written = [
        money(5, "EUR"),
        money(1_000, "JPY"),
        money(1_500, "KRW"),
        money(1_500, "XOF"),
        money(1_500, "UGX"),
        money(1_500, "KWD"),
        money(7, "BHD"),
        money(15_000, "CLF"),
        money(1_999, "ZZZ"),
        money(u64::MAX, "TND"),
    ];

    let expected = [
        "0.05 EUR",
        "1000 JPY",
        "1500 KRW",
        "1500 XOF",
        "1500 UGX",
        "1.500 KWD",
        "0.007 BHD",
        "1.5000 CLF",
        "19.99 ZZZ",
        "18446744073709551.615 TND",
    ];
    assert_eq!(written, expected);
}

#[test]
fn every_form_of_a_message_has_the_money_of_its_currency() {
    for (currency, total, each) in [
        ("KRW", "3998 KRW", "1999 KRW"),
        ("KWD", "3.998 KWD", "1.999 KWD"),
    ] {
        let Message {
            text, html, short, ..
        } = order_created(&order(currency));
        assert!(text.contains(&format!("Total: {total}")), "{text}");
        assert!(text.contains(&format!("at {each}: {total}")), "{text}");
        assert!(
            html.contains(&format!("<strong>{total}</strong>")),
            "{html}"
        );
        assert!(short.contains(&format!("Total: {total}.")), "{short}");
    }
}
