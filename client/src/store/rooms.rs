//! Rooms: which events are in a message's past, what they come to, and what is hidden by a removal
//! (`docs/protocol.md` §7.3).

use std::collections::BTreeSet;

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::outbox;
use super::sql::{peer, rows, run, signed};
use super::walk::{self, Node};
use crate::log::ingest::Invalid;
use crate::log::room::{Event, MAX_EVENTS, Room, Standing, allows};
use crate::log::{Act, Content, SignedMessage};

/// `conversations.kind` of a room.
pub(super) const ROOM: i64 = 2;
/// Messages that are looked at to find what a removal hides; what was written longer before stays.
const MAX_SHADOW_WALK: usize = 100_000;

/// The number of a standing in the database.
pub(super) const fn number(standing: Standing) -> i64 {
    match standing {
        Standing::Invited => 1,
        Standing::Member => 2,
        Standing::Owner => 3,
    }
}

pub(super) const fn standing(number: i64) -> Standing {
    match number {
        ..=1 => Standing::Invited,
        2 => Standing::Member,
        3.. => Standing::Owner,
    }
}

/// Whether the message is allowed to its author, as its own past has the room. Its parents are there.
pub(super) fn admit(conn: &Connection, message: &SignedMessage) -> Result<Result<(), Invalid>, StoreError> {
    let content = message.content();
    if matches!(content, Content::Room(Act::Create { .. })) {
        return Ok(Ok(()));
    }
    let Some(view) = merged(conn, message)? else { return Ok(Err(Invalid::AuthorNotMember)) };
    if matches!(content, Content::Room(_)) && events(conn, view)?.len() >= MAX_EVENTS {
        return Ok(Err(Invalid::TooManyEvents));
    }
    let author = standing_in(conn, view, message.author())?;
    let mut query = conn.prepare_cached("SELECT count(*) FROM view_members WHERE view = ?1")?;
    let count: i64 = query.query_row(params![view], |row| row.get(0))?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let target = match content {
        Content::Room(Act::Add(peer) | Act::Remove(peer) | Act::Appoint(peer, _)) => {
            standing_in(conn, view, *peer)?
        }
        _ => None,
    };
    Ok(match (author, allows(author, content, count, |_| target.is_some())) {
        (_, true) => Ok(()),
        (None, false) => Err(Invalid::AuthorNotMember),
        (Some(_), false) => Err(Invalid::NotAllowed),
    })
}

fn standing_in(conn: &Connection, view: i64, peer: PeerId) -> Result<Option<Standing>, StoreError> {
    let mut query = conn.prepare_cached("SELECT standing FROM view_members WHERE view = ?1 AND peer = ?2")?;
    let found = query.query_row(params![view, peer.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(standing))
}

/// Notes what is in the past of a message of a room that was just inserted, and what follows from it.
pub(super) fn place(
    conn: &Connection,
    conversation: i64,
    row: i64,
    message: &SignedMessage,
) -> Result<(), StoreError> {
    let is_event = matches!(message.content(), Content::Room(_));
    let mut view = merged(conn, message)?;
    let past = match view {
        Some(view) => events(conn, view)?,
        None => BTreeSet::new(),
    };
    if is_event {
        let mut with_it = past.clone();
        with_it.insert(row);
        view = Some(view_of(conn, &with_it)?);
    }
    run(conn, "UPDATE messages SET view = ?2 WHERE row = ?1", params![row, view])?;
    shadow(conn, conversation, row, message, &past)?;
    if is_event { refresh(conn, conversation) } else { Ok(()) }
}

/// The view of a message on top of its parents; `None` without parents.
fn merged(conn: &Connection, message: &SignedMessage) -> Result<Option<i64>, StoreError> {
    let mut views = BTreeSet::new();
    for parent in &message.message().parents {
        let mut query = conn.prepare_cached("SELECT view FROM messages WHERE id = ?1")?;
        let view: Option<i64> = query.query_row(params![parent.as_bytes()], |row| row.get(0))?;
        views.extend(view);
    }
    if views.len() < 2 {
        return Ok(views.first().copied());
    }
    let mut all = BTreeSet::new();
    for view in views {
        all.extend(events(conn, view)?);
    }
    view_of(conn, &all).map(Some)
}

/// The events of a view.
fn events(conn: &Connection, view: i64) -> Result<BTreeSet<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT events FROM views WHERE row = ?1")?;
    let blob: Vec<u8> = query.query_row(params![view], |row| row.get(0))?;
    Ok(blob.as_chunks().0.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect())
}

