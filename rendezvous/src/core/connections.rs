//! The connections of clients, from their first packet to their end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::address::canonical;
use common::control::{End, InstanceId, Observed};
use common::identity::PeerId;

use super::admission::{Arrival, Source, Verdict};
use super::bucket::Bucket;
use super::{ConnId, Core, Output, door, frames, relay_rate};

/// How long a connection may take from its first packet to its registration.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) source: Source,
    /// The UDP endpoint that its packets come from; `None` while they come through a tunnel.
    pub(super) observed: Option<SocketAddr>,
    /// An endpoint of its router that leads to it, as it says.
    pub(super) mapped: Option<SocketAddr>,
    /// `None` during the handshake.
    pub(super) link: Option<Box<Link>>,
}

/// What exists of a connection after its handshake.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    /// `None` until it registers.
    pub(super) instance: Option<InstanceId>,
    /// Bytes of a frame that is not complete; at most one frame's worth and what one read brings.
    pub(super) inbox: BytesMut,
    pub(super) frames: Bucket,
    pub(super) bytes: Bucket,
    pub(super) relay: Bucket,
    pub(super) door: door::Door,
}

impl Conn {
    /// Where others may reach it: never at an address that is not seen to be its own, for checks would go there.
    pub(super) fn endpoints(&self) -> Vec<SocketAddr> {
        let Some(observed) = self.observed else { return Vec::new() };
        let is_its_own =
            |mapped: &SocketAddr| mapped.ip() == observed.ip() && *mapped != observed && mapped.port() != 0;
        std::iter::once(observed).chain(self.mapped.filter(is_its_own)).collect()
    }
}

impl Core {
    /// Somebody wants to open a connection. If it is accepted, it has a name from now on, and
    /// [`Core::handle_closed`] must follow some day.
    pub fn handle_arrival(&mut self, now: Instant, arrival: Arrival) -> (Verdict, ConnId) {
        let conn = ConnId(self.next_conn);
        let verdict = self.admission.admit(arrival, &self.limits);
        match verdict {
            Verdict::Accept => {
                self.next_conn += 1;
                let (source, observed) = (Source::of(arrival.from), arrival.endpoint.map(canonical));
                self.conns.insert(conn, Conn { source, observed, mapped: None, link: None });
                self.deadlines.push_back((now + REGISTER_TIMEOUT, conn));
            }
            Verdict::Retry => self.stats.retried += 1,
            Verdict::Refuse => self.stats.refused += 1,
        }
        (verdict, conn)
    }

    /// The handshake of a connection is complete and has proved the key `peer`.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: PeerId) {
        let Some(entry) = self.conns.get_mut(&conn).filter(|entry| entry.link.is_none()) else { return };
        self.admission.handshake_over();
        entry.link = Some(Box::new(Link {
            peer,
            instance: None,
            inbox: BytesMut::new(),
            frames: Bucket::full(now, frames::rate(&self.limits)),
            bytes: Bucket::full(now, frames::CONTROL_BYTES),
            relay: Bucket::full(now, relay_rate(&self.limits)),
            door: door::Door::default(),
        }));
    }

    /// A connection comes from `addr` now, or through a tunnel. Cheap; to be called whenever the driver looks.
    pub fn handle_observed(&mut self, _now: Instant, conn: ConnId, addr: Option<SocketAddr>) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let addr = addr.map(canonical);
        if entry.observed == addr {
            return;
        }
        entry.observed = addr;
        if entry.link.as_ref().is_some_and(|link| link.instance.is_some()) {
            self.send(conn, Observed { addr });
        }
    }

    /// A connection is gone, or its handshake failed. Does nothing if the core closed it itself.
    pub fn handle_closed(&mut self, _now: Instant, conn: ConnId) {
        self.remove(conn);
    }

    fn remove(&mut self, conn: ConnId) {
        let Some(peer) = self.link_mut(conn).map(|link| link.peer) else {
            self.forget(conn);
            return;
        };
        if self.by_peer.get(&peer) == Some(&conn) {
            self.by_peer.remove(&peer);
            self.drop_client(conn);
            let news = self.presence.gone(peer);
            self.tell(news);
        }
        self.forget(conn);
    }

    /// Takes a registered connection out of what it takes part in, but for presence.
    pub(super) fn drop_client(&mut self, conn: ConnId) {
        self.lobby.leave(conn);
        let ended = self.codes.forget(conn);
        self.send_all(ended);
        let ended = self.sessions.end_all(conn);
        for &(session, other) in &ended {
            self.send(other, End { session });
        }
        self.retry_lobby(ended.into_iter().map(|(_, other)| other));
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.remove(&conn) else { return };
        if entry.link.is_none() {
            self.admission.handshake_over();
        }
        self.admission.gone(entry.source);
        self.early.forget(conn);
    }

    pub(super) fn close(&mut self, conn: ConnId, code: u32, reason: String) {
        self.remove(conn);
        self.out.push_back(Output::Close(conn, code, reason));
    }
}
