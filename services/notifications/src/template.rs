//! The texts of notifications: templates with placeholders like `{{total}}`. In the plain text, the first
//! line is the subject, and the body begins after an empty line. The HTML has the same content,
//! with all filled-in values escaped.

use events::{
    ORDER_CANCELLED, ORDER_DELIVERED, ORDER_EXPIRED, ORDER_PAID, ORDER_SHIPPED, OrderChanged,
    OrderCreated, OrderItem,
};

const ORDER_CREATED: &str = include_str!("templates/order-created.txt");
const ORDER_CREATED_HTML: &str = include_str!("templates/order-created.html");
const ORDER_CREATED_SMS: &str = include_str!("templates/order-created.sms.txt");
const ORDER_CHANGED: &str = include_str!("templates/order-changed.txt");
const ORDER_CHANGED_HTML: &str = include_str!("templates/order-changed.html");
const ORDER_CHANGED_SMS: &str = include_str!("templates/order-changed.sms.txt");
const ACCOUNT_MAIL: &str = include_str!("templates/account-mail.txt");
const ACCOUNT_MAIL_HTML: &str = include_str!("templates/account-mail.html");
const ITEM_HTML: &str = "<tr><td align=\"right\">{{quantity}}</td><td>{{product}}</td>\
                         <td align=\"right\">{{each}}</td><td align=\"right\">{{sum}}</td></tr>";
/// Number of digits of the minor unit for currencies without one in ISO 4217.
const USUAL_DIGITS: u16 = 2;

/// A message in all its forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// The subject, one line.
    pub subject: String,
    /// The body in plain text.
    pub text: String,
    /// The body in HTML.
    pub html: String,
    /// The message in one line, for SMS.
    pub short: String,
}

/// Returns the message about a new order.
pub fn order_created(order: &OrderCreated) -> Message {
    let total = money(order.total_cents, &order.currency);
    let order_id = order.order_id.to_string();
    let created_at = order.created_at.to_string();

    let lines: Vec<String> = order
        .items
        .iter()
        .map(|item| line(item, &order.currency))
        .collect();

    let rows: Vec<String> = order
        .items
        .iter()
        .map(|item| row(item, &order.currency))
        .collect();

    let values = [
        ("order_id", order_id.as_str()),
        ("created_at", &created_at),
        ("total", &total),
    ];

    let (subject, text) = split(&fill(
        ORDER_CREATED,
        &[&values[..], &[("items", &lines.join("\n"))]].concat(),
    ));

    let escaped_total = escape(&total);
    let values_html = [
        ("order_id", order_id.as_str()),
        ("created_at", &created_at),
        ("total", &escaped_total),
    ];

    let html = fill(
        ORDER_CREATED_HTML,
        &[&values_html[..], &[("items", &rows.join("\n"))]].concat(),
    );

    Message {
        subject,
        text,
        html,
        short: fill(ORDER_CREATED_SMS, &values).trim_end().to_owned(),
    }
}

/// The words about a state that an order has entered.
struct Words {
    /// The order's state, as the subject names it.
    state: &'static str,
    /// The sentence about the change, with placeholders.
    sentence: &'static str,
    /// The sentence about the next step.
    next: &'static str,
}

/// Returns the message about an order that has entered another state.
pub fn order_changed(change: &OrderChanged) -> Message {
    let total = money(change.total_cents, &change.currency);
    let order_id = change.order_id.to_string();
    let words = words(&change.event_type);
    let sentence = fill(
        words.sentence,
        &[("order_id", &order_id), ("total", &total)],
    );

    let values = |sentence| {
        [
            ("order_id", order_id.as_str()),
            ("state", words.state),
            ("sentence", sentence),
            ("next", words.next),
        ]
    };
    let escaped = escape(&sentence);
    let (subject, text) = split(&fill(ORDER_CHANGED, &values(&sentence)));

    Message {
        subject,
        text,
        html: fill(ORDER_CHANGED_HTML, &values(&escaped)),
        short: fill(ORDER_CHANGED_SMS, &values(&sentence))
            .trim_end()
            .to_owned(),
    }
}

fn words(event_type: &str) -> Words {
    let of = |state, sentence, next| Words {
        state,
        sentence,
        next,
    };
    match event_type {
        ORDER_PAID => of(
            "is paid",
            "thank you for the payment of {{total}} for your order {{order_id}}.",
            "We will write to you when it is on its way.",
        ),
        ORDER_SHIPPED => of(
            "is on its way",
            "your order {{order_id}} has been shipped.",
            "We will write to you when it has arrived.",
        ),
        ORDER_DELIVERED => of(
            "has arrived",
            "your order {{order_id}} was delivered.",
            "If anything is wrong with it, write to us.",
        ),
        ORDER_CANCELLED => of(
            "is cancelled",
            "your order {{order_id}} was cancelled.",
            "If you have paid for it, the money goes back to you.",
        ),
        ORDER_EXPIRED => of(
            "has expired",
            "your order {{order_id}} was not paid in time. It has ended, and you owe nothing.",
            "You are welcome to order again.",
        ),
        _ => of(
            "is refunded",
            "the {{total}} for your order {{order_id}} went back to you.",
            "It may take your bank some days to show it.",
        ),
    }
}

