//! The driver's dealings with the server.

use super::*;

impl Driver {
    pub(super) fn connect_to_server(&mut self) {
        let Some(target) = self.config.server.clone() else {
            self.server = Server::None;
            return;
        };
        self.server = Server::Connecting;
        let register = Register { instance: self.config.instance, features: Vec::new() };
        let connecting = server::connect(
            self.endpoint.clone(),
            Arc::clone(&self.socket),
            self.config.identity.clone(),
            target,
            register,
            self.outboxes.server.clone(),
        );
        let results = self.outboxes.results.clone();
        self.tasks.spawn(async move {
            // The driver may have ended meanwhile.
            let _ = results.send(connecting.await).await;
        });
    }

    pub(super) async fn handle_server_up(&mut self, now: Instant, link: ServerLink) {
        if let Some(reason) = link.connection.close_reason() {
            // Its end may have been reported before it was known.
            return self.handle_server_down(now, ServerError::Lost(reason.to_string())).await;
        }
        info!(server = %link.key.short(), "registered");
        self.server_failures = 0;
        self.socket.set_server(Some(link.connection.clone()));
        self.relayed_rtt = link.connection.rtt() * 2;
        if let Some(target) = &mut self.config.server {
            // From now on only this key will do.
            target.key = Some(link.key);
        }
        let event = Event::ServerUp { key: link.key, address: link.address, observed: link.welcome.observed };
        // Those who are connected want a relay and fresh endpoints from this server too.
        for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.current.is_some()) {
            peer.reintroduce_at = Some(now);
        }
        self.server = Server::Up(link);
        self.send_watch();
        if let Some(wish) = &mut self.lobby {
            wish.paired = None;
            self.send_lobby();
        }
        self.emit(event).await;
    }

    pub(super) async fn handle_server_down(&mut self, now: Instant, error: ServerError) {
        self.socket.set_server(None);
        self.socket.with_mux(super::super::mux::Mux::remove_all_sessions);
        for (_, peer) in self.peers.iter_mut() {
            peer.forget_sessions();
            peer.online = None;
        }
        let retry = if error.is_final() {
            self.server = Server::None;
            None
        } else {
            let wait = (RECONNECT * 2u32.saturating_pow(self.server_failures.min(10))).min(MAX_RECONNECT);
            self.server_failures += 1;
            self.server = Server::Waiting(now + wait);
            Some(wait)
        };
        self.emit(Event::ServerDown { error, retry }).await;
    }

    pub(super) async fn handle_frame(&mut self, now: Instant, frame: ToClient) {
        match frame {
            ToClient::Welcome(_) => {}
            ToClient::Observed(_) => {
                debug!("our public endpoint has changed");
                self.socket.with_mux(|mux| mux.handle_network_change(now));
                for (_, peer) in self.peers.iter_mut() {
                    peer.want_reintroduction(now);
                }
            }
            ToClient::Introduce(introduce) => self.handle_introduce(now, introduce).await,
            ToClient::Failed(failed) => self.handle_failed(now, failed).await,
            ToClient::End(End { session }) => self.socket.with_mux(|mux| mux.remove_session(session)),
            ToClient::Presence(presence) => self.handle_presence(now, &presence).await,
        }
    }

    async fn handle_introduce(&mut self, now: Instant, introduce: Introduce) {
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
                self.emit(Event::Paired(id)).await;
            }
        }
        if introduce.dial && !is_ours && is_needed {
            self.start_dial(id).await;
        }
    }

    async fn handle_failed(&mut self, now: Instant, failed: Failed) {
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
            if std::mem::take(&mut peer.is_sought) && failed.reason == FailedReason::Offline {
                return;
            }
            peer.handle_failure(now, side);
            self.emit(Event::Unreachable { peer: id, reason: reason.to_owned() }).await;
        }
    }

    async fn handle_presence(&mut self, now: Instant, presence: &Presence) {
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
        self.emit(Event::Presence { peer: presence.peer, online }).await;
    }
}
