//! Contacts at the addresses where they were seen last, while there is no server to ask (`docs/protocol.md` §12).
//!
//! This part is pure: the key that two contacts have for ever, and when who is looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::identity::{Identity, PeerId};
use common::stun::check::{KEY_LEN, Key, KeyName, Side};

/// Contacts who are looked for; of more, those who were seen last.
pub const MAX_SOUGHT: usize = 32;
/// Addresses of each.
pub const MAX_ENDPOINTS: usize = 4;
/// How long after the start the server may take before anybody is looked for without it.
const HEAD_START: Duration = Duration::from_secs(2);
/// How long a round of checks lasts, as far as nobody answers: no other begins before.
pub(crate) const ROUND: Duration = Duration::from_secs(30);
/// From the beginning of the first round to that of the next; doubled each time.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest such time.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// Rounds that begin at the same time, and how long the next ones wait: a round begins with a burst.
const TURN: (usize, Duration) = (8, Duration::from_secs(1));

/// The key of STUN checks between two who know each other's keys and nothing else. It never changes, so that neither has to keep
/// anything that the other might not have; the key of the session follows with the handshake.
pub(crate) fn check_key(identity: &Identity, peer: PeerId) -> Option<Key> {
    let me = identity.peer_id();
    let (first, second) = if me < peer { (me, peer) } else { (peer, me) };
    let mut hasher = blake3::Hasher::new_derive_key("hobnob last seen v1");
    hasher.update(identity.agree(peer)?.as_slice()).update(first.as_bytes()).update(second.as_bytes());
    let mut secret = [0; 8 + KEY_LEN];
    hasher.finalize_xof().fill(&mut secret);
    let (name, key) = secret.split_first_chunk::<8>()?;
    let side = if me == first { Side::Dialer } else { Side::Acceptor };
    Some(Key::new(KeyName(u64::from_be_bytes(*name)), side, key.first_chunk()?))
}

#[derive(Debug)]
struct Contact {
    peer: PeerId,
    endpoints: Vec<SocketAddr>,
    /// The user wants something of them, whether or not this client shows itself to them.
    is_wanted: bool,
    rounds: u32,
    /// When the last round began, and when the next one does.
    began: Option<Instant>,
    next: Option<Instant>,
}

/// Who was seen where, and when they are looked for there.
#[derive(Debug)]
pub(crate) struct LastSeen {
    /// Whoever was seen last comes last.
    contacts: Vec<Contact>,
    /// From when on; `None` while the server answers.
    from: Option<Instant>,
    next_turn: Instant,
    keys: BTreeMap<PeerId, Key>,
    /// Of whom the user has taken leave in this run: they are not looked for, and may not call.
    left: BTreeSet<PeerId>,
}

impl LastSeen {
    pub(crate) fn new(now: Instant) -> Self {
        let from = Some(now + HEAD_START);
        Self { contacts: Vec::new(), from, next_turn: now, keys: BTreeMap::new(), left: BTreeSet::new() }
    }

    /// The lasting key with `peer`, worked out once.
    pub(crate) fn key(&mut self, identity: &Identity, peer: PeerId) -> Option<Key> {
        if let Some(key) = self.keys.get(&peer) {
            return Some(key.clone());
        }
        let key = check_key(identity, peer)?;
        self.keys.insert(peer, key.clone());
        Some(key)
    }

    /// Forgets keys and addresses of all others.
    pub(crate) fn retain(&mut self, has_key: impl Fn(PeerId) -> bool, has_address: impl Fn(PeerId) -> bool) {
        self.keys.retain(|peer, _| has_key(*peer));
        self.contacts.retain(|contact| has_address(contact.peer));
    }

    /// `peer` was seen at `endpoints`, later than all others.
    pub(crate) fn set(&mut self, peer: PeerId, mut endpoints: Vec<SocketAddr>) {
        endpoints.truncate(MAX_ENDPOINTS);
        let known = self.contacts.iter().position(|contact| contact.peer == peer);
        let mut contact = known.map(|at| self.contacts.remove(at)).unwrap_or(Contact {
            peer,
            endpoints: Vec::new(),
            is_wanted: false,
            rounds: 0,
            began: None,
            next: None,
        });
        contact.endpoints = endpoints;
        if self.contacts.len() == MAX_SOUGHT {
            self.contacts.remove(0);
        }
        self.contacts.push(contact);
    }

