//! Couriers: deliver messages outside this system, one for each channel.
//!
//! A courier only reports whether the message was accepted. After an error, the message may have been
//! accepted nevertheless: if a server stops responding after the last byte, the outcome is unknown.
//! Each message therefore carries the id of its event, by which a receiver can recognise a second
//! copy.

pub mod email;
pub mod sms;

use futures::future::BoxFuture;
use uuid::Uuid;

use crate::notification::{Channel, Refusal};
use crate::recipient::Recipient;
use crate::template::Message;

/// A message with its recipient.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// The id of the event.
    pub id: Uuid,
    /// The recipient's address on the courier's channel.
    pub to: &'a str,
    /// The text.
    pub message: &'a Message,
}

/// Delivers messages by one channel.
pub trait Courier: Send + Sync {
    /// Returns the channel.
    fn channel(&self) -> Channel;

    /// Returns the recipient's address on this channel, if there is one.
    fn address<'a>(&self, recipient: &'a Recipient) -> Option<&'a str>;

    /// Hands the message over. If the future is dropped before its end, the message may or may not
    /// have been accepted.
    ///
    /// # Errors
    /// [`Refusal`] if there is no proof that the message was accepted.
    fn carry<'a>(&'a self, letter: Letter<'a>) -> BoxFuture<'a, Result<(), Refusal>>;
}
