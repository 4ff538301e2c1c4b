//! Couriers: who carries a message out of this system, one for each channel.
//!
//! A courier says only whether the message was taken. It may have been taken all the same when it says that it was not:
//! a server that falls silent after the last byte has it, or has not. So each message carries the id of its event, by
//! which whoever receives it can tell a second copy from a second message.

pub mod email;
pub mod sms;

use futures::future::BoxFuture;
use uuid::Uuid;

use crate::notification::{Channel, Refusal};
use crate::recipient::Recipient;
use crate::template::Message;

/// A message to somebody.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// The id of the event.
    pub id: Uuid,
    /// The address on the courier's channel.
    pub to: &'a str,
    /// What it says.
    pub message: &'a Message,
}

/// Carries messages by one channel.
pub trait Courier: Send + Sync {
    /// By which.
    fn channel(&self) -> Channel;

    /// Where the recipient is reached by it, if at all.
    fn address<'a>(&self, recipient: &'a Recipient) -> Option<&'a str>;

    /// Hands the message over. Dropped before its end it may have been taken or not.
    ///
    /// # Errors
    /// [`Refusal`]: it was not taken, as far as is known.
    fn carry<'a>(&'a self, letter: Letter<'a>) -> BoxFuture<'a, Result<(), Refusal>>;
}
