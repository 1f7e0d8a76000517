//! The real UDP sockets: one per address family, bound once and shared by everything.

mod eager;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use super::portmap::Router;
use eager::Eager;
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

/// Binds one more socket, on a port of the system's choice, to send to `to`.
///
/// # Errors
/// If the system has no more sockets or ports.
pub fn bind_extra(to: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Ok(Arc::new(Eager::new(bound(SocketAddr::new(any, 0))?)?))
}

fn bind_one(addr: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    TokioRuntime.wrap_udp_socket(bound(addr)?)
}

fn bound(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What the system allows at most is good enough.
    let _ = socket.set_recv_buffer_size(BUFFER_LEN);
    let _ = socket.set_send_buffer_size(BUFFER_LEN);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A place that no packet is sent to: asking for the way there only looks into the routing table.
const ELSEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// The addresses from which this machine reaches the outside, of IPv4 and of IPv6.
#[must_use]
pub fn way_out() -> [Option<IpAddr>; 2] {
    ELSEWHERE
        .map(|elsewhere| source_towards(elsewhere).filter(|ip| !ip.is_unspecified() && !ip.is_loopback()))
}

/// Whether the routing table has a way to `to`.
pub(super) fn has_route(to: SocketAddr) -> bool {
    source_towards(to).is_some()
}

/// The address from which this machine would send to `to`.
fn source_towards(to: SocketAddr) -> Option<IpAddr> {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The router on the way out, of IPv4, and our address on that way. Known on Linux alone.
#[must_use]
pub fn router() -> Option<Router> {
    let [Some(IpAddr::V4(client)), _] = way_out() else { return None };
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    Some(Router { client, gateway: default_gateway(&routes)? })
}

/// The gateway of the default route with the smallest metric in a table like /proc/net/route, whose addresses are
/// numbers in the machine's own byte order.
fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    let gateway = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[_, "00000000", gateway, _, _, _, metric, "00000000", ..] = fields.as_slice() else {
            return None;
        };
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        (!gateway.is_unspecified()).then_some((metric.parse::<u32>().ok()?, gateway))
    };
    routes.lines().filter_map(gateway).min().map(|(_, gateway)| gateway)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a method against hard NATs sends from a socket is sent in the moment in which it is opened.
    #[tokio::test]
    async fn one_more_socket_sends_at_once() {
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        there.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let destination = there.local_addr().unwrap();
        let contents = b"once";
        let transmit =
            quinn::udp::Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        let socket = bind_extra(destination).unwrap();
        socket.try_send(&transmit).unwrap();
        let mut buffer = [0; 8];
        let (len, from) = there.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from.port()), (&contents[..], socket.local_addr().unwrap().port()));
    }

    #[test]
    fn the_default_route_with_the_smallest_metric_leads_out() {
        let number = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let line = |to: [u8; 4], via: [u8; 4], metric: u32, mask: [u8; 4]| {
            format!(
                "eth0\t{}\t{}\t0003\t0\t0\t{metric}\t{}\t0\t0\t0\n",
                number(to),
                number(via),
                number(mask)
            )
        };
        let table = [
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n".to_owned(),
            line([0; 4], [10, 0, 0, 1], 600, [0; 4]),
            line([0; 4], [192, 168, 1, 1], 100, [0; 4]),
            line([0; 4], [0; 4], 0, [0; 4]),
            line([10, 0, 0, 0], [10, 0, 0, 9], 0, [255, 0, 0, 0]),
        ];
        assert_eq!(default_gateway(&table.concat()), Some([192, 168, 1, 1].into()));
        assert_eq!(default_gateway("nonsense\n"), None);
    }
}
