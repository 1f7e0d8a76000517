//! A model of NATs and firewalls in the terms of RFC 4787 (UDP), RFC 5382 (TCP) and RFC 7857 (updates).
//!
//! One packet header goes in, one [`Verdict`] comes out. The model holds no socket, no task and no clock:
//! `now` is the time since some start, its random choices come from a seed, and the same calls give the same
//! answers. The simulated network and the namespace lab both route through it.
//!
//! It is not a router: it knows nothing of checksums, fragments, TTLs or ICMP, has no idea which internal
//! hosts exist, and never makes a packet of its own.

mod flow;
mod mapping;
mod ports;
mod profile;
mod refused;
mod table;
mod tcp;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use flow::{Flow, Proto, TcpFlags, Transport};
pub use profile::{Allocation, Behavior, Pooling, Profile, TcpPorts, Unsolicited};
pub use refused::{MAX_REFUSED, REFUSED_LIFETIME, SYN_HOLD};
pub use verdict::{DropReason, Rejection, Verdict};

use mapping::{InsideKey, Mapping, OutsideKey, Scope};
use ports::{PortAllocator, PortRequest};
use refused::{Refused, tuple};
use table::Table;
use tcp::Direction;

/// How often dead mappings are swept out; a dead one is ignored from the moment it dies.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// One NAT.
#[derive(Debug)]
pub struct Nat {
    profile: Profile,
    public: Vec<IpAddr>,
    rng: StdRng,
    table: Table,
    ports: PortAllocator,
    /// The public address of each internal host, for paired pooling.
    pairs: BTreeMap<IpAddr, IpAddr>,
    refused: Refused,
    /// External endpoints of before the last rebind, which are not given out again until the next one.
    burnt: BTreeSet<OutsideKey>,
    /// Explicit mappings of UDP (RFC 6887 §2.2), by internal endpoint.
    explicit: BTreeMap<SocketAddr, SocketAddr>,
    /// The time of the last packet.
    now: Duration,
    swept: Duration,
}

impl Nat {
    /// A NAT with these public addresses. It translates a packet to a public address of the packet's own family.
    #[must_use]
    pub fn new(profile: Profile, public_ips: Vec<IpAddr>, seed: u64) -> Self {
        Self {
            profile,
            public: public_ips,
            rng: StdRng::seed_from_u64(seed),
            table: Table::default(),
            ports: PortAllocator::default(),
            pairs: BTreeMap::new(),
            refused: Refused::default(),
            burnt: BTreeSet::new(),
            explicit: BTreeMap::new(),
            now: Duration::ZERO,
            swept: Duration::ZERO,
        }
    }

    /// Handles a packet from inside.
    pub fn outbound(&mut self, now: Duration, flow: Flow) -> Verdict {
        self.set_now(now);
        let for_us = self.public.contains(&flow.dst.ip());
        if for_us && !self.profile.hairpin {
            return Verdict::Drop(DropReason::NoHairpin);
        }
        match self.translate(flow) {
            Err(reason) => Verdict::Drop(reason),
            Ok(external) if for_us => self.turn_around(Flow { src: external, ..flow }),
            Ok(external) => Verdict::Forward(Flow { src: external, ..flow }),
        }
    }

    /// Handles a packet from outside.
    pub fn inbound(&mut self, now: Duration, flow: Flow) -> Verdict {
        self.set_now(now);
        if !self.public.contains(&flow.dst.ip()) {
            return Verdict::Drop(DropReason::NotOurs);
        }
        if flow.proto == Proto::Udp && !self.profile.udp {
            return Verdict::Drop(DropReason::UdpBlocked);
        }
        match self.admit(flow) {
            Ok(internal) => Verdict::Forward(Flow { dst: internal, ..flow }),
            Err(reason) => self.answer_unsolicited(flow, reason),
        }
    }

    /// Forgets all mappings, as a router does that restarts; the external ports of before are avoided.
    pub fn rebind(&mut self) {
        self.burnt = self.table.take_all().into_iter().collect();
        self.ports.forget();
        self.pairs.clear();
        self.explicit.clear();
        self.refused.clear();
    }