/// The view with these events, made if it is new.
fn view_of(conn: &Connection, events: &BTreeSet<i64>) -> Result<i64, StoreError> {
    let blob: Vec<u8> = events.iter().flat_map(|row| row.to_be_bytes()).collect();
    let hash = blake3::hash(&blob);
    let mut query = conn.prepare_cached("SELECT row FROM views WHERE hash = ?1")?;
    if let Some(view) = query.query_row(params![hash.as_bytes()], |row| row.get(0)).optional()? {
        return Ok(view);
    }
    run(conn, "INSERT INTO views (hash, events) VALUES (?1, ?2)", params![hash.as_bytes(), blob])?;
    let view = conn.last_insert_rowid();
    for (peer, standing) in Room::resolve(&load(conn, events)?).members {
        let insert = "INSERT INTO view_members (view, peer, standing) VALUES (?1, ?2, ?3)";
        run(conn, insert, params![view, peer.as_bytes(), number(standing)])?;
    }
    Ok(view)
}

/// Events with their pasts. One that has no view yet is being placed, on top of all others.
fn load(conn: &Connection, numbers: &BTreeSet<i64>) -> Result<Vec<Event>, StoreError> {
    let mut loaded = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let mut query = conn.prepare_cached("SELECT signed, view FROM messages WHERE row = ?1")?;
        let (bytes, view): (Vec<u8>, Option<i64>) =
            query.query_row(params![number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut past = match view {
            Some(view) => events(conn, view)?,
            None => numbers.clone(),
        };
        past.remove(&number);
        let message = signed(bytes)?;
        let (order, author) = (message.order(), message.author());
        if let Content::Room(act) = message.into_content() {
            loaded.push(Event { number, order, author, act, past });
        }
    }
    Ok(loaded)
}

/// Brings the room up to date with all of its events.
fn refresh(conn: &Connection, conversation: i64) -> Result<(), StoreError> {
    let query =
        conn.prepare_cached("SELECT row FROM messages WHERE conversation = ?1 AND kind BETWEEN 16 AND 23")?;
    let all: Vec<i64> = rows(query, params![conversation], |row| row.get(0))?;
    let room = Room::resolve(&load(conn, &all.into_iter().collect())?);
    run(
        conn,
        "INSERT INTO rooms (conversation, name, topic) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation) DO UPDATE SET name = ?2, topic = ?3",
        params![conversation, room.name, room.topic],
    )?;
    let query = conn.prepare_cached("SELECT peer FROM members WHERE conversation = ?1")?;
    for gone in rows(query, params![conversation], |row| peer(row, 0))? {
        if !room.members.contains_key(&gone) {
            if !outbox::has_any(conn, conversation, gone)? {
                outbox::forget(conn, conversation, gone)?;
            }
            let delete = "DELETE FROM members WHERE conversation = ?1 AND peer = ?2";
            run(conn, delete, params![conversation, gone.as_bytes()])?;
        }
    }
    for (peer, standing) in &room.members {
        run(
            conn,
            "INSERT INTO members (conversation, peer, standing) VALUES (?1, ?2, ?3)
             ON CONFLICT (conversation, peer) DO UPDATE SET standing = ?3",
            params![conversation, peer.as_bytes(), number(*standing)],
        )?;
    }
    run(conn, "UPDATE removals SET holds = 0 WHERE conversation = ?1", params![conversation])?;
    for removal in &room.removals {
        run(conn, "UPDATE removals SET holds = 1 WHERE event = ?1", params![removal])?;
    }
    Ok(())
}

/// Notes which messages of the removed are concurrent with a removal: this message with those known, or, if it is
/// itself a removal, those of the removed that are not in its past.
fn shadow(
    conn: &Connection,
    conversation: i64,
    row: i64,
    message: &SignedMessage,
    past: &BTreeSet<i64>,
) -> Result<(), StoreError> {
    let query = conn.prepare_cached("SELECT event FROM removals WHERE conversation = ?1 AND peer = ?2")?;
    let author = message.author();
    let removals: Vec<i64> = rows(query, params![conversation, author.as_bytes()], |row| row.get(0))?;
    for removal in removals.into_iter().filter(|removal| !past.contains(removal)) {
        run(conn, "INSERT INTO shadows (message, removal) VALUES (?1, ?2)", params![row, removal])?;
    }
    let Content::Room(Act::Remove(removed)) = message.content() else { return Ok(()) };
    let insert = "INSERT INTO removals (event, conversation, peer, holds) VALUES (?1, ?2, ?3, 0)";
    run(conn, insert, params![row, conversation, removed.as_bytes()])?;
    let this = Node { depth: message.message().depth, row };
    let others = walk::heads(conn, conversation)?;
    let aside = walk::difference(conn, &others, &[this], MAX_SHADOW_WALK)?;
    for aside in aside.unwrap_or_default() {
        run(
            conn,
            "INSERT INTO shadows (message, removal) SELECT row, ?2 FROM messages WHERE row = ?1 AND author = ?3",
            params![aside, row, removed.as_bytes()],
        )?;
    }
    Ok(())
}
