//! The events that a user is notified of: an order that was accepted, and each state that it enters
//! after that.

use events::{ORDER_CHANGES, ORDER_CREATED, OrderChanged, OrderCreated, Timestamp};
use serde::Deserialize;
use uuid::Uuid;

use crate::template::{self, Message};

/// An event that a user is notified of.
#[derive(Clone, Debug)]
pub enum OrderEvent {
    /// An order was accepted.
    Created(OrderCreated),
    /// An order entered another state.
    Changed(OrderChanged),
}

#[derive(Deserialize)]
struct Kind {
    event_type: String,
}

impl OrderEvent {
    /// Decodes the value of a record. Returns none for an event of a type without notifications.
    ///
    /// # Errors
    /// When the value is not an event, or lacks a field of its type.
    pub fn decode(value: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let kind: Kind = serde_json::from_slice(value)?;
        match kind.event_type.as_str() {
            ORDER_CREATED => Ok(Some(Self::Created(serde_json::from_slice(value)?))),
            change if ORDER_CHANGES.contains(&change) => {
                Ok(Some(Self::Changed(serde_json::from_slice(value)?)))
            }
            _ => Ok(None),
        }
    }

    /// Returns its id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Created(order) => order.event_id,
            Self::Changed(change) => change.event_id,
        }
    }

    /// Returns the user to notify.
    pub fn user_id(&self) -> u64 {
        match self {
            Self::Created(order) => order.user_id,
            Self::Changed(change) => change.user_id,
        }
    }

    /// Returns the order that it is about.
    pub fn order_id(&self) -> u64 {
        match self {
            Self::Created(order) => order.order_id,
            Self::Changed(change) => change.order_id,
        }
    }

    /// Returns its time.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Created(order) => order.created_at,
            Self::Changed(change) => change.changed_at,
        }
    }

    /// Returns the message about it.
    pub fn message(&self) -> Message {
        match self {
            Self::Created(order) => template::order_created(order),
            Self::Changed(change) => template::order_changed(change),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::OrderEvent;

    fn change(event_type: &str) -> serde_json::Value {
        json!({
            "event_id": "01980a4c-5b00-7000-8000-000000000002", "event_type": event_type, "version": 1,
            "order_id": 7, "user_id": 42, "total_cents": 3998, "currency": "USD",
            "changed_at": "2026-11-22T10:05:00.123Z", "added_later": true,
        })
    }

    fn decode(value: &serde_json::Value) -> Result<Option<OrderEvent>, serde_json::Error> {
        OrderEvent::decode(value.to_string().as_bytes())
    }

    #[test]
    fn each_change_is_told_in_words_of_its_own() {
        let mut subjects = Vec::new();
        for event_type in events::ORDER_CHANGES {
            let event = decode(&change(event_type)).unwrap().unwrap();
            assert_eq!((event.user_id(), event.order_id()), (42, 7));

            let message = event.message();
            for text in [
                &message.subject,
                &message.text,
                &message.html,
                &message.short,
            ] {
                assert!(text.contains('7') && !text.contains("{{"), "{text}");
            }
            subjects.push(message.subject);
        }

        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), events::ORDER_CHANGES.len());
    }

    #[test]
    fn other_types_are_passed_over_and_broken_events_are_not() {
        assert!(decode(&change("order.admired")).unwrap().is_none());

        let mut broken = change("order.paid");
        broken.as_object_mut().unwrap().remove("order_id");
        assert!(decode(&broken).is_err());
        assert!(decode(&json!({"event_type": 7})).is_err());
        assert!(decode(&json!({})).is_err());
    }
}
