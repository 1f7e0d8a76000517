//! The places of a scene: namespaces, NATs, addresses, and what the programs there are started with.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Place, SERVER_PORT};
use crate::lab::access::{Access, Families, Shared, Udp};
use crate::lab::link::Link;
use crate::lab::netns::Netns;
use crate::lab::network::{HostId, NatId, Network, SubnetId, UdpRule};
use crate::lab::proxy;
use crate::lab::tun::{Assigned, Tun};
use crate::nat::Profile;

/// Address of the server.
pub(super) const SERVER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// Its IPv6 address, if a home has IPv6.
pub(super) const SERVER_IP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x5000));
/// Address of the HTTP proxy, if a home needs one.
pub(super) const PROXY_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 80));
/// One way between neighbours behind one NAT.
const LAN_DELAY: Duration = Duration::from_micros(200);
/// Between two flows that others open at a noisy NAT: twenty a second.
const NOISE_INTERVAL: Duration = Duration::from_millis(50);

/// Puts a host with its namespace and TUN device into a subnet.
pub(super) fn settle(
    network: &mut Network,
    subnet: SubnetId,
    role: &str,
    assigned: &[Assigned],
    nats: Vec<NatId>,
) -> Result<(Place, Tun)> {
    let netns = Arc::new(Netns::create(role)?);
    let tun = Tun::open(&netns, assigned)?;
    let host = network.add_host(subnet, assigned.iter().map(|assigned| assigned.ip).collect());
    let first = assigned.first().context("a host needs an address")?;
    Ok((Place { netns, host, ip: first.ip, gateway: first.gateway, nats }, tun))
}

pub(super) fn set_delay(network: &mut Network, a: HostId, b: HostId, one_way: Duration) {
    for (from, to) in [(a, b), (b, a)] {
        network.set_link(from, to, Link::delayed(one_way));
    }
}

/// NATs that homes share, by the name of their access: the outermost, the subnet inside it, and the number of the
/// first home there.
pub(super) type SharedNats = BTreeMap<String, (NatId, SubnetId, u8)>;

/// Builds a home's NATs, from the core inwards, and its host.
pub(super) fn add_home(
    network: &mut Network,
    shared: &mut SharedNats,
    index: usize,
    access: &Access,
) -> Result<(Place, Tun)> {
    let number = u8::try_from(index + 1).context("too many homes")?;
    let mut subnet = network.core();
    let mut nats = Vec::new();
    let mut outer = ipv4(198, 51, 100, number);
    let mut lan = number;
    for (depth, profile) in access.chain.iter().rev().enumerate() {
        let mut add = || {
            let (nat, inside) = network.add_nat(subnet, *profile, vec![outer], LAN_DELAY);
            (nat, inside, number)
        };
        let is_shared = depth == 0 && access.shared != Shared::Nothing;
        let (nat, inside, first) =
            if is_shared { *shared.entry(access.name.clone()).or_insert_with(add) } else { add() };
        lan = if access.chain.len() == 1 { first } else { number };
        if access.udp == Udp::ServerOnly {
            network.set_udp(nat, UdpRule::Only(SERVER_IP));
        }
        if access.is_proxied {
            network.restrict(nat, PROXY_IP);
        }
        if access.is_noisy && depth == 0 {
            network.add_noise(nat, ipv4(192, 168, number, 200), NOISE_INTERVAL);
        }
        nats.insert(0, nat);
        subnet = inside;
        outer = ipv4(100, 64 + u8::try_from(depth).context("chain too long")?, number, 2);
    }
    let mut assigned = Vec::new();
    if access.families.has_v4() {
        let gateway = Some(ipv4(192, 168, lan, 1));
        let inner = Assigned { ip: ipv4(192, 168, lan, 1 + number), prefix: 24, gateway };
        assigned.push(if access.chain.is_empty() { lone(outer) } else { inner });
    }
    if access.families.has_v6() {
        let ip = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(number), 0, 0, 0, 2));
        subnet = add_firewall(network, subnet, ip);
        assigned.push(lone(ip));
    }
    let (place, tun) = settle(network, subnet, &client_name(index), &assigned, nats)?;
    if access.shared == Shared::NatKeptApart {
        network.isolate(place.host);
    }
    Ok((place, tun))
}

/// Lets a host with this address, which is to come into the subnet, out by IPv6; returns where it has to be.
fn add_firewall(network: &mut Network, subnet: SubnetId, ip: IpAddr) -> SubnetId {
    let (core, profile) = (network.core(), Profile::ipv6_firewall());
    if subnet == core {
        return network.add_nat(core, profile, vec![ip], LAN_DELAY).1;
    }
    network.add_firewall(core, subnet, profile, vec![ip]);
    subnet
}

/// A public address with nothing beside it.
pub(super) fn lone(ip: IpAddr) -> Assigned {
    Assigned { ip, prefix: if ip.is_ipv4() { 32 } else { 128 }, gateway: None }
}

fn ipv4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// Names that tell homes apart in reports: alice, bob, then numbers.
pub(super) fn client_name(index: usize) -> String {
    match index {
        0 => "alice".to_owned(),
        1 => "bob".to_owned(),
        other => format!("peer{other}"),
    }
}

/// Also on the ports of the web, as a server does that wants to be reached from anywhere.
pub(super) fn server_args(dir: &Path, has_v6: bool) -> Vec<String> {
    let data = dir.join("data").display().to_string();
    let mut bind = format!("0.0.0.0:{SERVER_PORT}");
    if has_v6 {
        bind = format!("{bind},[::]:{SERVER_PORT}");
    }
    let args = ["--bind", &bind, "--bind-tcp", "0.0.0.0:80,0.0.0.0:443", "--data-dir", &data];
    args.map(str::to_owned).to_vec()
}

pub(super) fn client_args(name: &str, data: &Path, access: &Access) -> Vec<String> {
    let ip = if access.families == Families::V6 { SERVER_IP6 } else { SERVER_IP };
    let server = SocketAddr::new(ip, SERVER_PORT).to_string();
    let data = data.display().to_string();
    // The lab's routers give no ports to those who ask, and a TUN device knows no neighbours.
    let mut args =
        ["--server", &server, "--json", "--data-dir", &data, "--name", name, "--no-port-mapping", "--no-lan"]
            .map(str::to_owned)
            .to_vec();
    if access.is_proxied {
        args.extend(["--proxy".to_owned(), format!("http://{PROXY_IP}:{}", proxy::PORT)]);
    }
    args
}
