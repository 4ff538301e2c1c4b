//! The mail about accounts that waits to be sent, and the tokens in its links: the tables `account_mail` and
//! `mail_tokens`.
//!
//! A mail stays in its table for a day, even after it was sent, because its row occupies its slot.

use chassis::sql::is_duplicate;
use events::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{Store, StoreError, millis, signed};
use crate::mail::{self, Content, KEPT_FOR, MailKind, TOKEN_LIFE, TakenMail};
use crate::token;

const INSERT: &str = "INSERT INTO account_mail (id, kind, email, slot, created_at_ms, due_at_ms, attempts) \
                      VALUES (?, ?, ?, ?, ?, ?, 0)";
const DUE: &str = "SELECT id, kind, email, due_at_ms, attempts FROM account_mail WHERE due_at_ms <= ? \
                   ORDER BY due_at_ms LIMIT 20";
/// If two replicas have found the same mail due, only one of them changes its row.
const TAKE: &str =
    "UPDATE account_mail SET due_at_ms = ?, attempts = attempts + 1 WHERE id = ? AND due_at_ms = ?";
const SETTLE: &str = "UPDATE account_mail SET due_at_ms = NULL WHERE id = ?";
const IS_STATED: &str = "SELECT user_id FROM stated_addresses WHERE email = ? LIMIT 1";
const HOLDER: &str =
    "SELECT email_verified_at_ms FROM users WHERE email = ? AND closed_at_ms IS NULL";

const OLD_MAIL: &str = "SELECT id FROM account_mail WHERE created_at_ms < ? LIMIT 1";
const FORGET_MAIL: &str = "DELETE FROM account_mail WHERE created_at_ms < ?";
const FORGET_MAIL_TO: &str = "DELETE FROM account_mail WHERE email = ?";
const FORGET_OLD_TOKENS: &str = "DELETE FROM mail_tokens WHERE expires_at_ms < ?";

const ADD_TOKEN: &str =
    "INSERT INTO mail_tokens (token_hash, kind, email, expires_at_ms) VALUES (?, ?, ?, ?)";
const FIND_TOKEN: &str =
    "SELECT email FROM mail_tokens WHERE token_hash = ? AND kind = ? AND expires_at_ms > ?";
const USE_TOKEN: &str =
    "DELETE FROM mail_tokens WHERE token_hash = ? AND kind = ? AND expires_at_ms > ?";
const REVOKE_TOKENS: &str = "DELETE FROM mail_tokens WHERE email = ?";

/// A mail that is due.
struct DueMail {
    id: String,
    kind: String,
    email: String,
    due_at_ms: i64,
    attempts: i64,
}

/// Stores a mail to be sent, as part of the caller's transaction. Does nothing if the address already has a mail of
/// this kind in the current slot.
pub async fn put(
    connection: &mut AnyConnection,
    kind: MailKind,
    email: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let inserted = sqlx::query(INSERT)
        .bind(Uuid::new_v4().to_string())
        .bind(kind.name())
        .bind(email)
        .bind(kind.slot(now).map(signed))
        .bind(millis(now))
        .bind(millis(now))
        .execute(connection)
        .await;

    match inserted {
        Err(error) if is_duplicate(&error) => {
            tracing::info!(target: "security", event = "account_mail_held_back", kind = kind.name());
            Ok(())
        }
        inserted => inserted.map(|_| ()),
    }
}

/// Returns the address to which a valid token was sent; none if the token is not valid.
pub async fn address_of_token(
    connection: &mut AnyConnection,
    kind: MailKind,
    token: &str,
    now: Timestamp,
) -> Result<Option<String>, sqlx::Error> {
    let found = sqlx::query(FIND_TOKEN)
        .bind(token::hash(token))
        .bind(kind.name())
        .bind(millis(now))
        .fetch_optional(connection)
        .await?;
    found.map(|row| row.try_get("email")).transpose()
}

/// Uses up a token. Returns whether it was valid; of several uses, only one returns true.
pub async fn use_token(
    connection: &mut AnyConnection,
    kind: MailKind,
    token: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let used = sqlx::query(USE_TOKEN)
        .bind(token::hash(token))
        .bind(kind.name())
        .bind(millis(now))
        .execute(connection)
        .await?;
    Ok(used.rows_affected() == 1)
}

/// Deletes every token that was sent to this address.
pub async fn revoke_tokens(connection: &mut AnyConnection, email: &str) -> Result<(), sqlx::Error> {
    let revoke = sqlx::query(REVOKE_TOKENS).bind(email);
    revoke.execute(connection).await?;
    Ok(())
}

/// Deletes every mail and token for this address.
pub async fn forget(connection: &mut AnyConnection, email: &str) -> Result<(), sqlx::Error> {
    let forget = sqlx::query(FORGET_MAIL_TO).bind(email);
    forget.execute(&mut *connection).await?;
    revoke_tokens(connection, email).await
}

