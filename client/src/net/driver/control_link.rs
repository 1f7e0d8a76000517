//! The driver's dealings with the server.

use std::net::SocketAddr;

use common::code::{Failure, News};
use common::traversal::prober::Place;

use super::super::server::Errand;
use super::super::tunnel::{Carrier, Route, Tunnels};
use super::*;

/// Networks whose way to the server is remembered in one run.
const MAX_ROUTES: usize = 64;

impl Driver {
    pub(super) fn connect_to_server(&mut self) {
        let Some(target) = self.config.server.clone() else {
            self.server = Server::None;
            return;
        };
        self.server = Server::Connecting;
        self.told = self.admit();
        let admit = self.told.clone();
        let last = self.config.routes.get(&(self.config.surroundings.network)()).cloned();
        let register = Register { instance: self.config.instance, features: Vec::new(), admit };
        let connecting = server::connect(Errand {
            endpoint: self.endpoint.clone(),
            socket: Arc::clone(&self.socket),
            identity: self.config.identity.clone(),
            target,
            register,
            tunnels: self.config.tunnels.clone().map(|tunnels| Tunnels { last, ..tunnels }),
            inbox: self.outboxes.server.clone(),
        });
        let results = self.outboxes.results.clone();
        self.tasks.spawn(async move {
            // The driver may have ended meanwhile.
            let _ = results.send(connecting.await).await;
        });
    }

