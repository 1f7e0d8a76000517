//! What comes on a client's control stream: frames within their rates, and registration before all else.

use std::time::Instant;

use bytes::BytesMut;
use common::address::canonical;
use common::control::{Mapped, NAMES_FEATURE, Register, ToServer, Welcome, close};
use common::frame;
use common::identity::PeerId;

use super::bucket::Rate;
use super::{ConnId, Core, Output, door, len};
use crate::limits::Limits;

/// Control bytes that one connection may send: enough for the largest frame each time a frame is due, in a burst
/// of several. It also bounds frames of unknown types, which are skipped uncounted.
pub(super) const CONTROL_BYTES: Rate = Rate { per_second: 64 * 1024, burst: 256 * 1024 };

/// A client broke the protocol: the reason that it is told.
pub(super) struct Broken(pub(super) String);

impl Core {
    /// Bytes came on the control stream of a connection.
    pub fn handle_stream(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        if let Err(Broken(reason)) = self.read(now, conn, bytes) {
            self.stats.misbehaved += 1;
            self.close(conn, close::PROTOCOL, reason);
        }
    }

    fn read(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> Result<(), Broken> {
        let Some(link) = self.link_mut(conn) else { return Ok(()) };
        if !link.bytes.take(now, CONTROL_BYTES, len(bytes)) {
            return Err(Broken("too many bytes on the control stream in a short time".to_owned()));
        }
        link.inbox.extend_from_slice(bytes);
        let rate = rate(&self.limits);
        loop {
            // Gone when a frame led to the end of the connection.
            let Some(link) = self.link_mut(conn) else { return Ok(()) };
            let frame = frame::take(&mut link.inbox).map_err(|error| Broken(error.to_string()))?;
            let Some(frame) = frame else {
                if link.inbox.is_empty() {
                    link.inbox = BytesMut::new();
                }
                return Ok(());
            };
            if !link.frames.take(now, rate, 1) {
                return Err(Broken("too many frames in a short time".to_owned()));
            }
            self.handle_frame(now, conn, frame)?;
        }
    }

    fn handle_frame(&mut self, now: Instant, conn: ConnId, frame: ToServer) -> Result<(), Broken> {
        let Some(link) = self.link_mut(conn) else { return Ok(()) };
        let (peer, registered) = (link.peer, link.instance.is_some());
        match frame {
            ToServer::Register(_) if registered => Err(Broken("a second Register".to_owned())),
            ToServer::Register(register) => self.register(conn, peer, register),
            _ if !registered => Err(Broken("the first frame has to be Register".to_owned())),
            ToServer::Connect(connect) => {
                self.connect(now, conn, &connect);
                Ok(())
            }
            ToServer::End(end) => {
                if let Some(other) = self.sessions.end(end.session, conn) {
                    self.send(other, end);
                    self.retry_lobby([conn, other]);
                }
                Ok(())
            }
            ToServer::Lobby(frame) => {
                self.lobby_frame(conn, peer, frame);
                Ok(())
            }
            ToServer::Watch(watch) => self.watch(peer, watch),
            ToServer::Admit(admit) => self.admit(conn, admit),
            ToServer::Moved(_) => Ok(()),
            ToServer::Mapped(Mapped { addr }) => {
                if let Some(entry) = self.conns.get_mut(&conn) {
                    entry.mapped = addr.map(canonical);
                }
                Ok(())
            }
            ToServer::TakeName(_) | ToServer::DropName(_) | ToServer::FindName(_) => {
                self.name_frame(now, conn, peer, &frame);
                Ok(())
            }
            ToServer::Offer(_) | ToServer::Claim(_) | ToServer::Reply(_) => {
                self.code_frame(now, conn, peer, frame)
            }
        }
    }

    fn register(&mut self, conn: ConnId, peer: PeerId, register: Register) -> Result<(), Broken> {
        let door = door::Door::new(register.admit)?;
        if let Some(older) = self.by_peer.insert(peer, conn) {
            self.drop_client(older);
            self.forget(older);
            let reason = "a newer connection has registered this key".to_owned();
            self.out.push_back(Output::Close(older, close::REPLACED, reason));
        }
        if let Some(link) = self.link_mut(conn) {
            link.instance = Some(register.instance);
            link.door = door;
        }
        self.presence.register(peer, register.instance);
        self.stats.registrations += 1;
        self.visit_names(peer);
        let observed = self.conns[&conn].observed;
        let probes = self.probes.clone();
        let features = if self.limits.max_names > 0 { vec![NAMES_FEATURE.to_owned()] } else { Vec::new() };
        self.send(conn, Welcome { observed, probes, features });
        Ok(())
    }
}

/// How many frames one connection may send.
pub(super) fn rate(limits: &Limits) -> Rate {
    Rate { per_second: limits.frames_per_second, burst: limits.frame_burst }
}