    /// The server does not answer.
    pub(crate) fn handle_server_down(&mut self, now: Instant) {
        self.from = Some(self.from.map_or(now, |from| from.min(now)));
    }

    /// The server answers, and says who is there.
    pub(crate) fn handle_server_up(&mut self) {
        self.from = None;
        self.start_afresh();
    }

    /// All are looked for soon: something has changed.
    pub(crate) fn start_afresh(&mut self) {
        for contact in &mut self.contacts {
            (contact.rounds, contact.next) = (0, None);
        }
    }

    /// The connection to `peer` has ended.
    pub(crate) fn handle_closed(&mut self, peer: PeerId) {
        if let Some(contact) = self.contacts.iter_mut().find(|contact| contact.peer == peer) {
            (contact.rounds, contact.next) = (0, None);
        }
    }

    /// The user takes leave of `peer`.
    pub(crate) fn leave(&mut self, peer: PeerId) {
        self.left.insert(peer);
    }

    /// Whether the user has taken leave of `peer`.
    pub(crate) fn has_left(&self, peer: PeerId) -> bool {
        self.left.contains(&peer)
    }

    /// `peer` is met again, or the user wants that. Returns whether there was a leave.
    pub(crate) fn come_back(&mut self, peer: PeerId) -> bool {
        self.left.remove(&peer)
    }

    /// The user wants something of `peer`, which is looked for at once unless that is being done.
    pub(crate) fn want(&mut self, now: Instant, peer: PeerId) {
        let Some(contact) = self.contacts.iter_mut().find(|contact| contact.peer == peer) else { return };
        let is_looked_for = contact.began.is_some_and(|began| now < began + ROUND);
        if !is_looked_for {
            (contact.is_wanted, contact.next) = (true, None);
        }
    }

    /// Who is to be looked for now, and where. `is_usual` tells of those to whom this client shows itself, `may_ask` of those who are
    /// neither connected nor shut out; `part`, between a half and one, keeps two from missing each other for ever.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        part: f64,
        is_usual: impl Fn(PeerId) -> bool,
        may_ask: impl Fn(PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<SocketAddr>)> {
        if self.from.is_none_or(|from| now < from.max(self.next_turn)) {
            return Vec::new();
        }
        let left = &self.left;
        let is_due = |contact: &&mut Contact| {
            let may_ask = !left.contains(&contact.peer) && may_ask(contact.peer);
            let is_sought = may_ask && contact.is_sought(&is_usual);
            is_sought && contact.next.is_none_or(|next| next <= now)
        };
        let mut due = Vec::new();
        for contact in self.contacts.iter_mut().rev().filter(is_due).take(TURN.0) {
            let pause = (PAUSE * 2u32.saturating_pow(contact.rounds.min(10))).min(MAX_PAUSE);
            contact.rounds += 1;
            contact.began = Some(now);
            contact.next = Some(now + pause.mul_f64(part).max(ROUND));
            contact.is_wanted = false;
            due.push((contact.peer, contact.endpoints.clone()));
        }
        if !due.is_empty() {
            self.next_turn = now + TURN.1;
        }
        due
    }

    /// When [`LastSeen::take_due`] wants to be called.
    pub(crate) fn poll_timeout(
        &self,
        is_usual: impl Fn(PeerId) -> bool,
        may_ask: impl Fn(PeerId) -> bool,
    ) -> Option<Instant> {
        let from = self.from?.max(self.next_turn);
        let may_ask = |peer| !self.left.contains(&peer) && may_ask(peer);
        let sought =
            self.contacts.iter().filter(|contact| may_ask(contact.peer) && contact.is_sought(&is_usual));
        sought.map(|contact| contact.next.map_or(from, |next| next.max(from))).min()
    }
}

impl Contact {
    fn is_sought(&self, is_usual: &impl Fn(PeerId) -> bool) -> bool {
        !self.endpoints.is_empty() && (self.is_wanted || is_usual(self.peer))
    }
}

#[cfg(test)]
mod tests;