/// Returns the mail of this kind about an account; none if the kind is unknown. It contains no text
/// from the request that caused it: otherwise anybody could send any text to a stranger by a sign-up.
pub fn account_mail(kind: &str, link: Option<&str>) -> Option<Message> {
    let words = account_words(kind)?;
    let values = |paragraph| {
        [
            ("subject", words.state),
            ("sentence", words.sentence),
            ("link", paragraph),
            ("next", words.next),
        ]
    };

    // A mail without a link has no paragraph for one.
    let plain = link.map(|link| format!("{link}\n\n"));
    let plain = plain.unwrap_or_default();
    let html = link.map(escape);
    let html = html.map(|link| format!("<p><a href=\"{link}\">{link}</a></p>\n"));
    let html = html.unwrap_or_default();

    let (subject, text) = split(&fill(ACCOUNT_MAIL, &values(&plain)));
    Some(Message {
        html: fill(ACCOUNT_MAIL_HTML, &values(&html)),
        short: subject.clone(),
        subject,
        text,
    })
}

/// Returns the words of a mail about an account; `state` is its subject.
fn account_words(kind: &str) -> Option<Words> {
    let of = |state, sentence, next| Words {
        state,
        sentence,
        next,
    };
    Some(match kind {
        "verify_address" => of(
            "Confirm your e-mail address",
            "somebody entered this e-mail address for an account at Tidemark. If it was you, confirm it by this link, in the browser where you are logged in:",
            "The link works for an hour. If it was not you, ignore this mail.",
        ),
        "address_in_use" => of(
            "You have an account already",
            "somebody entered this e-mail address for another account at Tidemark. It belongs to your account, and nothing has changed there. If it was you and you forgot your password, set another one:",
            "If it was not you, ignore this mail.",
        ),
        "reset_password" => of(
            "Set another password",
            "somebody requested a link to set another password for your account at Tidemark. If it was you, set it by this link:",
            "The link works once, for an hour. If it was not you, ignore this mail: your password stays as it is.",
        ),
        "address_changing" => of(
            "The e-mail address of your account is being changed",
            "another e-mail address was entered for your account at Tidemark, with your password. This one stays in use until the other is confirmed.",
            "If it was not you, log in and change your password now.",
        ),
        "password_changed" => of(
            "Your password was changed",
            "the password of your account at Tidemark was changed, and all devices were logged out. If it was not you, set another one:",
            "If it was you, there is nothing to do.",
        ),
        _ => return None,
    })
}

/// Replaces the placeholders of a template. The values are not searched for placeholders.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, (name, after))) = rest
        .split_once("{{")
        .and_then(|(b, a)| Some((b, a.split_once("}}")?)))
    {
        filled.push_str(before);
        let value = values.iter().find(|(place, _)| *place == name);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }

    filled.push_str(rest);
    filled
}

/// Splits a text into its subject and body. Line breaks in the subject become spaces.
fn split(filled: &str) -> (String, String) {
    let (subject, body) = filled.split_once("\n\n").unwrap_or((filled, ""));
    (
        subject.replace(['\r', '\n'], " "),
        body.trim_end().to_owned(),
    )
}

/// Escapes a text for HTML, between tags or in an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }

    escaped
}

fn line(item: &OrderItem, currency: &str) -> String {
    let (each, sum) = prices(item, currency);
    format!("{} × {} at {each}: {sum}", item.quantity, product(item))
}

/// Returns the name of a line's product, or its id if the order has none.
fn product(item: &OrderItem) -> String {
    let name = item.name.clone();
    name.unwrap_or_else(|| item.product_id.to_string())
}

fn row(item: &OrderItem, currency: &str) -> String {
    let (each, sum) = prices(item, currency);
    let quantity = item.quantity.to_string();
    let product = escape(&product(item));

    fill(
        ITEM_HTML,
        &[
            ("quantity", &quantity),
            ("product", &product),
            ("each", &escape(&each)),
            ("sum", &escape(&sum)),
        ],
    )
}

/// Returns the unit price and the price of the whole line.
fn prices(item: &OrderItem, currency: &str) -> (String, String) {
    let sum_cents = item.unit_price_cents.saturating_mul(item.quantity.into());
    (
        money(item.unit_price_cents, currency),
        money(sum_cents, currency),
    )
}

/// Writes an amount with as many digits as the currency's minor unit has: 19.99 USD, 1500 JPY, 1.500 KWD.
fn money(minor_units: u64, currency: &str) -> String {
    let known = iso_currency::Currency::from_code(currency);
    let digits = known.and_then(|known| known.exponent());
    let digits = digits.unwrap_or(USUAL_DIGITS);

    if digits == 0 {
        return format!("{minor_units} {currency}");
    }

    let unit = 10_u64.pow(digits.into());
    let width = usize::from(digits);
    let whole = minor_units / unit;
    let rest = minor_units % unit;
    format!("{whole}.{rest:0width$} {currency}")
}

#[cfg(test)]
mod tests;