impl Store {
    /// Stores a mail to be sent to this address.
    pub async fn put_mail(
        &self,
        kind: MailKind,
        email: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.write().await?;
        put(transaction.connection(), kind, email, now).await?;
        Ok(transaction.commit().await?)
    }

    /// Returns up to 20 mails that are due. Mail that is not settled is returned again later.
    pub async fn take_mail(&self, now: Timestamp) -> Result<Vec<TakenMail>, StoreError> {
        self.forget_old_mail(now).await?;
        let due = sqlx::query(DUE).bind(millis(now));
        let rows = due.fetch_all(self.database.pool()).await?;

        let mut taken = Vec::new();
        for row in &rows {
            taken.extend(self.take(read(row)?, now).await?);
        }
        Ok(taken)
    }

    /// Settles a mail: it was sent, or can never be sent. Returns whether it exists.
    pub async fn settle_mail(&self, id: &str) -> Result<bool, StoreError> {
        let settle = sqlx::query(SETTLE).bind(id);
        let settled = settle.execute(self.database.pool()).await?;
        Ok(settled.rows_affected() > 0)
    }

    async fn take(&self, due: DueMail, now: Timestamp) -> Result<Option<TakenMail>, StoreError> {
        let mut transaction = self.database.write().await?;
        let content = content(transaction.connection(), &due, now).await?;
        let due_again = content
            .as_ref()
            .and_then(|_| mail::due_again_ms(due.attempts, now));

        let took = sqlx::query(TAKE)
            .bind(due_again.map(signed))
            .bind(due.id.as_str())
            .bind(due.due_at_ms)
            .execute(transaction.connection())
            .await?;

        if took.rows_affected() == 0 {
            return Ok(None);
        }

        transaction.commit().await?;
        Ok(content.map(|content| TakenMail {
            id: due.id,
            to: due.email,
            content,
        }))
    }

    async fn forget_old_mail(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = signed(now.as_ms().saturating_sub(mail::millis(KEPT_FOR)));
        let old = sqlx::query(OLD_MAIL).bind(before);
        if old.fetch_optional(self.database.pool()).await?.is_none() {
            return Ok(());
        }

        let mut transaction = self.database.write().await?;
        for (statement, limit) in [(FORGET_MAIL, before), (FORGET_OLD_TOKENS, millis(now))] {
            let forget = sqlx::query(statement).bind(limit);
            forget.execute(transaction.connection()).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Returns the content that a mail has now; none if it has become pointless.
async fn content(
    connection: &mut AnyConnection,
    due: &DueMail,
    now: Timestamp,
) -> Result<Option<Content>, sqlx::Error> {
    let Some(kind) = MailKind::named(&due.kind) else {
        return Ok(None);
    };

    let holder = sqlx::query(HOLDER).bind(due.email.as_str());
    let holder = holder.fetch_optional(&mut *connection).await?;
    let is_verified = match &holder {
        Some(row) => row
            .try_get::<Option<i64>, _>("email_verified_at_ms")?
            .is_some(),
        None => false,
    };

    let stated = sqlx::query(IS_STATED).bind(due.email.as_str());
    let is_stated = stated.fetch_optional(&mut *connection).await?.is_some();

    Ok(match kind {
        MailKind::VerifyAddress if is_verified => is_stated.then_some(Content::AddressInUse),
        MailKind::VerifyAddress if is_stated || holder.is_some() => {
            let token = add_token(connection, kind, &due.email, now).await?;
            Some(Content::VerifyAddress { token })
        }
        MailKind::ResetPassword if holder.is_some() => {
            let token = add_token(connection, kind, &due.email, now).await?;
            Some(Content::ResetPassword { token })
        }
        MailKind::VerifyAddress | MailKind::ResetPassword => None,
        MailKind::AddressChanging => Some(Content::AddressChanging),
        MailKind::PasswordChanged => Some(Content::PasswordChanged),
    })
}

async fn add_token(
    connection: &mut AnyConnection,
    kind: MailKind,
    email: &str,
    now: Timestamp,
) -> Result<String, sqlx::Error> {
    let token = token::generate();
    sqlx::query(ADD_TOKEN)
        .bind(token::hash(&token))
        .bind(kind.name())
        .bind(email)
        .bind(signed(now.as_ms() + mail::millis(TOKEN_LIFE)))
        .execute(connection)
        .await?;
    Ok(token)
}

fn read(row: &AnyRow) -> Result<DueMail, sqlx::Error> {
    Ok(DueMail {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        email: row.try_get("email")?,
        due_at_ms: row.try_get("due_at_ms")?,
        attempts: row.try_get("attempts")?,
    })
}
