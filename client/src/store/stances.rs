//! What this user wants of others: whom they block or mute, and who may see them.

use std::collections::BTreeMap;

use common::identity::PeerId;
use rusqlite::{Connection, params};

use super::error::StoreError;
use super::sql::{int, rows, run, uint};
use super::{Store, contacts};
use crate::log::ConversationId;

/// Holds for messages `m` of people who are not blocked.
pub(super) const UNBLOCKED: &str = "m.author NOT IN (SELECT subject FROM stances WHERE stance = 1)";
/// Holds for messages `m` of conversations `c` that this user wants to be told of.
pub(super) const LOUD: &str = "c.id NOT IN (SELECT subject FROM stances WHERE stance = 2)
    AND m.author NOT IN (SELECT subject FROM stances WHERE stance IN (1, 2))";

/// What this user wants of somebody. The numbers are those of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stance {
    /// To have nothing to do with them.
    Blocked = 1,
    /// Not to be called by what they say.
    Muted = 2,
    /// That they are not shown when this user is online.
    Unshown = 3,
    /// That they are shown it, whatever holds for others.
    Shown = 4,
    /// That they also see this user, and talk with them, while others do not.
    Chosen = 5,
}

impl Stance {
    const ALL: [Self; 5] = [Self::Blocked, Self::Muted, Self::Unshown, Self::Shown, Self::Chosen];

    const fn number(self) -> i64 {
        self as i64
    }
}

/// Of whom something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A person, wherever they speak.
    Person(PeerId),
    /// A room.
    Room(ConversationId),
}

impl Subject {
    /// The key or the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Person(peer) => peer.as_bytes(),
            Self::Room(room) => room.as_bytes(),
        }
    }
}

/// How this user wants a message to be treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regard {
    /// As usual.
    #[default]
    Open,
    /// Shown, but it neither calls nor counts as unread: its author or room is muted.
    Quiet,
    /// Not shown unless this user opens the place where it stands: its author is blocked.
    Hidden,
}

/// For how long a stance is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it was taken, in Unix time in milliseconds.
    pub since_ms: u64,
    /// When it ends, likewise; `None` for never.
    pub until_ms: Option<u64>,
}

/// All stances that are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stances(BTreeMap<(Stance, [u8; 32]), Span>);

impl Stances {
    /// Whether, and for how long, a stance is taken towards a person or room.
    #[must_use]
    pub fn get(&self, stance: Stance, subject: &[u8; 32]) -> Option<Span> {
        self.0.get(&(stance, *subject)).copied()
    }

    /// Whether it is taken towards a person.
    #[must_use]
    pub fn has(&self, stance: Stance, peer: PeerId) -> bool {
        self.get(stance, peer.as_bytes()).is_some()
    }

    /// Towards whom it is taken, the last first.
    #[must_use]
    pub fn people(&self, stance: Stance) -> Vec<PeerId> {
        let mut found: Vec<_> = self.0.iter().filter(|((taken, _), _)| *taken == stance).collect();
        found.sort_by_key(|(_, span)| std::cmp::Reverse(span.since_ms));
        found.into_iter().map(|((_, subject), _)| PeerId::from_bytes(*subject)).collect()
    }

    /// When the next one ends.
    #[must_use]
    pub fn next_end(&self) -> Option<u64> {
        self.0.values().filter_map(|span| span.until_ms).min()
    }

    /// How the messages of a person or room are treated.
    #[must_use]
    pub fn regard(&self, subject: &[u8; 32]) -> Regard {
        match (self.get(Stance::Blocked, subject), self.get(Stance::Muted, subject)) {
            (Some(_), _) => Regard::Hidden,
            (None, Some(_)) => Regard::Quiet,
            (None, None) => Regard::Open,
        }
    }
}

impl Store {
    /// All stances.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn stances(&self) -> Result<Stances, StoreError> {
        self.read(list).await
    }

    /// Takes a stance, in place of an earlier one of its kind. [`Stance::Shown`] and [`Stance::Unshown`] replace each
    /// other.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn take_stance(&self, stance: Stance, subject: Subject, span: Span) -> Result<(), StoreError> {
        self.write(move |conn| take(conn, stance, subject, span)).await
    }

    /// Gives a stance up; says whether it was taken.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn drop_stance(&self, stance: Stance, subject: Subject) -> Result<bool, StoreError> {
        self.write(move |conn| give_up(conn, stance, subject)).await
    }

    /// Gives up one stance towards everybody.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn drop_all(&self, stance: Stance) -> Result<(), StoreError> {
        self.write(move |conn| {
            run(conn, "DELETE FROM stances WHERE stance = ?1", params![stance.number()]).map(drop)
        })
        .await
    }

    /// Gives up those whose time is over; says whether there were any.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn drop_ended(&self, now_ms: u64) -> Result<bool, StoreError> {
        self.write(move |conn| {
            let delete = "DELETE FROM stances WHERE until_ms <= ?1";
            Ok(run(conn, delete, params![int(now_ms)])? > 0)
        })
        .await
    }
}

fn take(conn: &Connection, stance: Stance, subject: Subject, span: Span) -> Result<(), StoreError> {
    match stance {
        Stance::Shown => drop(give_up(conn, Stance::Unshown, subject)?),
        Stance::Unshown => drop(give_up(conn, Stance::Shown, subject)?),
        Stance::Blocked => contacts::forget_endpoints(conn, subject.as_bytes())?,
        Stance::Muted | Stance::Chosen => {}
    }
    let insert =
        "INSERT OR REPLACE INTO stances (stance, subject, since_ms, until_ms) VALUES (?1, ?2, ?3, ?4)";
    let params = params![stance.number(), subject.as_bytes(), int(span.since_ms), span.until_ms.map(int)];
    run(conn, insert, params).map(drop)
}

fn give_up(conn: &Connection, stance: Stance, subject: Subject) -> Result<bool, StoreError> {
    let delete = "DELETE FROM stances WHERE stance = ?1 AND subject = ?2";
    Ok(run(conn, delete, params![stance.number(), subject.as_bytes()])? > 0)
}

fn list(conn: &Connection) -> Result<Stances, StoreError> {
    let query = conn.prepare_cached("SELECT stance, subject, since_ms, until_ms FROM stances")?;
    let found: Vec<(i64, [u8; 32], Span)> = rows(query, [], |row| {
        let until_ms = row.get::<_, Option<i64>>(3)?.map(uint);
        Ok((row.get(0)?, row.get(1)?, Span { since_ms: uint(row.get(2)?), until_ms }))
    })?;
    // A stance that a later version added means nothing here.
    let known = |(number, subject, span): (i64, [u8; 32], Span)| {
        let stance = Stance::ALL.into_iter().find(|stance| stance.number() == number)?;
        Some(((stance, subject), span))
    };
    Ok(Stances(found.into_iter().filter_map(known).collect()))
}

/// How messages of `author` in `conversation` are treated.
pub(super) fn regard(
    conn: &Connection,
    author: PeerId,
    conversation: ConversationId,
) -> Result<Regard, StoreError> {
    let mut query = conn
        .prepare_cached("SELECT min(stance) FROM stances WHERE stance IN (1, 2) AND subject IN (?1, ?2)")?;
    let strongest: Option<i64> =
        query.query_row(params![author.as_bytes(), conversation.as_bytes()], |row| row.get(0))?;
    Ok(match strongest {
        None => Regard::Open,
        Some(1) => Regard::Hidden,
        Some(_) => Regard::Quiet,
    })
}

#[cfg(test)]
mod tests;
