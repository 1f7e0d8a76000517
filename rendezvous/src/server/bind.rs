//! The sockets of a server: one port number for UDP and TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::AsyncUdpSocket;
use tokio::net::TcpListener;

use super::{StartError, probe, transport};
use crate::tunnel::listener;

/// How often the system is asked for a UDP port of its choice until the same TCP port is free, too.
const FREE_PORT_TRIES: usize = 8;

/// What a server listens on.
pub(super) struct Bound {
    pub(super) sockets: Vec<Arc<dyn AsyncUdpSocket>>,
    /// For STUN alone.
    pub(super) probes: Vec<Arc<dyn AsyncUdpSocket>>,
    /// Those with the port numbers of the sockets first.
    pub(super) listeners: Vec<TcpListener>,
}

/// Binds both of each of `binds`, and TCP alone on `more_tcp`.
pub(super) fn all(binds: &[SocketAddr], more_tcp: &[SocketAddr]) -> Result<Bound, StartError> {
    let mut bound = Bound { sockets: Vec::new(), probes: Vec::new(), listeners: Vec::new() };
    for &addr in binds {
        let (socket, listener) = both(addr)?;
        bound.sockets.push(socket);
        bound.listeners.push(listener);
    }
    for &addr in more_tcp {
        bound.listeners.push(tcp(addr)?);
    }
    bound.probes = probe::bind_beside(&bound.sockets);
    Ok(bound)
}

fn both(addr: SocketAddr) -> Result<(Arc<dyn AsyncUdpSocket>, TcpListener), StartError> {
    let mut tries = if addr.port() == 0 { FREE_PORT_TRIES } else { 1 };
    loop {
        let socket = udp(addr)?;
        let port = socket.local_addr().map_err(StartError::Socket)?.port();
        tries -= 1;
        match tcp(SocketAddr::new(addr.ip(), port)) {
            Ok(listener) => return Ok((socket, listener)),
            Err(StartError::InUseTcp(_)) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn udp(addr: SocketAddr) -> Result<Arc<dyn AsyncUdpSocket>, StartError> {
    transport::bind(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::InUse(addr),
        _ => StartError::Bind { addr, source },
    })
}

fn tcp(addr: SocketAddr) -> Result<TcpListener, StartError> {
    listener::bind(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::InUseTcp(addr),
        _ => StartError::Bind { addr, source },
    })
}
