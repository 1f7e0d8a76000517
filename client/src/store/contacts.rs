//! People this user has met, and servers it trusts.

use std::net::SocketAddr;

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::error::StoreError;
use super::sql::{int, peer, rows, run, uint};

/// Characters of a name that are kept.
pub const MAX_NAME_CHARS: usize = 64;
/// Longest name of a setting and longest address of a server, in bytes.
const MAX_KEY_LEN: usize = 512;
/// Endpoints that are remembered of a contact.
pub const MAX_ENDPOINTS: usize = 4;

/// Somebody this user has met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Their key.
    pub peer: PeerId,
    /// The name they go by; may be empty, and may hold anything: clean it before a terminal shows it.
    pub given_name: String,
    /// The name that this user gave them; may be empty.
    pub own_name: String,
    /// When they were met.
    pub first_met_ms: u64,
    /// When they were connected last.
    pub last_seen_ms: u64,
    /// Where they were seen last, the newest first: a hint.
    pub endpoints: Vec<SocketAddr>,
}

impl Contact {
    /// The name to show: the user's own, else theirs, else the beginning of their key.
    #[must_use]
    pub fn name(&self) -> String {
        [&self.own_name, &self.given_name]
            .into_iter()
            .find(|name| !name.is_empty())
            .cloned()
            .unwrap_or_else(|| self.peer.short())
    }
}

/// What is learned of somebody when they connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// Their key.
    pub peer: PeerId,
    /// The name they go by; what is beyond [`MAX_NAME_CHARS`] is cut.
    pub given_name: String,
    /// Now.
    pub now_ms: u64,
}

pub(super) fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).collect()
}

pub(super) fn meet(conn: &Connection, meeting: &Meeting) -> Result<(), StoreError> {
    run(
        conn,
        "INSERT INTO contacts (peer, given_name, own_name, first_met_ms, last_seen_ms, endpoints)
         VALUES (?1, ?2, '', ?3, ?3, '')
         ON CONFLICT (peer) DO UPDATE SET given_name = ?2, last_seen_ms = max(last_seen_ms, ?3)",
        params![meeting.peer.as_bytes(), cut(&meeting.given_name), int(meeting.now_ms)],
    )?;
    Ok(())
}

/// Returns all endpoints that are remembered from now on.
fn see_at(
    conn: &Connection,
    peer: PeerId,
    now_ms: u64,
    seen: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, StoreError> {
    let mut query = conn.prepare_cached("SELECT endpoints FROM contacts WHERE peer = ?1")?;
    let known: Option<String> = query.query_row(params![peer.as_bytes()], |row| row.get(0)).optional()?;
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    for endpoint in seen.into_iter().chain(known.as_deref().map(parse).unwrap_or_default()) {
        if endpoints.len() < MAX_ENDPOINTS && !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    let texts: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    let update = "UPDATE contacts SET endpoints = ?2, last_seen_ms = max(last_seen_ms, ?3) WHERE peer = ?1";
    match run(conn, update, params![peer.as_bytes(), texts.join(" "), int(now_ms)])? {
        0 => Err(StoreError::UnknownContact(peer)),
        _ => Ok(endpoints),
    }
}

fn parse(endpoints: &str) -> Vec<SocketAddr> {
    endpoints.split_whitespace().filter_map(|text| text.parse().ok()).collect()
}

/// Whoever is blocked is not looked for anywhere.
pub(super) fn forget_endpoints(conn: &Connection, subject: &[u8; 32]) -> Result<(), StoreError> {
    run(conn, "UPDATE contacts SET endpoints = '' WHERE peer = ?1", params![subject]).map(drop)
}

pub(super) fn rename(conn: &Connection, peer: PeerId, own_name: &str) -> Result<(), StoreError> {
    let update = "UPDATE contacts SET own_name = ?2 WHERE peer = ?1";
    match run(conn, update, params![peer.as_bytes(), cut(own_name)])? {
        0 => Err(StoreError::UnknownContact(peer)),
        _ => Ok(()),
    }
}

fn contact(row: &Row<'_>) -> rusqlite::Result<Contact> {
    let endpoints: String = row.get(5)?;
    Ok(Contact {
        peer: peer(row, 0)?,
        given_name: row.get(1)?,
        own_name: row.get(2)?,
        first_met_ms: uint(row.get(3)?),
        last_seen_ms: uint(row.get(4)?),
        endpoints: parse(&endpoints),
    })
}

/// All contacts, those seen last first.
pub(super) fn list(conn: &Connection) -> Result<Vec<Contact>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT peer, given_name, own_name, first_met_ms, last_seen_ms, endpoints FROM contacts
         ORDER BY last_seen_ms DESC, peer",
    )?;
    rows(query, [], contact)
}

