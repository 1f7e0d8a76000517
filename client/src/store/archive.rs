//! Messages on their way out of the database into files, and back.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::identity::PeerId;
use rusqlite::{Connection, params};

use super::contacts::Contact;
use super::conversations;
use super::error::StoreError;
use super::graph::{Recent, SqlGraph};
use super::history::{self, MessageRow, Raw};
use super::intake::{self, Checked};
use super::outbox::{self, State};
use super::sql::{self, int, limit, rows, run};
use super::{Store, blocking, newest};
use crate::log::ingest::{Invalid, Outcome, ingest};
use crate::log::{Content, ConversationId, DisplayOrder};

/// A message with its signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The message as it is now.
    pub row: MessageRow,
    /// What its author signed, without the edits that came later: they are messages of their own.
    pub content: Content,
    /// The signed bytes.
    pub signed: Bytes,
}

/// A part of a conversation in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The conversation.
    pub conversation: ConversationId,
    /// Only what stands after this.
    pub after: Option<DisplayOrder>,
    /// Only what had arrived with this number: with every message its parents are among them.
    pub until_arrival: u64,
    /// At most so many messages.
    pub limit: usize,
}

/// A message that comes back from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The members of its conversation.
    pub members: Vec<PeerId>,
    /// When it had got here.
    pub received_ms: u64,
    /// How far it had got.
    pub states: Vec<(PeerId, State)>,
    /// Its signed bytes.
    pub signed: Bytes,
}

/// The messages of `part`, oldest first.
pub(super) fn read(conn: &Connection, me: PeerId, part: Part) -> Result<Vec<Archived>, StoreError> {
    let Some(conversation) = conversations::row(conn, part.conversation)? else { return Ok(Vec::new()) };
    let query = conn.prepare_cached(&format!(
        "SELECT {} FROM messages m
         WHERE m.conversation = ?1 AND (m.depth, m.label_ms, m.id) > (?2, ?3, ?4) AND m.row <= ?5
         ORDER BY m.depth, m.label_ms, m.id LIMIT ?6",
        history::COLUMNS
    ))?;
    let start = (-1, 0, [0; 32]);
    let after = part.after.map_or(start, |o| (int(o.depth), int(o.label_ms), *o.id.as_bytes()));
    let params = params![conversation, after.0, after.1, after.2, int(part.until_arrival), limit(part.limit)];
    let found = rows(query, params, Raw::read)?;
    let archived = |raw: Raw| {
        let signed = raw.signed();
        let content = sql::signed(signed.to_vec())?.into_content();
        Ok(Archived { row: raw.finish(conn, me)?, content, signed })
    };
    found.into_iter().map(archived).collect()
}

/// Takes a message back in, by the same rules as one from a peer.
pub(super) fn restore(
    conn: &Connection,
    me: PeerId,
    restored: &Restore,
    checked: &Checked,
) -> Result<Outcome, StoreError> {
    let message = match &checked.message {
        Ok(message) => message.clone(),
        Err(invalid) => return Ok(Outcome::Invalid(invalid.clone())),
    };
    let other = restored.members.iter().copied().find(|member| *member != me).unwrap_or(me);
    let Some(entry) = intake::find_or_make(conn, me, other, &message)? else {
        return Ok(Outcome::Invalid(Invalid::UnknownConversation));
    };
    if let Err(invalid) = intake::may_bear(conn, entry, me, me, &message)? {
        return Ok(Outcome::Invalid(invalid));
    }
    let own = message.author() == me;
    let received_ms = restored.received_ms;
    let recent = &mut Recent::default();
    let mut graph =
        SqlGraph { conn, conversation: entry, bearer: me, received_ms, recent, delivered: Vec::new() };
    let outcome = ingest(&mut graph, message)?.outcome;
    if own && outcome == Outcome::Delivered {
        // The message itself comes before those that waited for it.
        if let Some(&row) = graph.delivered.first() {
            put_states(conn, entry.row, row, &restored.states)?;
        }
    }
    Ok(outcome)
}

