//! Links that this user has given out, and links of others that this user follows.

use blake3::Hash;
use common::identity::PeerId;
use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::sql::{int, limit, peer, rows, run, uint};
use crate::log::ConversationId;

/// Links that may be open at the same time: each knock is compared with all of them.
pub const MAX_LINKS: usize = 64;
/// Links of others that are followed at the same time; beyond, the one that ends first makes room.
pub const MAX_JOINS: usize = 32;
/// How long a link is remembered after its end, so that who comes too late is told why.
const REMEMBERED_MS: u64 = 30 * 24 * 3_600_000;

/// A link that is to be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInvite {
    /// What it is known by.
    pub mark: Hash,
    /// Into which room it leads.
    pub room: Option<ConversationId>,
    /// Now, in Unix milliseconds.
    pub made_ms: u64,
    /// Until when it holds.
    pub expires_ms: u64,
    /// How many people may come by it.
    pub uses: u32,
}

/// A link that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invite {
    /// What it was given out as.
    pub new: NewInvite,
    /// How many people came by it.
    pub used: u32,
    /// Whether it was taken back.
    pub revoked: bool,
}

impl Invite {
    /// The beginning of its mark: enough to name it.
    #[must_use]
    pub fn id(&self) -> String {
        self.new.mark.to_hex()[..8].to_owned()
    }

    /// Whether somebody can still come by it.
    #[must_use]
    pub const fn is_open(&self, now_ms: u64) -> bool {
        !self.revoked && self.used < self.new.uses && now_ms < self.new.expires_ms
    }
}

/// What becomes of somebody who has shown a link's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// They are let in, into this room if the link leads to one.
    Welcome(Option<ConversationId>),
    /// There never was such a link, or long ago.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// As many as may have come by it.
    UsedUp,
}

/// A link of somebody else's that is being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The link's secret.
    pub secret: [u8; 16],
    /// Who gave it out.
    pub inviter: PeerId,
    /// Until when it holds, in Unix milliseconds.
    pub expires_ms: u64,
    /// The room that the inviter has let this user into; `None` until then.
    pub room: Option<ConversationId>,
}

/// Keeps a link. False if there are [`MAX_LINKS`] open ones.
pub(super) fn add(conn: &Connection, new: &NewInvite) -> Result<bool, StoreError> {
    let forgotten = new.made_ms.saturating_sub(REMEMBERED_MS);
    run(conn, "DELETE FROM links WHERE expires_ms < ?1", params![int(forgotten)])?;
    if list(conn)?.iter().filter(|link| link.is_open(new.made_ms)).count() >= MAX_LINKS {
        return Ok(false);
    }
    // Those that are closed are only remembered: the newest of them.
    run(
        conn,
        "DELETE FROM links WHERE row NOT IN (SELECT row FROM links ORDER BY row DESC LIMIT ?1)",
        params![limit(4 * MAX_LINKS - 1)],
    )?;
    run(
        conn,
        "INSERT INTO links (mark, room, made_ms, expires_ms, uses) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            new.mark.as_bytes(),
            new.room.as_ref().map(ConversationId::as_bytes),
            int(new.made_ms),
            int(new.expires_ms),
            new.uses
        ],
    )?;
    Ok(true)
}

fn room(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ConversationId>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(ConversationId::from_bytes))
}

fn invite(row: &Row<'_>) -> rusqlite::Result<(i64, Invite)> {
    let new = NewInvite {
        mark: Hash::from_bytes(row.get(1)?),
        room: room(row, 2)?,
        made_ms: uint(row.get(3)?),
        expires_ms: uint(row.get(4)?),
        uses: row.get(5)?,
    };
    Ok((row.get(0)?, Invite { new, revoked: row.get(6)?, used: row.get(7)? }))
}

fn with_rows(conn: &Connection) -> Result<Vec<(i64, Invite)>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT row, mark, room, made_ms, expires_ms, uses, revoked,
            (SELECT count(*) FROM guests WHERE link = links.row)
         FROM links ORDER BY row DESC",
    )?;
    rows(query, [], invite)
}

/// All links that are remembered, the newest first.
pub(super) fn list(conn: &Connection) -> Result<Vec<Invite>, StoreError> {
    Ok(with_rows(conn)?.into_iter().map(|(_, invite)| invite).collect())
}

