//! The driver's dealings with the peers.

use std::sync::atomic::AtomicBool;

use common::traversal::tcp::Offer;

use tokio::sync::Notify;

use super::super::tunnel::Carrier;
use super::*;

/// Signals of a traversal agent that wait to be written.
const MAX_SIGNALS: usize = 16;

impl Driver {
    /// Asks for an introduction to `peer` and dials it over the relay in the same breath.
    pub(super) fn dial(&mut self, now: Instant, id: PeerId) {
        if id == self.config.identity.peer_id() {
            return;
        }
        if !self.door.may_talk(id) {
            let reason = "you have shut them out, or are invisible to them".to_owned();
            return self.emit(Event::Unreachable { peer: id, reason });
        }
        self.come_back(id);
        if !matches!(self.server, Server::Up(_)) {
            if self.is_recalled(id) {
                return self.start_dial(id);
            }
            if self.dial_near(now, id) {
                return;
            }
        }
        let Server::Up(link) = &self.server else {
            self.last_seen.want(now, id);
            return self.emit(Event::Alone { peer: id, is_wanted: true });
        };
        let Some(peer) = self.peers.entry(now, id) else {
            let reason = format!("more than {} peers", peers::MAX_PEERS);
            return self.emit(Event::Unreachable { peer: id, reason });
        };
        if peer.attempt.is_some() {
            // A mere look whether the peer is there is more than that now.
            peer.is_sought = false;
            return;
        }
        let is_stale = peer.online.is_some() && peer.instance.is_some() && peer.online != peer.instance;
        if peer.current.is_some() && !is_stale {
            return;
        }
        let seed = self.rng.random();
        self.socket.with_mux(|mux| mux.add_peer(id, seed));
        ask(link, &mut self.rng, &self.socket, id, peer);
        self.start_dial(id);
    }

    /// Dials `id` unless somebody is at it already, or will be.
    pub(super) fn seek(&mut self, now: Instant, id: PeerId) {
        if !self.door.may_talk(id) {
            return;
        }
        self.come_back(id);
        let Some(peer) = self.peers.entry(now, id) else { return };
        match self.server {
            _ if !peer.is_left_alone() => {}
            Server::Up(_) if peer.take_seek(now) => {
                peer.is_sought = true;
                self.dial(now, id);
            }
            Server::Up(_) => {}
            _ => {
                self.last_seen.want(now, id);
                self.emit(Event::Alone { peer: id, is_wanted: false });
            }
        }
    }

    pub(super) fn start_dial(&mut self, id: PeerId) {
        let Some((addr, generation)) = self.socket.with_mux(|mux| mux.handle_of(id)) else { return };
        let config =
            self.credentials.dialling(tuning::peer_transport(generation, self.relayed_rtt, Side::Dialer));
        match self.endpoint.connect_with(config, addr, &common::tls::server_name(id)) {
            Ok(connecting) => {
                let reporter = self.reporter(id, Side::Dialer);
                let task = self.tasks.spawn(handshake::dial(connecting, reporter));
                self.start_attempt(id, Side::Dialer, task);
            }
            Err(error) => self.emit(Event::Unreachable { peer: id, reason: error.to_string() }),
        }
    }

    /// Numbers a new attempt and labels what it will report.
    fn reporter(&mut self, id: PeerId, side: Side) -> Reporter {
        self.attempts += 1;
        Reporter { peer: id, attempt: self.attempts, side, inbox: self.outboxes.progress.clone() }
    }

    /// Notes the attempt that was numbered last.
    fn start_attempt(&mut self, id: PeerId, side: Side, task: AbortHandle) {
        let attempt = Attempt::new(self.attempts, side, task);
        if let Some(peer) = self.peers.get(id) {
            peer.start_attempt(attempt);
        }
    }