/// Contacts whom `text` can mean: by whole name if there are any, else by the beginning of the name or the key.
pub(super) fn find(conn: &Connection, text: &str) -> Result<Vec<Contact>, StoreError> {
    let all = list(conn)?;
    let wanted = text.to_lowercase();
    let is_named = |contact: &Contact, matches: &dyn Fn(&str) -> bool| {
        [&contact.own_name, &contact.given_name].iter().any(|name| matches(&name.to_lowercase()))
    };
    let by_name: Vec<_> =
        all.iter().filter(|contact| is_named(contact, &|name| name == wanted)).cloned().collect();
    if !by_name.is_empty() || wanted.is_empty() {
        return Ok(by_name);
    }
    let begins = |contact: &Contact| {
        is_named(contact, &|name| name.starts_with(&wanted)) || contact.peer.to_string().starts_with(&wanted)
    };
    Ok(all.into_iter().filter(begins).collect())
}

/// The key that is pinned for a server.
pub(super) fn pin(conn: &Connection, address: &str) -> Result<Option<PeerId>, StoreError> {
    let mut query = conn.prepare_cached("SELECT key FROM servers WHERE address = ?1")?;
    Ok(query.query_row(params![address], |row| peer(row, 0)).optional()?)
}

/// Pins a server's key, in place of an earlier one.
pub(super) fn set_pin(conn: &Connection, address: &str, key: PeerId) -> Result<(), StoreError> {
    let insert = "INSERT INTO servers (address, key) VALUES (?1, ?2)
         ON CONFLICT (address) DO UPDATE SET key = ?2";
    run(conn, insert, params![address, key.as_bytes()])?;
    Ok(())
}

pub(super) fn setting(conn: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let mut query = conn.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(query.query_row(params![name], |row| row.get(0)).optional()?)
}

pub(super) fn set_setting(conn: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    let insert = "INSERT INTO settings (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = ?2";
    run(conn, insert, params![name, value])?;
    Ok(())
}

impl Store {
    /// Remembers that somebody was met: makes the contact, or renews name and time.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then. So with all methods that write.
    pub async fn meet(&self, meeting: Meeting) -> Result<(), StoreError> {
        self.write(move |conn| meet(conn, &meeting)).await
    }

    /// Remembers that a contact is at `seen`, the most important first, beside where it was before; returns all that is remembered,
    /// at most [`MAX_ENDPOINTS`].
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`]; else see [`Store::meet`].
    pub async fn see_at(
        &self,
        peer: PeerId,
        now_ms: u64,
        seen: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, StoreError> {
        self.write(move |conn| see_at(conn, peer, now_ms, seen.clone())).await
    }

    /// Gives a contact the user's own name; an empty one takes it away.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`]; else see [`Store::meet`].
    pub async fn rename(&self, peer: PeerId, own_name: &str) -> Result<(), StoreError> {
        let own_name = own_name.to_owned();
        self.write(move |conn| rename(conn, peer, &own_name)).await
    }

    /// All contacts, those seen last first.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        self.read(list).await
    }

    /// Contacts that `text` can mean: by whole name, else by the beginning of the name or the key.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn find_contacts(&self, text: &str) -> Result<Vec<Contact>, StoreError> {
        let text = text.to_owned();
        self.read(move |conn| find(conn, &text)).await
    }

    /// The key that is pinned for the server at `address`, as the user writes it.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn pin(&self, address: &str) -> Result<Option<PeerId>, StoreError> {
        let address = key(address);
        self.read(move |conn| pin(conn, &address)).await
    }

    /// Pins the key of the server at `address`, in place of an earlier one.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn set_pin(&self, address: &str, server: PeerId) -> Result<(), StoreError> {
        let address = key(address);
        self.write(move |conn| set_pin(conn, &address, server)).await
    }

    /// `peer` was there until `now_ms`; nothing happens if it is no contact.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn see(&self, peer: PeerId, now_ms: u64) -> Result<(), StoreError> {
        let update = "UPDATE contacts SET last_seen_ms = max(last_seen_ms, ?2) WHERE peer = ?1";
        self.write(move |conn| run(conn, update, params![peer.as_bytes(), int(now_ms)]).map(drop)).await
    }

    /// A setting.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = setting_key(name);
        self.read(move |conn| setting(conn, &name)).await
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let (name, value) = (setting_key(name), value.to_owned());
        self.write(move |conn| set_setting(conn, &name, &value)).await
    }
}

/// A server's address as it is looked up: without case and within its bound.
pub(super) fn key(address: &str) -> String {
    address.chars().take(MAX_KEY_LEN).collect::<String>().to_lowercase()
}

/// Settings of users and front ends have their own space beside those of the store itself.
pub(super) fn setting_key(name: &str) -> String {
    format!("user.{}", name.chars().take(MAX_KEY_LEN).collect::<String>())
}