    /// Makes an explicit mapping for UDP, as a router does that is asked by PCP: whoever sends to the endpoint that this
    /// returns reaches `internal`, and flows that begin later leave from there. None if there is no address or port.
    pub fn map(&mut self, internal: SocketAddr) -> Option<SocketAddr> {
        let public = self.public_for(internal.ip())?;
        let taken: BTreeSet<_> = self.explicit.values().map(SocketAddr::port).collect();
        let port = (1024..=u16::MAX).rev().find(|port| {
            let outside = (Transport::Udp, SocketAddr::new(public, *port));
            !taken.contains(port) && !self.table.is_taken(self.now, &self.profile, outside)
        })?;
        let external = SocketAddr::new(public, port);
        self.explicit.insert(internal, external);
        Some(external)
    }

    /// Replaces the public addresses; mappings on addresses that are gone are forgotten.
    pub fn set_public_ips(&mut self, ips: Vec<IpAddr>) {
        self.table.keep_only(&ips);
        self.explicit.retain(|_, external| ips.contains(&external.ip()));
        self.pairs.retain(|_, public| ips.contains(public));
        self.public = ips;
    }

    /// Replaces the profile (UDP is suddenly blocked, say) and keeps the mappings.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// What kind of NAT it is.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The public addresses.
    #[must_use]
    pub fn public_ips(&self) -> &[IpAddr] {
        &self.public
    }