fn put_states(
    conn: &Connection,
    conversation: i64,
    message: i64,
    states: &[(PeerId, State)],
) -> Result<(), StoreError> {
    let mut told = BTreeSet::new();
    for &(recipient, state) in states {
        if told.insert(recipient) && conversations::is_member(conn, conversation, recipient)? {
            outbox::insert(conn, message, recipient, state)?;
        }
    }
    Ok(())
}

/// Makes a contact that comes back from a file; one that is known stays as it is. True if it is new.
pub(super) fn restore_contact(conn: &Connection, contact: &Contact) -> Result<bool, StoreError> {
    let insert = "INSERT INTO contacts (peer, given_name, own_name, first_met_ms, last_seen_ms, endpoints)
         VALUES (?1, ?2, ?3, ?4, ?5, '') ON CONFLICT (peer) DO NOTHING";
    let (given, own) = (super::contacts::cut(&contact.given_name), super::contacts::cut(&contact.own_name));
    let times = (int(contact.first_met_ms), int(contact.last_seen_ms));
    Ok(run(conn, insert, params![contact.peer.as_bytes(), given, own, times.0, times.1])? > 0)
}

impl Store {
    /// A part of a conversation with the signed bytes, oldest first.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn archive(&self, part: Part) -> Result<Vec<Archived>, StoreError> {
        let me = self.me();
        self.read(move |conn| read(conn, me, part)).await
    }

    /// Takes messages from a file in, in one transaction; the outcomes are in the same order.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the whole was kept then. A message that is wrong is no error but an outcome.
    pub async fn restore(&self, messages: Vec<Restore>) -> Result<Vec<Outcome>, StoreError> {
        let (me, this) = (self.me(), self.clone());
        let signed = messages.iter().map(|restored| restored.signed.clone()).collect();
        let checked = blocking(move || Ok(intake::check(signed))).await?;
        let recipients: BTreeSet<PeerId> =
            messages.iter().flat_map(|restored| &restored.states).map(|(peer, _)| *peer).collect();
        let work = move |conn: &Connection| {
            let each = messages.iter().zip(&checked);
            let outcomes = each
                .map(|(restored, checked)| restore(conn, me, restored, checked))
                .collect::<Result<_, _>>()?;
            Ok((outcomes, newest(conn)?))
        };
        let after = move |(_, newest): &(Vec<Outcome>, u64)| {
            this.inner.newest.send_replace(*newest);
            for recipient in recipients {
                this.with_waker(recipient, |waker| waker.send_replace(*newest));
            }
        };
        Ok(self.writer()?.write(work, after).await?.0)
    }

    /// Makes a contact that comes back from a file; one that is known stays as it is. True if it is new.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn restore_contact(&self, contact: Contact) -> Result<bool, StoreError> {
        self.write(move |conn| restore_contact(conn, &contact)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Act, Content};
    use crate::store::tests::Side;

    #[tokio::test]
    async fn a_room_comes_back_as_it_was() {
        let (a, again) = (Side::new(1), Side::new(1));
        let store = a.open().await;
        let room = ConversationId::room(a.peer(), 1_000, 1, "Club");
        let created = Content::Room(Act::Create { name: "Club".to_owned() });
        for (nonce, content) in (1..).zip([created, Content::text("one"), Content::text("two")]) {
            store.compose(&a.identity, room, &[], content, 1_000, nonce).await.unwrap();
        }
        let part = Part { conversation: room, after: None, until_arrival: 9, limit: 9 };
        let archived = store.archive(part).await.unwrap();
        assert_eq!(archived.len(), 3);

        let restore = |it: &Archived| Restore {
            members: vec![a.peer()],
            received_ms: it.row.received_ms,
            states: it.row.states.clone(),
            signed: it.signed.clone(),
        };
        let restored: Vec<_> = archived.iter().map(restore).collect();
        let new = again.open().await;
        assert_eq!(new.restore(restored.clone()).await.unwrap(), vec![Outcome::Delivered; 3]);
        assert_eq!(new.archive(part).await.unwrap(), archived);
        assert_eq!(new.restore(restored).await.unwrap(), vec![Outcome::Duplicate; 3]);
        assert_eq!(new.conversations().await.unwrap()[0].room, store.conversations().await.unwrap()[0].room);
    }
}
