//! What a user may still take back, what was read, and who is waited for.

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use super::error::StoreError;
use super::outbox::State;
use super::sql::{limit, peer, rows, run};
use super::{Store, changes, sync};
use crate::log::{ConversationId, MessageId};

/// Somebody for whom messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Who.
    pub peer: PeerId,
    /// Whether one of the messages is for them alone.
    pub is_direct: bool,
}

impl Store {
    /// Those for whom messages wait, at most `limit`.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn awaited(&self, max: usize) -> Result<Vec<Awaited>, StoreError> {
        self.read(move |conn| {
            let query = conn.prepare_cached(
                "SELECT o.recipient, min(c.kind) FROM outbox o JOIN messages m ON m.row = o.message
                 JOIN conversations c ON c.row = m.conversation
                 WHERE o.state < 20 GROUP BY o.recipient LIMIT ?1",
            )?;
            rows(query, params![limit(max)], |row| {
                Ok(Awaited { peer: peer(row, 0)?, is_direct: row.get::<_, i64>(1)? == 1 })
            })
        })
        .await
    }

    /// Whether something waits for `recipient`.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn awaits(&self, recipient: PeerId) -> Result<bool, StoreError> {
        Ok(!self.outbox(recipient, 0, 1).await?.is_empty())
    }

    /// Takes back a message that is pending towards everybody and on which nothing builds yet, as if it had never been
    /// written.
    ///
    /// # Errors
    /// [`StoreError::NotPending`] if it is too late.
    pub async fn cancel(&self, id: MessageId) -> Result<(), StoreError> {
        if !self.inner.departures.cancel(id) {
            return Err(StoreError::NotPending);
        }
        let me = self.me();
        let done = self.write(move |conn| cancel(conn, me, id)).await;
        self.inner.departures.forget(id);
        done
    }

    /// Those of `ids` that may be written to a peer: all that are not being cancelled. They cannot be cancelled from now
    /// on, in this run.
    pub(crate) fn depart(&self, ids: &[MessageId]) -> Vec<bool> {
        self.inner.departures.depart(ids)
    }

    /// The peer has these, or refused them: the store knows.
    pub(crate) fn arrived_there(&self, ids: &[MessageId]) {
        self.inner.departures.settle(ids);
    }

    /// Notes that this user has read everything of a conversation that is here, and lets its authors know.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn mark_read(&self, conversation: ConversationId) -> Result<(), StoreError> {
        let newest = self.read(move |conn| sync::newest_row(conn, conversation)).await?;
        self.write(move |conn| sync::mark_read(conn, conversation, newest)).await?;
        self.inner.read.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Changes whenever this user has read something.
    #[must_use]
    pub fn read_changes(&self) -> watch::Receiver<u64> {
        self.inner.read.subscribe()
    }

    /// Messages of `peer` that were read here and of which it was not told yet, with their numbers, ascending.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn newly_read(&self, peer: PeerId, max: usize) -> Result<Vec<(i64, MessageId)>, StoreError> {
        self.read(move |conn| sync::newly_read(conn, peer, max)).await
    }

    /// Notes that `peer` was told of everything read up to the message with this number.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn note_told(&self, peer: PeerId, row: i64) -> Result<(), StoreError> {
        self.write(move |conn| sync::note_told(conn, peer, row)).await
    }

    /// Whether this user wrote the message and it is a text.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn is_own_text(&self, id: MessageId) -> Result<bool, StoreError> {
        let me = self.me();
        self.read(move |conn| changes::is_own_text(conn, me, id)).await
    }
}

fn cancel(conn: &Connection, me: PeerId, id: MessageId) -> Result<(), StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT m.row FROM messages m JOIN heads h ON h.message = m.row
         WHERE m.id = ?1 AND m.author = ?2 AND m.kind < 16
         AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message = m.row AND o.state > ?3)",
    )?;
    let params = params![id.as_bytes(), me.as_bytes(), State::Pending.number()];
    let row: Option<i64> = query.query_row(params, |row| row.get(0)).optional()?;
    let Some(row) = row else { return Err(StoreError::NotPending) };
    // Parents on which nothing else builds are heads again, and tips of this author if they were.
    run(
        conn,
        "INSERT INTO heads (conversation, message)
         SELECT m.conversation, e.parent FROM edges e JOIN messages m ON m.row = e.parent
         WHERE e.child = ?1 AND NOT EXISTS (SELECT 1 FROM edges o WHERE o.parent = e.parent AND o.child <> ?1)",
        params![row],
    )?;
    run(
        conn,
        "INSERT OR IGNORE INTO tips (conversation, author, message)
         SELECT m.conversation, m.author, max(m.row) FROM messages m
         JOIN messages t ON t.row = ?1 AND m.conversation = t.conversation AND m.author = t.author
         WHERE m.row < ?1 GROUP BY m.conversation, m.author",
        params![row],
    )?;
    let count =
        "UPDATE conversations SET bytes = bytes - (SELECT length(signed) FROM messages WHERE row = ?1)
         WHERE row = (SELECT conversation FROM messages WHERE row = ?1)";
    let share = "UPDATE shares SET bytes = bytes - (SELECT length(signed) FROM messages WHERE row = ?1)
         WHERE (conversation, author) = (SELECT conversation, author FROM messages WHERE row = ?1)";
    for delete in [
        count,
        share,
        "DELETE FROM outbox WHERE message = ?1",
        "DELETE FROM edges WHERE child = ?1",
        "DELETE FROM heads WHERE message = ?1",
        "DELETE FROM tips WHERE message = ?1",
        "DELETE FROM forks WHERE second = ?1",
        "DELETE FROM changes WHERE message = ?1",
        "DELETE FROM shadows WHERE message = ?1",
        "DELETE FROM messages WHERE row = ?1",
    ] {
        run(conn, delete, params![row])?;
    }
    Ok(())
}