    /// How many mappings were alive at the time of the last packet.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.live_mappings().count()
    }

    /// The mappings alive at the time of the last packet: transport, internal endpoint, external endpoint.
    pub fn live_mappings(&self) -> impl Iterator<Item = (Transport, SocketAddr, SocketAddr)> + '_ {
        self.table.live(self.now, &self.profile)
    }

    /// When [`Nat::take_overdue_syns`] has something to say, if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        (self.profile.unsolicited == Unsolicited::HoldSyn).then(|| self.refused.next_due()).flatten()
    }

    /// Takes the unsolicited SYNs that were kept back long enough and are to be answered with
    /// [`Rejection::PortUnreachable`] now (RFC 5382 REQ-4); each as it came in.
    pub fn take_overdue_syns(&mut self, now: Duration) -> Vec<Flow> {
        self.set_now(now);
        if self.profile.unsolicited != Unsolicited::HoldSyn {
            return Vec::new();
        }
        let due = self.refused.take_due(now);
        due.into_iter().map(|(_, external, remote)| Flow::tcp(TcpFlags::SYN, remote, external)).collect()
    }

    /// The external endpoint of a packet from inside, mapped now if it was not.
    fn translate(&mut self, flow: Flow) -> Result<SocketAddr, DropReason> {
        self.check_leaves(flow)?;
        if let Some(external) = self.explicit_for(flow) {
            return Ok(external);
        }
        self.prune_sessions_if_full();
        let outside = self.mapping_for(flow)?;
        if !self.room_for_session(outside, flow.dst) {
            return Err(DropReason::TableFull);
        }
        self.touch(outside, flow.dst, (Direction::Out, flow.proto));
        Ok(outside.1)
    }

    /// The explicit mapping that a packet from inside takes: all do but those of flows that have another already.
    fn explicit_for(&self, flow: Flow) -> Option<SocketAddr> {
        let external = *self.explicit.get(&flow.src).filter(|_| flow.proto == Proto::Udp)?;
        let key = inside_key(flow, Scope::of(self.profile.mapping, flow.dst));
        let older = self.table.find_inside(self.now, &self.profile, &key);
        let is_older = older.is_some_and(|outside| self.has_session(outside, flow.dst));
        (!is_older).then_some(external)
    }

    /// Whether this kind of packet may leave at all.
    fn check_leaves(&self, flow: Flow) -> Result<(), DropReason> {
        match flow.proto {
            Proto::Udp if !self.profile.udp => Err(DropReason::UdpBlocked),
            Proto::Tcp(_) if !self.profile.tcp_ports.passes(flow.dst.port()) => Err(DropReason::PortBlocked),
            Proto::Udp | Proto::Tcp(_) => Ok(()),
        }
    }

    /// The mapping this flow uses, old or new.
    fn mapping_for(&mut self, flow: Flow) -> Result<OutsideKey, DropReason> {
        let general = inside_key(flow, Scope::of(self.profile.mapping, flow.dst));
        if self.profile.unsolicited != Unsolicited::KeepState {
            return self.find_or_create(general, flow);
        }
        // Linux chooses per flow: one whose tuple is spoilt has a mapping of its own.
        let own = inside_key(flow, Scope::Endpoint(flow.dst));
        if let Some(outside) = self.table.find_inside(self.now, &self.profile, &own) {
            return Ok(outside);
        }
        let outside = self.find_or_create(general, flow)?;
        if self.is_spoilt(outside, flow.dst) { self.create(own, flow) } else { Ok(outside) }
    }

    /// Whether a refused packet from `remote` occupies the tuple that this mapping would use with it.
    fn is_spoilt(&self, outside: OutsideKey, remote: SocketAddr) -> bool {
        let mapping = self.table.get(self.now, &self.profile, outside);
        let in_use = mapping.is_some_and(|mapping| mapping.has_session(self.now, &self.profile, remote));
        !in_use && self.refused.remembers(self.now, tuple(outside.0, outside.1, remote))
    }

    fn find_or_create(&mut self, key: InsideKey, flow: Flow) -> Result<OutsideKey, DropReason> {
        let found = self.table.find_inside(self.now, &self.profile, &key);
        let opens = match flow.proto {
            Proto::Udp => true,
            Proto::Tcp(flags) => flags.opens(),
        };
        match found {
            Some(outside) if opens || self.has_session(outside, flow.dst) => Ok(outside),
            None if opens => self.create(key, flow),
            Some(_) | None => Err(DropReason::NoSession),
        }
    }

    fn create(&mut self, key: InsideKey, flow: Flow) -> Result<OutsideKey, DropReason> {
        if self.table.len() >= self.profile.max_mappings {
            self.table.prune(self.now, &self.profile);
        }
        // A new mapping needs a session too; without one it would only open a door for strangers.
        let full = self.table.sessions() >= self.profile.max_sessions;
        if full || self.table.len() >= self.profile.max_mappings {
            return Err(DropReason::TableFull);
        }
        let public = self.public_for(flow.src.ip()).ok_or(DropReason::NoAddress)?;
        let request = PortRequest { transport: key.transport, internal: flow.src, public };
        let Self { ports, rng, profile, table, burnt, explicit, refused, now, .. } = self;
        let is_free = |port| {
            let outside = (key.transport, SocketAddr::new(public, port));
            let spoilt = matches!(key.scope, Scope::Endpoint(remote)
                if refused.remembers(*now, tuple(outside.0, outside.1, remote)));
            let is_explicit = outside.0 == Transport::Udp && explicit.values().any(|held| *held == outside.1);
            port != 0
                && !is_explicit
                && !spoilt
                && !burnt.contains(&outside)
                && !table.is_taken(*now, profile, outside)
        };
        let port = ports.choose(rng, profile.allocation, request, is_free).ok_or(DropReason::NoPort)?;
        let mapping = Mapping::new(self.now, key, SocketAddr::new(public, port));
        let outside = mapping.outside_key();
        self.table.insert(mapping);
        Ok(outside)
    }

    /// The public address for a new mapping of this internal host (RFC 4787 REQ-2).
    fn public_for(&mut self, internal: IpAddr) -> Option<IpAddr> {
        if let Some(public) = self.pairs.get(&internal) {
            return Some(*public);
        }
        let family: Vec<IpAddr> =
            self.public.iter().copied().filter(|ip| ip.is_ipv4() == internal.is_ipv4()).collect();
        let chosen = match family.len() {
            0 => return None,
            1 => family[0],
            several => family[self.rng.random_range(0..several)],
        };
        if self.profile.pooling == Pooling::Paired {
            self.pairs.insert(internal, chosen);
        }
        Some(chosen)
    }

    /// The internal endpoint of a packet from outside, if it may pass.
    fn admit(&mut self, flow: Flow) -> Result<SocketAddr, DropReason> {
        if flow.proto == Proto::Udp
            && let Some((internal, _)) = self.explicit.iter().find(|(_, external)| **external == flow.dst)
        {
            return Ok(*internal);
        }
        let outside = (flow.proto.transport(), flow.dst);
        let (now, profile) = (self.now, &self.profile);
        let mapping = self.table.get(now, profile, outside).ok_or(DropReason::NoMapping)?;
        let internal = mapping.key.internal;
        if !mapping.admits(now, profile, flow.src) {
            return Err(DropReason::Filtered);
        }
        if let Proto::Tcp(flags) = flow.proto
            && !flags.opens()
            && !mapping.has_session(now, profile, flow.src)
        {
            return Err(DropReason::NoSession);
        }
        if flow.proto != Proto::Udp {
            self.prune_sessions_if_full();
            if !self.room_for_session(outside, flow.src) {
                return Err(DropReason::TableFull);
            }
        }
        self.touch(outside, flow.src, (Direction::In, flow.proto));
        Ok(internal)
    }

    /// A translated packet from inside that is for this NAT comes in again (RFC 4787 REQ-9a: with its
    /// external source).
    fn turn_around(&mut self, flow: Flow) -> Verdict {
        match self.inbound(self.now, flow) {
            Verdict::Forward(flow) => Verdict::Hairpin(flow),
            verdict => verdict,
        }
    }

    fn answer_unsolicited(&mut self, flow: Flow, reason: DropReason) -> Verdict {
        let syn = matches!(flow.proto, Proto::Tcp(flags) if flags.opens() && !flags.ack);
        match self.profile.unsolicited {
            Unsolicited::HoldSyn if syn => {
                self.refused.hold(self.now, flow);
                return Verdict::Drop(DropReason::SynHeld);
            }
            Unsolicited::Drop | Unsolicited::HoldSyn => return Verdict::Drop(reason),
            Unsolicited::KeepState => self.refused.note(self.now, flow),
            Unsolicited::Reject => {}
        }
        match flow.proto {
            Proto::Udp => Verdict::Reject(Rejection::PortUnreachable),
            Proto::Tcp(flags) if flags.rst => Verdict::Drop(reason),
            Proto::Tcp(_) => Verdict::Reject(Rejection::TcpReset),
        }
    }

    fn has_session(&self, outside: OutsideKey, remote: SocketAddr) -> bool {
        let mapping = self.table.get(self.now, &self.profile, outside);
        mapping.is_some_and(|mapping| mapping.has_session(self.now, &self.profile, remote))
    }

    /// Whether the session table has room for this pair.
    fn room_for_session(&self, outside: OutsideKey, remote: SocketAddr) -> bool {
        let mapping = self.table.get(self.now, &self.profile, outside);
        let known = mapping.is_some_and(|mapping| mapping.remembers(remote));
        known || self.table.sessions() < self.profile.max_sessions
    }

    fn prune_sessions_if_full(&mut self) {
        if self.table.sessions() >= self.profile.max_sessions {
            self.table.prune(self.now, &self.profile);
        }
    }

    fn touch(&mut self, outside: OutsideKey, remote: SocketAddr, packet: (Direction, Proto)) {
        // The two SYNs of a simultaneous open have met: the held one is never answered (RFC 5382 REQ-4).
        if self.profile.unsolicited == Unsolicited::HoldSyn {
            self.refused.forget(tuple(outside.0, outside.1, remote));
        }
        let (now, profile) = (self.now, &self.profile);
        self.table.update(outside, |mapping| mapping.touch(now, profile, remote, packet));
    }

    fn set_now(&mut self, now: Duration) {
        self.now = now.max(self.now);
        if self.now.saturating_sub(self.swept) >= SWEEP_INTERVAL {
            self.swept = self.now;
            self.table.prune(self.now, &self.profile);
            self.refused.prune(self.now);
        }
    }
}

fn inside_key(flow: Flow, scope: Scope) -> InsideKey {
    InsideKey { transport: flow.proto.transport(), internal: flow.src, scope }
}
