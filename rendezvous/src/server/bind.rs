//! The sockets of a server: one port number for UDP and TCP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
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

/// Binds both of each of `binds`, TCP alone on `more_tcp`, and for STUN alone what makes `alternates` what RFC 5780 wants.
pub(super) fn all(
    binds: &[SocketAddr],
    more_tcp: &[SocketAddr],
    alternates: &[SocketAddr],
) -> Result<Bound, StartError> {
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
    let mut mains: Vec<_> = bound
        .sockets
        .iter()
        .map(|main| main.local_addr())
        .collect::<io::Result<_>>()
        .map_err(StartError::Socket)?;
    for &alternate in alternates {
        let main = take_partner(&mut mains, alternate)?;
        bound.probes.extend(square(main, alternate)?);
    }
    Ok(bound)
}

/// Looks whether `alternates` can be had beside `binds`: each has its partner and is an address of this machine. Returns
/// the ports among them that somebody uses, perhaps the server itself, which is running.
pub(super) fn check(binds: &[SocketAddr], alternates: &[SocketAddr]) -> Result<Vec<SocketAddr>, StartError> {
    let mut mains = binds.to_vec();
    let mut in_use = Vec::new();
    for &alternate in alternates {
        let main = take_partner(&mut mains, alternate)?;
        let beside = [
            alternate,
            SocketAddr::new(main.ip(), alternate.port()),
            SocketAddr::new(alternate.ip(), main.port()),
        ];
        for addr in beside {
            match UdpSocket::bind(addr).map_err(|source| refusal(addr, source)) {
                Ok(_) => {}
                Err(StartError::InUse(addr)) => in_use.push(addr),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(in_use)
}

/// The one of `mains` that `alternate` is the second address of.
fn take_partner(mains: &mut Vec<SocketAddr>, alternate: SocketAddr) -> Result<SocketAddr, StartError> {
    let partner = mains.iter().position(|main| may_be_alternate(alternate, *main));
    Ok(mains.remove(partner.ok_or(StartError::Alternate(alternate))?))
}

/// Whether `alternate` has another address and another port than `main`, of the same family, and both say which.
fn may_be_alternate(alternate: SocketAddr, main: SocketAddr) -> bool {
    let is_given = !alternate.ip().is_unspecified() && !main.ip().is_unspecified();
    let is_free = alternate.port() == 0;
    let differs = alternate.ip() != main.ip() && (is_free || alternate.port() != main.port());
    is_given && differs && alternate.is_ipv4() == main.is_ipv4()
}

/// The three sockets beside the one on `main` that RFC 5780 §6.1 asks for.
fn square(main: SocketAddr, alternate: SocketAddr) -> Result<Vec<Arc<dyn AsyncUdpSocket>>, StartError> {
    let mut tries = if alternate.port() == 0 { FREE_PORT_TRIES } else { 1 };
    loop {
        let other = udp(alternate)?;
        let port = other.local_addr().map_err(StartError::Socket)?.port();
        tries -= 1;
        match udp(SocketAddr::new(main.ip(), port)) {
            Ok(other_port) => {
                let other_ip = udp(SocketAddr::new(alternate.ip(), main.port()))?;
                return Ok(vec![other, other_port, other_ip]);
            }
            Err(StartError::InUse(_)) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
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
    transport::bind(addr).map_err(|source| refusal(addr, source))
}

/// Why there is no UDP socket on `addr`.
fn refusal(addr: SocketAddr, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::InUse(addr),
        _ => StartError::Bind { addr, source },
    }
}

fn tcp(addr: SocketAddr) -> Result<TcpListener, StartError> {
    listener::bind(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::InUseTcp(addr),
        _ => StartError::Bind { addr, source },
    })
}
