//! The mapping table: finds mappings from inside and from outside, and forgets dead ones.
//!
//! It never decides whether a packet passes; [`Nat`](super::Nat) does.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::flow::Transport;
use super::mapping::{InsideKey, Mapping, OutsideKey};
use super::profile::Profile;

/// All mappings of one NAT.
#[derive(Debug, Default)]
pub(super) struct Table {
    outside: BTreeMap<OutsideKey, Mapping>,
    inside: BTreeMap<InsideKey, OutsideKey>,
    /// Sessions over all mappings, dead ones included until they are pruned.
    sessions: usize,
}

impl Table {
    /// The external endpoint of a live mapping.
    pub(super) fn find_inside(
        &self,
        now: Duration,
        profile: &Profile,
        key: &InsideKey,
    ) -> Option<OutsideKey> {
        let outside = *self.inside.get(key)?;
        self.is_taken(now, profile, outside).then_some(outside)
    }

    /// The live mapping of an external endpoint.
    pub(super) fn get(&self, now: Duration, profile: &Profile, outside: OutsideKey) -> Option<&Mapping> {
        self.outside.get(&outside).filter(|mapping| mapping.is_live(now, profile))
    }

    /// Whether a live mapping has this external endpoint.
    pub(super) fn is_taken(&self, now: Duration, profile: &Profile, outside: OutsideKey) -> bool {
        self.get(now, profile, outside).is_some()
    }

    /// Changes one mapping, keeping count of its sessions.
    pub(super) fn update(&mut self, outside: OutsideKey, change: impl FnOnce(&mut Mapping)) {
        if let Some(mapping) = self.outside.get_mut(&outside) {
            let before = mapping.session_count();
            change(mapping);
            self.sessions = self.sessions + mapping.session_count() - before;
        }
    }

    /// Adds a mapping in the place of dead ones with its internal or external key.
    pub(super) fn insert(&mut self, mapping: Mapping) {
        let outside = mapping.outside_key();
        self.remove(outside);
        if let Some(dead) = self.inside.get(&mapping.key).copied() {
            self.remove(dead);
        }
        self.inside.insert(mapping.key, outside);
        self.outside.insert(outside, mapping);
    }

    /// Forgets dead mappings and dead sessions.
    pub(super) fn prune(&mut self, now: Duration, profile: &Profile) {
        self.retain(|mapping| {
            mapping.prune(now, profile);
            mapping.is_live(now, profile)
        });
    }

    /// Forgets mappings on public addresses that are not in the list.
    pub(super) fn keep_only(&mut self, public: &[IpAddr]) {
        self.retain(|mapping| public.contains(&mapping.external.ip()));
    }

    /// Forgets everything; returns the external endpoints there were.
    pub(super) fn take_all(&mut self) -> Vec<OutsideKey> {
        let taken = self.outside.keys().copied().collect();
        *self = Self::default();
        taken
    }

    /// Mappings in the table, dead ones included until they are pruned.
    pub(super) fn len(&self) -> usize {
        self.outside.len()
    }

    /// Sessions in the table, likewise.
    pub(super) const fn sessions(&self) -> usize {
        self.sessions
    }

    /// The live mappings as transport, internal and external endpoint.
    pub(super) fn live<'a>(
        &'a self,
        now: Duration,
        profile: &'a Profile,
    ) -> impl Iterator<Item = (Transport, SocketAddr, SocketAddr)> + 'a {
        self.outside
            .values()
            .filter(move |mapping| mapping.is_live(now, profile))
            .map(|mapping| (mapping.key.transport, mapping.key.internal, mapping.external))
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut Mapping) -> bool) {
        self.outside.retain(|_, mapping| keep(mapping));
        let outside = &self.outside;
        self.inside.retain(|_, key| outside.contains_key(key));
        self.sessions = outside.values().map(Mapping::session_count).sum();
    }

    fn remove(&mut self, outside: OutsideKey) {
        if let Some(mapping) = self.outside.remove(&outside) {
            self.sessions -= mapping.session_count();
            self.inside.remove(&mapping.key);
        }
    }
}