/// Takes a link back. False if there is no such link.
pub(super) fn revoke(conn: &Connection, mark: Hash) -> Result<bool, StoreError> {
    Ok(run(conn, "UPDATE links SET revoked = 1 WHERE mark = ?1", params![mark.as_bytes()])? > 0)
}

/// `guest` shows that they have a link. Who came by it once may come again; what is found out takes equally long
/// whichever link it is.
pub(super) fn admit(
    conn: &Connection,
    mark: Hash,
    guest: PeerId,
    now_ms: u64,
) -> Result<Admission, StoreError> {
    // Hashes compare in constant time, and none is left out.
    let found = with_rows(conn)?
        .into_iter()
        .fold(None, |found, (row, link)| if link.new.mark == mark { Some((row, link)) } else { found });
    let Some((row, link)) = found else { return Ok(Admission::Unknown) };
    let is_known = conn
        .prepare_cached("SELECT 1 FROM guests WHERE link = ?1 AND peer = ?2")?
        .exists(params![row, guest.as_bytes()])?;
    if link.revoked {
        return Ok(Admission::Revoked);
    }
    if now_ms >= link.new.expires_ms {
        return Ok(Admission::Expired);
    }
    if !is_known && link.used >= link.new.uses {
        return Ok(Admission::UsedUp);
    }
    let insert = "INSERT INTO guests (link, peer, came_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    run(conn, insert, params![row, guest.as_bytes(), int(now_ms)])?;
    Ok(Admission::Welcome(link.new.room))
}

/// Follows a link from now on.
pub(super) fn add_join(conn: &Connection, join: &Join) -> Result<(), StoreError> {
    run(
        conn,
        "DELETE FROM joins WHERE secret NOT IN (SELECT secret FROM joins ORDER BY expires_ms DESC LIMIT ?1)",
        params![limit(MAX_JOINS - 1)],
    )?;
    run(
        conn,
        "INSERT INTO joins (secret, inviter, expires_ms, room) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (secret) DO UPDATE SET room = coalesce(?4, room)",
        params![
            join.secret,
            join.inviter.as_bytes(),
            int(join.expires_ms),
            join.room.as_ref().map(ConversationId::as_bytes)
        ],
    )?;
    Ok(())
}

/// Links that are followed.
pub(super) fn joins(conn: &Connection) -> Result<Vec<Join>, StoreError> {
    let query =
        conn.prepare_cached("SELECT secret, inviter, expires_ms, room FROM joins ORDER BY expires_ms")?;
    rows(query, [], |row| {
        let (secret, inviter) = (row.get(0)?, peer(row, 1)?);
        Ok(Join { secret, inviter, expires_ms: uint(row.get(2)?), room: room(row, 3)? })
    })
}

/// Follows a link no longer.
pub(super) fn end_join(conn: &Connection, secret: [u8; 16]) -> Result<(), StoreError> {
    run(conn, "DELETE FROM joins WHERE secret = ?1", params![secret]).map(drop)
}

impl super::Store {
    /// Keeps a link that is to be given out. False if [`MAX_LINKS`] are open already.
    ///
    /// # Errors
    /// See [`super::Store::meet`].
    pub async fn add_invite(&self, new: NewInvite) -> Result<bool, StoreError> {
        self.write(move |conn| add(conn, &new)).await
    }

    /// All links that are remembered, the newest first.
    ///
    /// # Errors
    /// See [`super::Store::outbox`].
    pub async fn invites(&self) -> Result<Vec<Invite>, StoreError> {
        self.read(list).await
    }

    /// Takes a link back: nobody comes by it any more. False if there is no such link.
    ///
    /// # Errors
    /// See [`super::Store::meet`].
    pub async fn revoke_invite(&self, mark: Hash) -> Result<bool, StoreError> {
        self.write(move |conn| revoke(conn, mark)).await
    }

    /// `guest` has shown the secret of the link `mark` at `now_ms`: says whether they come in, and counts them then.
    ///
    /// # Errors
    /// See [`super::Store::meet`].
    pub async fn admit(&self, mark: Hash, guest: PeerId, now_ms: u64) -> Result<Admission, StoreError> {
        // Most who guess are turned away without a write.
        let is_known =
            self.read(list).await?.iter().fold(false, |found, link| found | (link.new.mark == mark));
        match is_known {
            true => self.write(move |conn| admit(conn, mark, guest, now_ms)).await,
            false => Ok(Admission::Unknown),
        }
    }