    pub(super) fn handle_server_up(&mut self, now: Instant, link: ServerLink) {
        if let Some(reason) = link.connection.close_reason() {
            // Its end may have been reported before it was known.
            return self.handle_server_down(now, ServerError::Lost(reason.to_string()));
        }
        info!(server = %link.key.short(), "registered");
        self.stop_looking();
        self.registered_at = Some(now);
        self.socket.set_server(Some(link.connection.clone()));
        self.relayed_rtt = link.connection.rtt() * 2;
        if let Some(target) = &mut self.config.server {
            // From now on only this key will do.
            target.key = Some(link.key);
        }
        self.remember_route(link.route);
        self.observed.send_replace(link.welcome.observed);
        let event = Event::ServerUp { key: link.key, route: link.route, observed: link.welcome.observed };
        // Those who are connected or dialled want a relay and fresh endpoints from this server too.
        for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.wants_introductions()) {
            peer.reintroduce_at = Some(now);
        }
        self.server = Server::Up(link);
        self.publish_access(now);
        self.probe(now);
        if self.mapping.mapped.borrow().is_some() {
            self.send_mapped();
        }
        // What was changed while the registration was under way.
        self.tell_door();
        self.send_watch();
        if let Some(wish) = &mut self.lobby {
            wish.paired = None;
            self.send_lobby();
        }
        self.emit(event);
    }

    /// The way that works is tried first the next time on this network.
    fn remember_route(&mut self, route: Route) {
        let network = (self.config.surroundings.network)();
        if self.config.routes.len() < MAX_ROUTES || self.config.routes.contains_key(&network) {
            self.config.routes.insert(network, route.to_string());
        }
    }

    pub(super) fn handle_rerouted(&mut self, now: Instant, route: Route, address: Option<SocketAddr>) {
        if let Server::Up(link) = &mut self.server {
            (link.route, link.address) = (route, address);
        }
        self.publish_access(now);
        self.remember_route(route);
        for (_, peer) in self.peers.iter_mut() {
            if let Some(tcp) = peer.current.as_ref().and_then(|current| current.tcp.as_ref()) {
                tcp.set_tunnelled(route.carrier != Carrier::Udp);
            }
        }
        self.emit(Event::ServerRerouted(route));
    }

    /// Finds out what NAT we are behind on this network, if UDP reaches the server from it.
    pub(super) fn probe(&mut self, now: Instant) {
        let Server::Up(link) = &self.server else { return };
        let (Some(server), Some(observed)) = (link.address, link.welcome.observed) else { return };
        let locals = self.socket.local_addrs();
        let local = locals.iter().find(|local| local.is_ipv4() == server.is_ipv4());
        let place = Place { local_port: local.map_or(0, SocketAddr::port), server, observed };
        let seed = self.rng.random();
        let mut probes = link.welcome.probes.clone();
        probes.extend(self.stun.borrow().iter().filter(|addr| stun::are_comparable(**addr, server)));
        self.socket.with_mux(|mux| mux.probe(now, seed, place, &probes));
    }

    pub(super) fn handle_server_down(&mut self, now: Instant, error: ServerError) {
        self.last_seen.handle_server_down(now);
        self.socket.set_server(None);
        self.socket.with_mux(super::super::mux::Mux::remove_all_sessions);
        for (id, peer) in self.peers.iter_mut() {
            if self.socket.with_mux(|mux| mux.is_relayed(id)) {
                peer.suspect_absence(now);
            }
        }
        let ended = self.meetings.handle_server_down();
        self.follow_code(ended);
        self.names.clear();
        for (_, peer) in self.peers.iter_mut() {
            peer.forget_sessions();
            peer.online = None;
        }
        let retry = if error.is_final() {
            self.server = Server::None;
            None
        } else {
            // A server that registers clients and loses them at once is in trouble: only one that held counts as well.
            if self.registered_at.take().is_some_and(|at| now.saturating_duration_since(at) >= MAX_RECONNECT)
            {
                self.server_failures = 0;
            }
            let wait = (RECONNECT * 2u32.saturating_pow(self.server_failures.min(10))).min(MAX_RECONNECT);
            // All clients of a server that restarts lose it at the same moment and should not come back so.
            let wait = wait.mul_f64(self.rng.random_range(0.5..=1.0));
            self.server_failures += 1;
            self.server = Server::Waiting(now + wait);
            Some(wait)
        };
        self.emit(Event::ServerDown { error, retry });
    }

    pub(super) fn handle_frame(&mut self, now: Instant, frame: ToClient) {
        match frame {
            ToClient::Welcome(_) => {}
            ToClient::Observed(Observed { addr }) => {
                debug!("our public endpoint has changed");
                let Server::Up(link) = &mut self.server else { return };
                let before = std::mem::replace(&mut link.welcome.observed, addr);
                let is_same_network = before.map(|before| before.ip()) == addr.map(|addr| addr.ip());
                self.observed.send_replace(addr);
                if self.mapping.mapped.borrow().is_some() {
                    self.send_mapped();
                }
                self.probe(now);
                if is_same_network {
                    let affected = self.socket.with_mux(|mux| mux.handle_main_moved(now));
                    for peer in affected {
                        if let Some(peer) = self.peers.get(peer) {
                            peer.want_reintroduction(now);
                        }
                    }
                } else {
                    self.socket.with_mux(|mux| mux.handle_network_change(now));
                    self.peers.iter_mut().for_each(|(_, peer)| peer.want_reintroduction(now));
                }
            }
            ToClient::Introduce(introduce) => self.handle_introduce(now, &introduce),
            ToClient::Failed(failed) => self.handle_failed(now, &failed),
            ToClient::End(End { session }) => {
                let owner = self.socket.with_mux(|mux| {
                    let owner = mux.owner_of(session);
                    mux.remove_session(session);
                    owner.filter(|owner| mux.is_stranded(*owner))
                });
                if let Some(peer) = owner.and_then(|owner| self.peers.get(owner)) {
                    peer.want_reintroduction(now);
                    peer.suspect_absence(now);
                }
            }
            ToClient::Presence(presence) => self.handle_presence(now, &presence),
            ToClient::Names(answer) => self.handle_names(answer),
            // To the blocked there is no offer, and the server, which may not know of all of them, is not told more.
            ToClient::Claimed(claimed) if !self.door.may_talk(claimed.peer) => {}
            ToClient::Offered(_) | ToClient::Claimed(_) | ToClient::Reply(_) | ToClient::NoOffer(_) => {
                let outcome = self.meetings.handle_frame(&frame);
                self.follow_code(outcome);
            }
        }
    }

    /// Begins to meet somebody by code.
    pub(super) fn start_code(&mut self, start: impl FnOnce(&mut Meetings) -> Outcome) {
        if let Server::Up(_) = self.server {
            let outcome = start(&mut self.meetings);
            self.follow_code(outcome);
        } else {
            self.emit(Event::Code(News::Failed(Failure::NoServer)));
        }
    }

    /// Carries out what the machine of codes wants.
    pub(super) fn follow_code(&mut self, outcome: Outcome) {
        // Whoever offers a code is to be found by a stranger.
        self.tell_door();
        if let (Some(frame), Server::Up(link)) = (outcome.send, &self.server) {
            link.send(frame);
        }
        if let Some(news) = outcome.news {
            self.emit(Event::Code(news));
        }
    }

    fn handle_introduce(&mut self, now: Instant, introduce: &Introduce) {
        let id = introduce.peer;
        if id == self.config.identity.peer_id() {
            return;
        }
        // One that was on its way when the door was shut.
        if !self.door.may_talk(id) {
            return;
        }
        let Some(peer) = self.peers.entry(now, id) else {
            warn!("too many peers: an introduction was dropped");
            return;
        };
        let is_ours = peer.asked_for(introduce.session);
        let is_anew = peer.instance.replace(introduce.instance).is_some_and(|old| old != introduce.instance);
        // A connection with an earlier run of the peer is as good as none.
        let is_needed = (peer.current.is_none() || is_anew) && peer.attempt.is_none();
        let side = if introduce.dial { Side::Dialer } else { Side::Acceptor };
        let seed = self.rng.random();
        self.socket.with_mux(|mux| {
            if is_anew {
                mux.forget_paths(id, seed);
            }
            mux.add_peer(id, seed);
            if !is_ours {
                mux.doubt(now, id);
            }
            mux.introduce(
                now,
                &Introduction {
                    session: introduce.session,
                    peer: id,
                    endpoints: &introduce.endpoints[..introduce.endpoints.len().min(control::MAX_ENDPOINTS)],
                    key: &introduce.key,
                    side,
                },
            );
        });
        if introduce.lobby {
            // A server's word that we waited in the lobby counts only if we did.
            if let Some(wish) = &mut self.lobby {
                wish.paired = Some((id, now + PAIRING_TIME));
                self.emit(Event::Paired(id));
            }
        }
        if introduce.dial && (!is_ours || is_anew) && is_needed {
            self.start_dial(id);
        }
    }

    fn handle_failed(&mut self, now: Instant, failed: &Failed) {
        self.socket.with_mux(|mux| mux.remove_session(failed.session));
        let relayed = |id| self.socket.with_mux(|mux| mux.is_relayed(id));
        let Some((id, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.asked_for(failed.session)) else {
            return;
        };
        let reason = match failed.reason {
            FailedReason::Offline => {
                peer.online = None;
                if relayed(id) {
                    peer.suspect_absence(now);
                }
                "not online"
            }
            FailedReason::TooMany => "too many connections are being made",
            FailedReason::Invalid => "the server refused the request",
        };
        if self.socket.with_mux(|mux| mux.is_recalled(id)) {
            // It is there although the server does not see it, and is being dialled directly.
            return;
        }
        let Some(attempt) = peer.attempt.take_if(|attempt| attempt.side == Side::Dialer) else { return };
        let is_vain_look = std::mem::take(&mut peer.is_sought) && failed.reason == FailedReason::Offline;
        // The server does not see everybody who is in this network.
        let is_near = peer.near.is_some();
        if !is_near && !is_vain_look {
            peer.handle_failure(now, attempt.side);
        }
        if let Some(early) = peer.take_early(attempt.number) {
            early.connection.close(VarInt::from_u32(close::REPLACED), b"given up");
            self.emit(Event::Closed { peer: id, reason: reason.to_owned() });
        }
        if is_near {
            self.dial_near(now, id);
        } else if !is_vain_look {
            self.emit(Event::Unreachable { peer: id, reason: reason.to_owned() });
        }
    }

    fn handle_presence(&mut self, now: Instant, presence: &Presence) {
        let id = presence.peer;
        let is_wanted = self.wanted.contains(&id);
        if !is_wanted && !self.seen.contains(&id) {
            return;
        }
        let peer = if is_wanted { self.peers.entry(now, id) } else { self.peers.get(id) };
        if let Some(peer) = peer {
            if is_wanted {
                peer.handle_presence(now, presence.online, presence.standing);
            } else {
                peer.online = presence.online;
            }
            self.doubt_absent(now, id);
        }
        self.emit(Event::Presence { peer: id, online: presence.online.is_some() });
    }

    /// Somebody who is connected may not be online any more.
    fn doubt_absent(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get(id).filter(|peer| peer.online.is_none()) else { return };
        if let Some(current) = &peer.current {
            if self.socket.with_mux(|mux| mux.is_relayed(id)) {
                // The server is the only way to this peer, and it has gone from there.
                current.connection.close(VarInt::from_u32(close::BYE), b"gone");
            } else {
                // It may be gone from the direct path too.
                self.socket.with_mux(|mux| mux.doubt(now, id));
            }
        }
    }
}
