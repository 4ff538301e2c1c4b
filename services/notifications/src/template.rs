//! What a notification says: a text with `{{places}}` to be filled. The first line is the subject, the body begins after an
//! empty line.

use std::fmt::Write;

use events::{OrderCreated, OrderItem};

const ORDER_CREATED: &str = include_str!("templates/order-created.txt");
/// Currencies without a minor unit (ISO 4217).
const WITHOUT_MINOR_UNIT: [&str; 7] = ["CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND"];

/// What is said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// One line.
    pub subject: String,
    /// The rest.
    pub body: String,
}

/// Says that an order is in.
pub fn order_created(order: &OrderCreated) -> Message {
    let total = money(order.total_cents, &order.currency);
    let items: Vec<String> = order.items.iter().map(|item| line(item, &order.currency)).collect();
    fill(
        ORDER_CREATED,
        &[
            ("order_id", &order.order_id.to_string()),
            ("created_at", &order.created_at.to_string()),
            ("items", &items.join("\n")),
            ("total", &total),
        ],
    )
}

/// Fills the places of a template. What is filled in is never searched for places itself.
fn fill(template: &str, values: &[(&str, &str)]) -> Message {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, (name, after))) = rest.split_once("{{").and_then(|(b, a)| Some((b, a.split_once("}}")?))) {
        filled.push_str(before);
        let value = values.iter().find(|(place, _)| *place == name);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    let (subject, body) = filled.split_once("\n\n").unwrap_or((&filled, ""));
    Message { subject: subject.replace(['\r', '\n'], " "), body: body.trim_end().to_owned() }
}

fn line(item: &OrderItem, currency: &str) -> String {
    format!("{} × {} at {}", item.quantity, item.product_id, money(item.unit_price_cents, currency))
}

fn money(cents: u64, currency: &str) -> String {
    let mut text = String::new();
    let written = if WITHOUT_MINOR_UNIT.contains(&currency) {
        write!(text, "{cents} {currency}")
    } else {
        write!(text, "{}.{:02} {currency}", cents / 100, cents % 100)
    };
    written.expect("a String takes all");
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_order_is_told_with_its_lines_and_its_total() {
        let order = OrderCreated {
            event_id: Uuid::nil(),
            event_type: events::ORDER_CREATED.to_owned(),
            order_id: 7,
            user_id: 42,
            total_cents: 3_998,
            currency: "USD".to_owned(),
            items: vec![OrderItem { product_id: Uuid::nil(), quantity: 2, unit_price_cents: 1_999 }],
            created_at: "2026-11-22T10:00:00.123Z".parse().unwrap(),
        };
        let message = order_created(&order);
        assert_eq!(message.subject, "Your order 7 is in");
        assert!(message.body.contains("2 × 00000000-0000-0000-0000-000000000000 at 19.99 USD"), "{}", message.body);
        assert!(message.body.contains("Total: 39.98 USD"), "{}", message.body);
        assert!(!message.body.contains("{{"));
    }

    #[test]
    fn what_is_filled_in_is_no_template_and_no_second_subject_line() {
        let message = fill("To {{name}}\n\nHello {{name}}{{other}}.\n", &[("name", "{{name}}\nBcc: x"), ("other", "")]);
        assert_eq!(message, Message { subject: "To {{name}} Bcc: x".into(), body: "Hello {{name}}\nBcc: x.".into() });
    }

    #[test]
    fn money_is_written_as_its_currency_has_it() {
        assert_eq!([money(5, "EUR"), money(1_000, "JPY")], ["0.05 EUR", "1000 JPY"]);
    }
}