    /// Follows a link, or notes the room that it has led to.
    ///
    /// # Errors
    /// See [`super::Store::meet`].
    pub async fn add_join(&self, join: Join) -> Result<(), StoreError> {
        self.write(move |conn| add_join(conn, &join)).await
    }

    /// Links that are followed.
    ///
    /// # Errors
    /// See [`super::Store::outbox`].
    pub async fn joins(&self) -> Result<Vec<Join>, StoreError> {
        self.read(joins).await
    }

    /// Follows a link no longer.
    ///
    /// # Errors
    /// See [`super::Store::meet`].
    pub async fn end_join(&self, secret: [u8; 16]) -> Result<(), StoreError> {
        self.write(move |conn| end_join(conn, secret)).await
    }
}

#[cfg(test)]
mod tests {
    use common::identity::Identity;

    use super::*;
    use crate::store::Store;

    fn peer(seed: u8) -> PeerId {
        Identity::from_seed([seed; 32]).peer_id()
    }

    fn mark(number: usize) -> Hash {
        blake3::hash(&number.to_be_bytes())
    }

    fn new(number: usize, uses: u32) -> NewInvite {
        NewInvite { mark: mark(number), room: None, made_ms: 10, expires_ms: 100, uses }
    }

    async fn scratch() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), peer(1)).await.unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn a_link_lets_in_as_many_as_it_may_and_nobody_after_its_end() {
        let (_dir, store) = scratch().await;
        assert!(store.add_invite(new(1, 2)).await.unwrap());
        let admit = async |guest: u8, at: u64| store.admit(mark(1), peer(guest), at).await.unwrap();
        let welcome = Admission::Welcome(None);
        assert_eq!(store.admit(mark(2), peer(2), 20).await.unwrap(), Admission::Unknown);
        assert_eq!([admit(2, 20).await, admit(3, 20).await, admit(2, 21).await], [welcome; 3]);
        assert_eq!(admit(4, 22).await, Admission::UsedUp);
        assert_eq!(admit(2, 100).await, Admission::Expired);
        assert_eq!(store.invites().await.unwrap()[0].used, 2);
        assert!(store.revoke_invite(mark(1)).await.unwrap() && !store.revoke_invite(mark(2)).await.unwrap());
        assert_eq!(admit(3, 23).await, Admission::Revoked);
    }

    #[tokio::test]
    async fn open_links_and_remembered_ones_are_bounded() {
        let (_dir, store) = scratch().await;
        for number in 0..MAX_LINKS {
            assert!(store.add_invite(new(number, 1)).await.unwrap());
        }
        assert!(!store.add_invite(new(MAX_LINKS, 1)).await.unwrap());
        for number in 0..6 * MAX_LINKS {
            store.revoke_invite(mark(number)).await.unwrap();
            if number >= MAX_LINKS {
                assert!(store.add_invite(new(number, 1)).await.unwrap());
                store.revoke_invite(mark(number)).await.unwrap();
            }
        }
        assert_eq!(store.invites().await.unwrap().len(), 4 * MAX_LINKS);
        let later = NewInvite { made_ms: 101 + REMEMBERED_MS, expires_ms: u64::MAX, ..new(999, 1) };
        assert!(store.add_invite(later).await.unwrap());
        assert_eq!(store.invites().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_followed_is_remembered_until_it_ends() {
        let (_dir, store) = scratch().await;
        let join = |number: u8| Join {
            secret: [number; 16],
            inviter: peer(2),
            expires_ms: number.into(),
            room: None,
        };
        let room = Some(ConversationId::from_bytes([9; 32]));
        store.add_join(join(1)).await.unwrap();
        store.add_join(Join { room, ..join(1) }).await.unwrap();
        store.add_join(join(1)).await.unwrap();
        assert_eq!(store.joins().await.unwrap(), [Join { room, ..join(1) }]);
        for number in 0..=u8::try_from(MAX_JOINS).unwrap() {
            store.add_join(join(number)).await.unwrap();
        }
        let joins = store.joins().await.unwrap();
        assert!(joins.len() == MAX_JOINS && joins.iter().all(|join| join.secret != [0; 16]));
        store.end_join([1; 16]).await.unwrap();
        assert_eq!(store.joins().await.unwrap().len(), MAX_JOINS - 1);
    }
}
