//! The real UDP sockets: one per address family, bound once and shared by everything.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

/// Kernel buffers in bytes. With the usual 208 KiB a burst of handshakes or a fast transfer loses packets.
const BUFFER_LEN: usize = 4 << 20;

/// Binds a UDP socket on `port` (0: any) for IPv4, and one for IPv6, as far as the system has them.
///
/// # Errors
/// If the system has neither family, or the port is in use.
pub fn bind(port: u16) -> io::Result<Vec<Arc<dyn AsyncUdpSocket>>> {
    let v4 = bind_one(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    let v6 = bind_one(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
    let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
        (Err(error), _) | (_, Err(error)) if is_in_use(&error) => Err(error),
        // A system without one of the families.
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(vec![one]),
        (Err(error), Err(_)) => Err(error),
    }
}

fn bind_one(addr: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What the system allows at most is good enough.
    let _ = socket.set_recv_buffer_size(BUFFER_LEN);
    let _ = socket.set_send_buffer_size(BUFFER_LEN);
    socket.bind(&addr.into())?;
    TokioRuntime.wrap_udp_socket(socket.into())
}

/// Addresses of this machine's interfaces at which a peer on the same network could reach it.
#[must_use]
pub fn interface_addrs() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut addrs: Vec<_> = interfaces.iter().map(if_addrs::Interface::ip).filter(usable).collect();
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}
