//! Inviting people by links, and following the links of others (`docs/protocol.md` §9).

mod link;

use std::time::Duration;

use common::identity::PeerId;

pub use link::{Goal, Link, LinkSecret, MAX_LINK_LEN, ParseLinkError};

use super::{Engine, EngineError};
use crate::log::{ConversationId, Standing};
use crate::net::ServerTarget;
use crate::store::{Invite, Join, MAX_LINKS, NewInvite, Store};

/// How long a link holds unless told otherwise.
pub const LINK_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest that a link may hold.
pub const MAX_LINK_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many people may come by one link at the most.
pub const MAX_LINK_USES: u32 = 1000;
/// The setting that holds the server that was reached last, as `HOST:PORT#KEY`.
pub(super) const LAST_SERVER: &str = "server";

/// What a link is to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Into which room it leads; `None` for this user alone.
    pub room: Option<ConversationId>,
    /// How many people may come by it, up to [`MAX_LINK_USES`].
    pub uses: u32,
    /// How long it holds, up to [`MAX_LINK_LIFETIME`].
    pub lifetime: Duration,
}

/// Why a link cannot be made or followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is none.
    #[error(transparent)]
    Parse(#[from] ParseLinkError),
    /// Its time is over.
    #[error("the link has expired; ask for a new one")]
    Expired,
    /// It is this user's own.
    #[error("the link leads to yourself; give it to somebody else")]
    Own,
    /// It leads to another server than the one in use.
    #[error(
        "the link is for the server {0}, and this client is at another; end it, and start: client join LINK"
    )]
    OtherServer(String),
    /// It names another key for a server than this client knows.
    #[error(
        "the link names the key {link} for the server {address}, which had the key {known} so far. Either the server \
         was set up anew, or the link was forged. Ask its operator; if the new key is right, start once with \
         --server {address}#{link}"
    )]
    OtherKey {
        /// `HOST:PORT`.
        address: String,
        /// The key in the link.
        link: PeerId,
        /// The key that was seen there.
        known: PeerId,
    },
    /// No server was reached yet, to which a link could lead.
    #[error("a link leads to you through a server, and none was reached yet")]
    NoServer,
    /// There are as many as may be.
    #[error("{MAX_LINKS} links are open; take one back first")]
    TooMany,
    /// The terms are not allowed.
    #[error("a link holds for 1 to {MAX_LINK_USES} people and from a minute to 365 days")]
    Terms,
    /// A link into a room of which this user is no member.
    #[error("you are no member of that room")]
    NotMember,
    /// There is no such link.
    #[error("no link begins so, or several do")]
    Unknown,
}

/// Makes a link to the owner of `store`, who is to be found at `server`, whose key is known.
///
/// # Errors
/// [`LinkError`] if the terms are not allowed; else if the store cannot be written.
pub async fn make_link(
    store: &Store,
    server: &ServerTarget,
    terms: Terms,
    now_ms: u64,
) -> Result<Link, EngineError> {
    let lifetime_ms = u64::try_from(terms.lifetime.as_millis()).unwrap_or(u64::MAX);
    let is_long = terms.lifetime >= Duration::from_secs(60) && terms.lifetime <= MAX_LINK_LIFETIME;
    if !is_long || !(1..=MAX_LINK_USES).contains(&terms.uses) {
        return Err(LinkError::Terms.into());
    }
    if let Some(room) = terms.room {
        let room = store.conversation(room).await?.filter(|found| found.room.is_some());
        let is_member =
            |(peer, standing): &(PeerId, Standing)| *peer == store.me() && *standing != Standing::Invited;
        room.filter(|room| room.members.iter().any(is_member)).ok_or(LinkError::NotMember)?;
    }
    let link = Link {
        address: server.address.clone(),
        server: server.key.ok_or(LinkError::NoServer)?,
        inviter: store.me(),
        goal: if terms.room.is_some() { Goal::Room } else { Goal::Person },
        expires_ms: now_ms.saturating_add(lifetime_ms),
        secret: LinkSecret::random(&mut rand::rng()),
    };
    let link = link.checked().map_err(LinkError::from)?;
    let new = NewInvite {
        mark: link.secret.mark(),
        room: terms.room,
        made_ms: now_ms,
        expires_ms: link.expires_ms,
        uses: terms.uses,
    };
    if store.add_invite(new).await? { Ok(link) } else { Err(LinkError::TooMany.into()) }
}

