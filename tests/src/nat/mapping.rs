//! One mapping: an internal endpoint, its external endpoint, and the remote endpoints it has talked to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::flow::{Proto, Transport};
use super::profile::{Behavior, Profile};
use super::tcp::{Direction, TcpState};

/// How much of the remote endpoint a mapping is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// All remote endpoints.
    Any,
    /// All ports of one address.
    Address(IpAddr),
    /// One endpoint.
    Endpoint(SocketAddr),
}

impl Scope {
    /// The scope of a flow to `remote` under a mapping behaviour.
    pub(super) const fn of(mapping: Behavior, remote: SocketAddr) -> Self {
        match mapping {
            Behavior::EndpointIndependent => Self::Any,
            Behavior::AddressDependent => Self::Address(remote.ip()),
            Behavior::AddressAndPortDependent => Self::Endpoint(remote),
        }
    }
}

/// By what a mapping is found from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InsideKey {
    pub(super) transport: Transport,
    pub(super) internal: SocketAddr,
    pub(super) scope: Scope,
}

/// By what a mapping is found from outside.
pub(super) type OutsideKey = (Transport, SocketAddr);

/// What is remembered about one remote endpoint of a mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    refreshed: Duration,
    /// None for UDP.
    tcp: Option<TcpState>,
}

impl Session {
    fn is_live(self, now: Duration, profile: &Profile) -> bool {
        let lifetime = self.tcp.map_or(profile.udp_lifetime, |state| state.lifetime(profile));
        now.saturating_sub(self.refreshed) < lifetime
    }
}

/// One mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) key: InsideKey,
    pub(super) external: SocketAddr,
    created: Duration,
    refreshed: Duration,
    sessions: BTreeMap<SocketAddr, Session>,
}

impl Mapping {
    pub(super) const fn new(now: Duration, key: InsideKey, external: SocketAddr) -> Self {
        Self { key, external, created: now, refreshed: now, sessions: BTreeMap::new() }
    }

    pub(super) const fn outside_key(&self) -> OutsideKey {
        (self.key.transport, self.external)
    }

    /// Whether the mapping still translates. A UDP mapping lives by its own clock; a TCP mapping as long as
    /// one of its sessions does.
    pub(super) fn is_live(&self, now: Duration, profile: &Profile) -> bool {
        let age = now.saturating_sub(self.created);
        if profile.absolute_lifetime.is_some_and(|most| age >= most) {
            return false;
        }
        match self.key.transport {
            Transport::Udp => now.saturating_sub(self.refreshed) < profile.udp_lifetime,
            Transport::Tcp => self.sessions.values().any(|session| session.is_live(now, profile)),
        }
    }

    /// Whether there is a live session with exactly this remote endpoint.
    pub(super) fn has_session(&self, now: Duration, profile: &Profile, remote: SocketAddr) -> bool {
        self.sessions.get(&remote).is_some_and(|session| session.is_live(now, profile))
    }

    /// Whether `remote` was ever heard of and not yet forgotten; then it costs no room to touch it.
    pub(super) fn remembers(&self, remote: SocketAddr) -> bool {
        self.sessions.contains_key(&remote)
    }

    /// Whether the filter lets `remote` in (RFC 4787 §5).
    pub(super) fn admits(&self, now: Duration, profile: &Profile, remote: SocketAddr) -> bool {
        match profile.filtering {
            Behavior::EndpointIndependent => true,
            Behavior::AddressDependent => self
                .sessions
                .range(SocketAddr::new(remote.ip(), 0)..)
                .take_while(|(known, _)| known.ip() == remote.ip())
                .any(|(_, session)| session.is_live(now, profile)),
            Behavior::AddressAndPortDependent => self.has_session(now, profile, remote),
        }
    }

    /// Notes a packet that is let through, and refreshes what it refreshes.
    pub(super) fn touch(
        &mut self,
        now: Duration,
        profile: &Profile,
        remote: SocketAddr,
        (direction, proto): (Direction, Proto),
    ) {
        let known = self.sessions.get(&remote).copied().filter(|session| session.is_live(now, profile));
        let session = match (proto, known) {
            (Proto::Tcp(flags), known) => {
                let state = match known.and_then(|session| session.tcp) {
                    Some(state) => state.after(direction, flags),
                    None => TcpState::opened_by(direction),
                };
                Session { refreshed: now, tcp: Some(state) }
            }
            (Proto::Udp, Some(session)) if !refreshes(profile, direction) => session,
            // RFC 7857 §7: a stranger let in by an endpoint-independent filter opens no session of its own.
            (Proto::Udp, None) if direction == Direction::In => {
                self.refresh(now, profile, direction);
                return;
            }
            (Proto::Udp, _) => Session { refreshed: now, tcp: None },
        };
        self.refresh(now, profile, direction);
        self.sessions.insert(remote, session);
    }

    fn refresh(&mut self, now: Duration, profile: &Profile, direction: Direction) {
        if refreshes(profile, direction) {
            self.refreshed = now;
        }
    }

    /// Forgets sessions that have ended.
    pub(super) fn prune(&mut self, now: Duration, profile: &Profile) {
        self.sessions.retain(|_, session| session.is_live(now, profile));
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }
}

const fn refreshes(profile: &Profile, direction: Direction) -> bool {
    match direction {
        Direction::Out => profile.outbound_refresh,
        Direction::In => profile.inbound_refresh,
    }
}
