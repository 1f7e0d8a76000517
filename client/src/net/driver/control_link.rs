//! The driver's dealings with the server.

use std::net::SocketAddr;

use common::code::{Failure, News};
use common::traversal::prober::Place;

use super::super::server::Errand;
use super::super::tunnel::Route;
use super::*;

impl Driver {
    pub(super) fn connect_to_server(&mut self) {
        let Some(target) = self.config.server.clone() else {
            self.server = Server::None;
            return;
        };
        self.server = Server::Connecting;
        let register = Register { instance: self.config.instance, features: Vec::new() };
        let connecting = server::connect(Errand {
            endpoint: self.endpoint.clone(),
            socket: Arc::clone(&self.socket),
            identity: self.config.identity.clone(),
            target,
            register,
            tunnels: self.config.tunnels.clone(),
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
        self.registered_at = Some(now);
        self.socket.set_server(Some(link.connection.clone()));
        self.relayed_rtt = link.connection.rtt() * 2;
        if let Some(target) = &mut self.config.server {
            // From now on only this key will do.
            target.key = Some(link.key);
        }
        self.remember_route(link.route);
        let event = Event::ServerUp { key: link.key, route: link.route, observed: link.welcome.observed };
        // Those who are connected want a relay and fresh endpoints from this server too.
        for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.current.is_some()) {
            peer.reintroduce_at = Some(now);
        }
        self.server = Server::Up(link);
        self.publish_access(now);
        self.probe(now);
        if self.mapping.mapped.borrow().is_some() {
            self.send_mapped();
        }
        self.send_watch();
        if let Some(wish) = &mut self.lobby {
            wish.paired = None;
            self.send_lobby();
        }
        self.emit(event);
    }

    /// The way that works is tried first the next time.
    fn remember_route(&mut self, route: Route) {
        if let Some(tunnels) = &mut self.config.tunnels {
            tunnels.last = Some(route.to_string());
        }
    }

    pub(super) fn handle_rerouted(&mut self, now: Instant, route: Route, address: Option<SocketAddr>) {
        if let Server::Up(link) = &mut self.server {
            (link.route, link.address) = (route, address);
        }
        self.publish_access(now);
        self.remember_route(route);
        self.emit(Event::ServerRerouted(route));
    }

    /// Finds out what NAT we are behind on this network, if UDP reaches the server from it.
    fn probe(&mut self, now: Instant) {
        let Server::Up(link) = &self.server else { return };
        let (Some(server), Some(observed)) = (link.address, link.welcome.observed) else { return };
        let locals = self.socket.local_addrs();
        let local = locals.iter().find(|local| local.is_ipv4() == server.is_ipv4());
        let place = Place { local_port: local.map_or(0, SocketAddr::port), server, observed };
        let seed = self.rng.random();
        self.socket.with_mux(|mux| mux.probe(now, seed, place, &link.welcome.probes));
    }

    pub(super) fn handle_server_down(&mut self, now: Instant, error: ServerError) {
        self.socket.set_server(None);
        self.socket.with_mux(super::super::mux::Mux::remove_all_sessions);
        let ended = self.meetings.handle_server_down();
        self.follow_code(ended);
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
                if let Server::Up(link) = &mut self.server {
                    link.welcome.observed = addr;
                }
                if self.mapping.mapped.borrow().is_some() {
                    self.send_mapped();
                }
                self.probe(now);
                self.socket.with_mux(|mux| mux.handle_network_change(now));
                for (_, peer) in self.peers.iter_mut() {
                    peer.want_reintroduction(now);
                }
            }
            ToClient::Introduce(introduce) => self.handle_introduce(now, &introduce),
            ToClient::Failed(failed) => self.handle_failed(now, &failed),
            ToClient::End(End { session }) => self.socket.with_mux(|mux| mux.remove_session(session)),
            ToClient::Presence(presence) => self.handle_presence(now, &presence),
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
        let Some(peer) = self.peers.entry(now, id) else {
            warn!("too many peers: an introduction was dropped");
            return;
        };
        let is_ours = peer.asked_for(introduce.session);
        let is_anew = peer.instance.replace(introduce.instance).is_some_and(|old| old != introduce.instance);
        let is_needed = peer.current.is_none() && peer.attempt.is_none();
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
        if introduce.dial && !is_ours && is_needed {
            self.start_dial(id);
        }
    }

    fn handle_failed(&mut self, now: Instant, failed: &Failed) {
        self.socket.with_mux(|mux| mux.remove_session(failed.session));
        let Some((id, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.asked_for(failed.session)) else {
            return;
        };
        let reason = match failed.reason {
            FailedReason::Offline => {
                peer.online = None;
                "not online"
            }
            FailedReason::TooMany => "too many connections are being made",
            FailedReason::Invalid => "the server refused the request",
        };
        if let Some(attempt) = peer.attempt.take_if(|attempt| attempt.side == Side::Dialer) {
            let side = attempt.side;
            drop(attempt);
            // The server does not see everybody who is in this network.
            if peer.near.is_some() {
                self.dial_near(now, id);
                return;
            }
            if std::mem::take(&mut peer.is_sought) && failed.reason == FailedReason::Offline {
                return;
            }
            peer.handle_failure(now, side);
            self.emit(Event::Unreachable { peer: id, reason: reason.to_owned() });
        }
    }

    fn handle_presence(&mut self, now: Instant, presence: &Presence) {
        if !self.watched.contains(&presence.peer) {
            return;
        }
        let Some(peer) = self.peers.entry(now, presence.peer) else { return };
        peer.handle_presence(now, presence.online, presence.standing);
        if presence.online.is_none()
            && let Some(current) = &peer.current
            && self
                .socket
                .with_mux(|mux| mux.path_of(presence.peer))
                .is_none_or(|path| path.via == Via::Relay)
        {
            // The server is the only way to this peer, and it has gone from there.
            current.connection.close(VarInt::from_u32(close::BYE), b"gone");
        }
        let online = presence.online.is_some();
        self.emit(Event::Presence { peer: presence.peer, online });
    }
}