/// The server that the owner of `store` reached last, with its key.
///
/// # Errors
/// [`LinkError::NoServer`] if there is none yet; else if the store cannot be read.
pub async fn last_server(store: &Store) -> Result<ServerTarget, EngineError> {
    let last = store.setting(LAST_SERVER).await?;
    Ok(last.and_then(|server| server.parse().ok()).ok_or(LinkError::NoServer)?)
}

/// Takes back the one link whose id begins with `id`.
///
/// # Errors
/// [`LinkError::Unknown`] if there is not exactly one; else if the store cannot be written.
pub async fn revoke_link(store: &Store, id: &str) -> Result<Invite, EngineError> {
    let wanted = id.trim().to_lowercase();
    let invites = store.invites().await?;
    let found: Vec<_> =
        invites.iter().filter(|invite| invite.new.mark.to_hex().starts_with(&wanted)).collect();
    match found.as_slice() {
        [invite] if !wanted.is_empty() => {
            store.revoke_invite(invite.new.mark).await?;
            Ok(Invite { revoked: true, ..**invite })
        }
        _ => Err(LinkError::Unknown.into()),
    }
}

/// Whether the owner of `store` may follow `link`.
///
/// # Errors
/// [`LinkError`] says why not.
pub(super) async fn check_link(store: &Store, link: &Link, now_ms: u64) -> Result<(), EngineError> {
    if link.inviter == store.me() {
        return Err(LinkError::Own.into());
    }
    if now_ms >= link.expires_ms {
        return Err(LinkError::Expired.into());
    }
    match store.pin(&link.address).await? {
        Some(known) if known != link.server => {
            Err(LinkError::OtherKey { address: link.address.clone(), link: link.server, known }.into())
        }
        _ => Ok(()),
    }
}

/// Follows `link` from now on, if there is one.
///
/// # Errors
/// Like [`check_link`].
pub(super) async fn follow_if_any(
    store: &Store,
    link: Option<&Link>,
    now_ms: u64,
) -> Result<(), EngineError> {
    let Some(link) = link else { return Ok(()) };
    check_link(store, link, now_ms).await?;
    follow(store, link).await
}

/// Follows `link` from now on.
pub(super) async fn follow(store: &Store, link: &Link) -> Result<(), EngineError> {
    let (secret, expires_ms) = (*link.secret.as_bytes(), link.expires_ms);
    Ok(store.add_join(Join { secret, inviter: link.inviter, expires_ms, room: None }).await?)
}

impl Engine {
    /// Makes a link to this user, or into a room of theirs.
    ///
    /// # Errors
    /// See [`make_link`].
    pub async fn make_link(&self, terms: Terms) -> Result<Link, EngineError> {
        let server = self.server.clone().ok_or(LinkError::NoServer)?;
        let key = match server.key {
            Some(key) => Some(key),
            None => self.store.pin(&server.address).await?,
        };
        make_link(&self.store, &ServerTarget { key, ..server }, terms, (self.wall_clock)()).await
    }

    /// Follows a link: connects with the inviter as soon as they are there, and takes the invitation if it leads into a
    /// room. What becomes of it comes as [`super::Event::Link`].
    ///
    /// # Errors
    /// [`LinkError`] if it cannot be followed here; else if the store cannot be written.
    pub async fn join(&self, link: &Link) -> Result<(), EngineError> {
        let is_here = self.server.as_ref().is_some_and(|server| {
            server.address.eq_ignore_ascii_case(&link.address) || server.key == Some(link.server)
        });
        if !is_here {
            return Err(LinkError::OtherServer(link.address.clone()).into());
        }
        check_link(&self.store, link, (self.wall_clock)()).await?;
        follow(&self.store, link).await?;
        self.knocks.notify_one();
        self.net.dial(link.inviter).await;
        Ok(())
    }
}
