//! Carries introductions among contacts out (`docs/protocol.md` §6.7).

use std::net::SocketAddr;

use common::control::{CheckKey, SessionId};
use common::identity::PeerId;
use common::stun::check::Side;

use super::{Engine, Event};
use crate::engine::introductions::endpoints;
use crate::engine::wire::{Found, Met, Seek, Sought, ToPeer};
use crate::net::{Acquaintance, Via, now};

/// Contacts who are asked for somebody at the same time.
const MAX_ASKED: usize = 8;

impl Engine {
    /// `peer` is wanted and there is no server: contacts who are connected are asked. Says so if there are none and
    /// the user waits for it.
    pub(super) async fn seek_through_contacts(&mut self, peer: PeerId, is_wanted: bool) {
        let asked: Vec<_> =
            self.connected_contacts().into_iter().filter(|contact| *contact != peer).collect();
        let is_known = self.contacts.contains(peer) || self.rooms.is_member(peer);
        if asked.is_empty() || !is_known {
            if is_wanted {
                let reason = "not connected to the server".to_owned();
                self.emit(Event::Unreachable { peer, reason }).await;
            }
            return;
        }
        let session = SessionId(rand::random());
        let own = self.context.net.observed().into_iter().collect();
        let Some(seek) = self.introductions.seek(now(), peer, session, own) else { return };
        for contact in asked.into_iter().take(MAX_ASKED) {
            self.tell(contact, seek.clone());
        }
    }

    fn connected_contacts(&self) -> Vec<PeerId> {
        let greeted = self.sessions.iter().filter(|(_, session)| session.greeted).map(|(peer, _)| *peer);
        greeted.filter(|peer| self.contacts.contains(*peer)).collect()
    }

    /// What finds no room is lost: whoever seeks asks again.
    fn tell(&self, peer: PeerId, frame: impl Into<ToPeer>) {
        if let Some(session) = self.sessions.get(&peer).filter(|session| session.greeted) {
            let _ = session.frames.try_send(frame.into());
        }
    }

    /// Where we see `about`, as far as that is of use to `to`: an address in the local network is for those who are in it.
    fn seen(&self, about: PeerId, to: PeerId) -> Option<SocketAddr> {
        let path = self.context.net.path(about)?;
        let is_near = || self.context.net.path(to).is_some_and(|path| path.via == Via::Lan);
        match path.via {
            Via::Udp => path.remote,
            Via::Lan => path.remote.filter(|_| is_near()),
            Via::Relay | Via::Tcp => None,
        }
    }

    pub(super) fn handle_seek(&mut self, seeker: PeerId, seek: Seek) {
        let contacts = self.connected_contacts();
        if !contacts.contains(&seeker) {
            return;
        }
        let key = CheckKey(rand::random());
        let passed = self.introductions.handle_seek(now(), seeker, seek, &contacts, key);
        if let Some((to, mut sought)) = passed {
            sought.endpoints = endpoints(self.seen(seeker, to), sought.endpoints);
            self.tell(to, sought);
        }
    }

    /// A contact passes on that somebody looks for us. Only people who are known here get an answer.
    pub(super) async fn handle_sought(&mut self, between: PeerId, sought: Sought) {
        let Sought { session, peer, endpoints, key } = sought;
        let is_known = self.contacts.contains(peer) || self.rooms.is_member(peer);
        let us = self.context.store.me();
        let is_heeded =
            self.contacts.contains(between) && self.introductions.handle_sought(now(), us, between, peer);
        if !is_known || !is_heeded || self.sessions.contains_key(&peer) {
            return;
        }
        self.context.net.acquaint(Acquaintance { session, peer, endpoints, key, side: Side::Acceptor }).await;
        let own = self.context.net.observed().into_iter().collect();
        self.tell(between, Found { session, endpoints: own });
    }

    pub(super) fn handle_found(&mut self, sought: PeerId, found: Found) {
        if let Some((seeker, mut met)) = self.introductions.handle_found(now(), sought, found) {
            met.endpoints = endpoints(self.seen(sought, seeker), met.endpoints);
            self.tell(seeker, met);
        }
    }

    pub(super) async fn handle_met(&mut self, met: Met) {
        if self.introductions.handle_met(now(), &met) {
            let Met { session, peer, endpoints, key } = met;
            self.context
                .net
                .acquaint(Acquaintance { session, peer, endpoints, key, side: Side::Dialer })
                .await;
        }
    }
}