    pub(super) fn handle_incoming(&mut self, now: Instant, incoming: Incoming) {
        let us = self.config.identity.peer_id();
        let Some(id) = self.socket.with_mux(|mux| mux.peer_at(incoming.remote_address())) else {
            return incoming.ignore();
        };
        if !self.door.may_talk(id) {
            return incoming.ignore();
        }
        let Some(peer) = self.peers.entry(now, id) else { return incoming.ignore() };
        if peer.is_dialled() && peers::our_dial_stands(us, id) {
            return incoming.ignore();
        }
        let Some((_, generation)) = self.socket.with_mux(|mux| mux.handle_of(id)) else {
            return incoming.ignore();
        };
        let config =
            self.credentials.accepting(tuning::peer_transport(generation, self.relayed_rtt, Side::Acceptor));
        match incoming.accept_with(Arc::new(config)) {
            Ok(connecting) => {
                // An attempt that is under way is overtaken.
                let reporter = self.reporter(id, Side::Acceptor);
                let task = self.tasks.spawn(handshake::accept(connecting, reporter));
                self.start_attempt(id, Side::Acceptor, task);
            }
            Err(error) => debug!(%error, "an incoming connection failed"),
        }
    }

    pub(super) fn handle_progress(&mut self, now: Instant, progress: Progress) {
        let Progress { peer: id, attempt, side, step } = progress;
        let Some(peer) = self.peers.get(id) else { return };
        let is_current = peer.current.as_ref().is_some_and(|current| current.attempt == attempt);
        let is_awaited = peer.attempt.as_ref().is_some_and(|awaited| awaited.number == attempt);
        match step {
            Step::Early(connection) if is_awaited => {
                self.take_over(id, attempt, side, connection, Handshake::Early);
            }
            Step::Complete(connection, early_arrived) if is_awaited || is_current => {
                peer.attempt.take_if(|awaited| awaited.number == attempt);
                peer.handle_connected();
                self.lobby.take_if(|wish| wish.paired.is_some_and(|(paired, _)| paired == id));
                self.come_back(id);
                self.install_check_key(id, side, &connection);
                if side == Side::Dialer {
                    self.tasks.spawn(handshake::nudge(connection.clone()));
                }
                let rtt = connection.rtt();
                let state = if early_arrived { Handshake::Complete } else { Handshake::EarlyRejected };
                if is_current {
                    if let Some(current) = self.peers.get(id).and_then(|peer| peer.current.as_ref()) {
                        current.handshake.send_replace(state);
                    }
                } else {
                    self.take_over(id, attempt, side, connection, state);
                }
                self.socket.with_mux(|mux| mux.handle_connected(now, id, rtt));
            }
            Step::Early(connection) | Step::Complete(connection, _) => {
                connection.close(VarInt::from_u32(close::REPLACED), b"another connection was faster");
            }
            Step::Failed(reason) if is_awaited || is_current => {
                peer.attempt.take_if(|awaited| awaited.number == attempt);
                peer.is_sought = false;
                peer.handle_failure(now, side);
                let early = peer.take_early(attempt);
                debug!(peer = %id.short(), reason, "an attempt failed");
                if early.is_some() {
                    self.emit(Event::Closed { peer: id, reason: reason.clone() });
                }
                if side == Side::Dialer {
                    self.emit(Event::Unreachable { peer: id, reason });
                }
            }
            Step::Failed(_) => {}
        }
    }

    fn install_check_key(&self, id: PeerId, side: Side, connection: &Connection) {
        let Some(key) = handshake::check_key(connection, side) else { return };
        self.socket.with_mux(|mux| mux.add_key(id, key));
    }

    /// The peer names its own addresses, which also says that its handshake is complete: it knows the key of the
    /// session, and checks are made with that from now on.
    pub(super) fn add_candidates(&mut self, now: Instant, id: PeerId, addrs: &[SocketAddr]) {
        let current = self.peers.get(id).and_then(|peer| peer.current.as_ref());
        let key = current.and_then(|current| handshake::check_key(&current.connection, current.side));
        self.socket.with_mux(|mux| {
            if let Some(key) = key {
                mux.send_with(id, key.name);
            }
            mux.add_candidates(now, id, addrs);
        });
    }

