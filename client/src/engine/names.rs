//! Names on the server (`docs/protocol.md` §10). What the server says of a name is a hint: the key that was found first
//! under it is remembered, and another one later is told loudly.

use common::control::NamedPeer;
use common::identity::PeerId;
use common::names::{Name, normal};

use super::{Engine, EngineError};
use crate::net::NameAsk;

/// A name as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundName {
    /// In its normal form.
    pub name: String,
    /// Whose it is, as the server says.
    pub peer: PeerId,
    /// Whether it is found by its beginning too.
    pub listed: bool,
    /// Whose it was when this user found it first, if that was somebody else.
    pub was: Option<PeerId>,
}

impl FoundName {
    fn new(named: NamedPeer) -> Self {
        Self { name: named.name, peer: named.peer, listed: named.listed, was: None }
    }
}

/// Whether a key that has changed since is taken for the right one from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// The key that was found first stays the right one.
    Keep,
    /// The user knows that it has changed.
    Renew,
}

impl Engine {
    /// Whose `typed` is, and what listed names begin so; the name itself comes first.
    ///
    /// # Errors
    /// [`EngineError::Names`] if the server does not say; else if the store cannot be used.
    pub async fn find_name(&self, typed: &str, pinning: Pinning) -> Result<Vec<FoundName>, EngineError> {
        let wanted = normal(typed);
        let named = match typed.parse::<Name>() {
            Ok(name) if pinning == Pinning::Renew => self.net.ask_name(NameAsk::Find(name)).await?,
            _ => self.net.ask_name(NameAsk::Search(wanted.clone())).await?,
        };
        // The server says what it likes.
        let is_answer = |named: &NamedPeer| {
            named.name.parse::<Name>().is_ok_and(|name| name.as_str() == named.name)
                && named.name.starts_with(&wanted)
        };
        let mut found: Vec<_> = named.into_iter().filter(is_answer).map(FoundName::new).collect();
        let exact = found.iter_mut().find(|found| found.name == wanted);
        if let (Some(exact), Some(server)) = (exact, &self.server) {
            let now_ms = (self.wall_clock)();
            let renew = pinning == Pinning::Renew;
            let pinned = self.store.pin_name(&server.address, &exact.name, exact.peer, now_ms, renew).await?;
            exact.was = Some(pinned).filter(|pinned| *pinned != exact.peer);
        }
        Ok(found)
    }

    /// This user's own names.
    ///
    /// # Errors
    /// See [`Engine::find_name`].
    pub async fn own_names(&self) -> Result<Vec<FoundName>, EngineError> {
        let mut own = self.net.ask_name(NameAsk::Own).await?;
        own.retain(|named| named.peer == self.me());
        Ok(own.into_iter().map(FoundName::new).collect())
    }

    /// Takes a name. It is this user's until it is given back, or the user has not been at the server for a year.
    ///
    /// # Errors
    /// [`EngineError::Name`] if it is none; else see [`Engine::find_name`].
    pub async fn take_name(&self, typed: &str, listed: bool) -> Result<FoundName, EngineError> {
        let name: Name = typed.parse()?;
        self.net.ask_name(NameAsk::Take { name: name.clone(), listed }).await?;
        Ok(FoundName { name: name.to_string(), peer: self.me(), listed, was: None })
    }

    /// Gives a name back; anybody may take it then.
    ///
    /// # Errors
    /// See [`Engine::take_name`].
    pub async fn drop_name(&self, typed: &str) -> Result<Name, EngineError> {
        let name: Name = typed.parse()?;
        self.net.ask_name(NameAsk::Drop(name.clone())).await?;
        Ok(name)
    }
}
