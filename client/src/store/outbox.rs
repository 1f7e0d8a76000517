//! What is still to be delivered, and how far each message got towards each recipient.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::identity::PeerId;
use rusqlite::{Connection, params};

use super::Store;
use super::error::StoreError;
use super::history::MessageRow;
use super::sql::{conversation_id, int, limit, message_id, peer, rows, run, uint};
use crate::log::{ConversationId, MessageId};

/// How far a message got towards one recipient. States only go forward, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Durable here, not sent.
    Pending,
    /// Written to a connection; the other side has not confirmed it.
    Sent,
    /// The other side will never take it. It is not sent again.
    Refused,
    /// The other side has committed it.
    Delivered,
    /// The other side has shown it.
    Read,
}

impl State {
    const ALL: [Self; 5] = [Self::Pending, Self::Sent, Self::Refused, Self::Delivered, Self::Read];

    /// The number in the database; gaps leave room.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Sent => 10,
            Self::Refused => 20,
            Self::Delivered => 30,
            Self::Read => 40,
        }
    }

    pub(super) fn from_number(number: i64) -> Self {
        // Numbers between ours would be steps that a later version added: as far as the one below.
        Self::ALL.into_iter().rev().find(|state| state.number() <= number).unwrap_or(Self::Pending)
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The word that users and scripts see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message that is to be sent to a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Local order of everything that goes out.
    pub sequence: u64,
    /// The message.
    pub id: MessageId,
    /// How far it got: pending, or sent on an earlier connection.
    pub state: State,
    /// The conversation.
    pub conversation: ConversationId,
    /// The number of the message among those that are here.
    pub row: i64,
    /// Its signed bytes.
    pub bytes: Bytes,
}

/// A message that some recipient has not confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsent {
    /// Local order of everything that goes out.
    pub sequence: u64,
    /// The message.
    pub id: MessageId,
    /// The recipient.
    pub recipient: PeerId,
    /// How far it got.
    pub state: State,
}

/// Puts a message into the outbox for `recipient`, to whom it got as far as `state`.
pub(super) fn insert(
    conn: &Connection,
    message: i64,
    recipient: PeerId,
    state: State,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO outbox (message, recipient, state) VALUES (?1, ?2, ?3)";
    run(conn, insert, params![message, recipient.as_bytes(), state.number()])?;
    Ok(())
}

/// What is to be sent to `recipient`, in order, beginning after `after`; at most `max` messages.
pub(super) fn open(
    conn: &Connection,
    recipient: PeerId,
    after: u64,
    max: usize,
) -> Result<Vec<OutboxRow>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT o.sequence, m.id, o.state, m.signed, c.id, m.row FROM outbox o JOIN messages m ON m.row = o.message
         JOIN conversations c ON c.row = m.conversation
         WHERE o.recipient = ?1 AND o.state < 20 AND o.sequence > ?2 ORDER BY o.sequence LIMIT ?3",
    )?;
    rows(query, params![recipient.as_bytes(), int(after), limit(max)], |row| {
        let bytes: Vec<u8> = row.get(3)?;
        Ok(OutboxRow {
            sequence: uint(row.get(0)?),
            id: message_id(row, 1)?,
            state: State::from_number(row.get(2)?),
            conversation: conversation_id(row, 4)?,
            row: row.get(5)?,
            bytes: bytes.into(),
        })
    })
}

/// Whether `recipient` is known to have anything of a conversation: it wrote there, or has confirmed something.
pub(super) fn has_any(conn: &Connection, conversation: i64, recipient: PeerId) -> Result<bool, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM tips WHERE conversation = ?1 AND author = ?2) OR EXISTS
         (SELECT 1 FROM outbox o JOIN messages m ON m.row = o.message
          WHERE m.conversation = ?1 AND o.recipient = ?2 AND o.state > 20)",
    )?;
    Ok(query.query_row(params![conversation, recipient.as_bytes()], |row| row.get(0))?)
}

/// Nothing of a conversation is for `recipient` any more.
pub(super) fn forget(conn: &Connection, conversation: i64, recipient: PeerId) -> Result<(), StoreError> {
    let delete = "DELETE FROM outbox WHERE recipient = ?2 AND state < 20
         AND (SELECT m.conversation FROM messages m WHERE m.row = outbox.message) = ?1";
    run(conn, delete, params![conversation, recipient.as_bytes()])?;
    Ok(())
}

/// Moves messages forward to `state` towards `recipient`; returns those that moved.
pub(super) fn advance(
    conn: &Connection,
    recipient: PeerId,
    ids: &[MessageId],
    state: State,
) -> Result<Vec<MessageId>, StoreError> {
    let mut moved = Vec::new();
    for id in ids {
        let update = "UPDATE outbox SET state = ?3 WHERE recipient = ?1 AND state < ?3
             AND message = (SELECT row FROM messages WHERE id = ?2)";
        if run(conn, update, params![recipient.as_bytes(), id.as_bytes(), state.number()])? > 0 {
            moved.push(*id);
        }
    }
    Ok(moved)
}

/// Everything that is not delivered yet, in order; at most `max`.
pub(super) fn unsent(conn: &Connection, max: usize) -> Result<Vec<Unsent>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT o.sequence, m.id, o.recipient, o.state
         FROM outbox o INDEXED BY outbox_open JOIN messages m ON m.row = o.message
         WHERE o.state < 20 ORDER BY o.sequence LIMIT ?1",
    )?;
    rows(query, params![limit(max)], |row| {
        Ok(Unsent {
            sequence: uint(row.get(0)?),
            id: message_id(row, 1)?,
            recipient: peer(row, 2)?,
            state: State::from_number(row.get(3)?),
        })
    })
}

/// How far one message got towards each of its recipients.
pub(super) fn states(conn: &Connection, message: i64) -> Result<Vec<(PeerId, State)>, StoreError> {
    let query =
        conn.prepare_cached("SELECT recipient, state FROM outbox WHERE message = ?1 ORDER BY recipient")?;
    rows(query, params![message], |row| Ok((peer(row, 0)?, State::from_number(row.get(1)?))))
}

impl Store {
    /// What is to be sent to `recipient`, in order: at most `limit` messages with a sequence above
    /// `after_sequence`.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read; so with all methods that only read.
    pub async fn outbox(
        &self,
        recipient: PeerId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.read(move |conn| open(conn, recipient, after_sequence, limit)).await
    }

    /// Everything that is not delivered yet, in order; at most `limit`.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn unsent(&self, limit: usize) -> Result<Vec<Unsent>, StoreError> {
        self.read(move |conn| unsent(conn, limit)).await
    }

    /// The same with the messages.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn unsent_rows(&self, limit: usize) -> Result<Vec<(Unsent, MessageRow)>, StoreError> {
        let unsent = self.unsent(limit).await?;
        let ids: Vec<_> = unsent.iter().map(|unsent| unsent.id).collect();
        let rows: BTreeMap<_, _> = self.get(&ids).await?.into_iter().map(|row| (row.id(), row)).collect();
        let with_row = |unsent: Unsent| Some((unsent, rows.get(&unsent.id)?.clone()));
        Ok(unsent.into_iter().filter_map(with_row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_order_and_leave_room() {
        assert!(State::ALL.is_sorted());
        for state in State::ALL {
            assert_eq!(State::from_number(state.number()), state);
            assert_eq!(State::from_number(state.number() + 5), state);
        }
        assert_eq!(State::from_number(-1), State::Pending);
    }
}