    /// Makes `connection` the one in use. One that was there before is closed: the peer started anew, or its
    /// dial won.
    fn take_over(&mut self, id: PeerId, attempt: u64, side: Side, connection: Connection, state: Handshake) {
        let (handshake, watcher) = watch::channel(state);
        let (signals, signal_queue) = mpsc::channel(MAX_SIGNALS);
        let (tell, tcp_offers) = watch::channel(None);
        let tcp = self.start_tcp(id, side, &connection, watcher.clone(), tell);
        let Some(peer) = self.peers.get(id) else { return };
        let run = peer.near.as_ref().map(|neighbour| neighbour.instance);
        let current = Current { connection: connection.clone(), attempt, side, run, handshake, signals, tcp };
        if let Some(old) = peer.current.replace(current) {
            old.connection.close(VarInt::from_u32(close::REPLACED), b"a newer connection");
        }
        let closed = self.outboxes.closed.clone();
        let trouble = Arc::new(Notify::new());
        let ending = Ending::of(connection.clone(), Arc::clone(&trouble));
        self.tasks.spawn(async move {
            let ending = ending.await;
            // The driver may have ended meanwhile.
            let _ = closed.send((id, attempt, ending)).await;
        });
        let signals = Arc::new(tokio::sync::Mutex::new(signal_queue));
        let link = Link { peer: id, connection, side, handshake: watcher, signals, tcp_offers, trouble };
        self.emit(Event::Connected(link));
    }

    /// Closes the connections of peers that are gone.
    pub(super) fn close_absent(&mut self, now: Instant) {
        for (id, peer) in self.peers.iter_mut() {
            let is_gone = peer.take_absence(now) && self.socket.with_mux(|mux| mux.is_relayed(id));
            if let Some(current) = peer.current.as_ref().filter(|_| is_gone) {
                current.connection.close(VarInt::from_u32(close::BYE), b"gone");
            }
        }
    }

    /// Looks for a way to the peer over TCP from now on, if that is wanted.
    fn start_tcp(
        &mut self,
        peer: PeerId,
        side: Side,
        connection: &Connection,
        handshake: watch::Receiver<Handshake>,
        tell: watch::Sender<Option<Offer>>,
    ) -> Option<tcp::Handle> {
        let is_tunnelled = matches!(&self.server, Server::Up(link) if link.route.carrier != Carrier::Udp);
        let context = tcp::Context {
            peer,
            side,
            socket: Arc::clone(&self.socket),
            connection: connection.clone(),
            handshake,
            server: self.config.server.as_ref().map(|server| server.address.clone()),
            is_tunnelled: Arc::new(AtomicBool::new(is_tunnelled)),
            interfaces: self.config.surroundings.interfaces,
            tell,
            seed: self.rng.random(),
        };
        (self.config.tcp == TcpUse::WhenUdpFails).then(|| tcp::Handle::start(context, &mut self.tasks))
    }

    pub(super) fn handle_closed(&mut self, now: Instant, id: PeerId, attempt: u64, ending: &Ending) {
        let Some(peer) = self.peers.get(id) else { return };
        let Some(current) = peer.current.take_if(|current| current.attempt == attempt) else { return };
        peer.attempt.take_if(|awaited| awaited.number == attempt);
        let was_early = *current.handshake.borrow() == Handshake::Early;
        if ending.is_farewell(was_early) {
            peer.handle_farewell(now);
        } else if ending.is_trouble() {
            peer.handle_trouble(now);
        } else {
            peer.handle_failure(now, current.side);
        }
        if peer.attempt.is_none() {
            // The next connection may be with another run, and come about without the server.
            peer.instance = None;
            end(&self.server, peer.take_sessions());
            self.socket.with_mux(|mux| mux.remove_peer(id));
        }
        self.last_seen.handle_closed(id);
        self.return_to_neighbour(now, id, current.run);
        self.emit(Event::Closed { peer: id, reason: ending.describe() });
    }

    pub(super) async fn close_all(&mut self) {
        for (_, peer) in self.peers.iter_mut() {
            if let Some(current) = &peer.current {
                current.connection.close(VarInt::from_u32(close::BYE), b"");
            }
        }
        // The relay must live until the farewells are through.
        tokio::time::sleep(CLOSE_TIME / 5).await;
        if let Server::Up(link) = &self.server {
            link.connection.close(VarInt::from_u32(control::close::BYE), b"");
        }
        self.endpoint.close(VarInt::from_u32(close::BYE), b"");
        let idle = tokio::time::timeout(CLOSE_TIME, self.endpoint.wait_idle());
        let _ = tokio::join!(idle, self.mapping.stop(), self.lan.stop());
        self.tasks.shutdown().await;
    }
}
