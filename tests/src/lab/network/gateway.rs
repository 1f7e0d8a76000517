//! What stands between a subnet and the next one outwards: a NAT or an IPv6 firewall, with what the operator forbids, and
//! the other people behind it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Arrival, HostId, NatId, Network, SubnetId};
use crate::nat::{Flow, Nat, Profile, Proto};

/// First port of the flows that other people open.
const NOISE_PORT: u16 = 1_024;
/// Where those flows go: to nobody.
const NOISE_TARGET: ([u8; 4], u16) = ([192, 0, 2, 9], 443);

/// Which UDP passes a NAT, beside what its profile says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpRule {
    /// All.
    All,
    /// None.
    Nothing,
    /// Only from and to this address.
    Only(IpAddr),
}

impl UdpRule {
    fn passes(self, flow: Flow) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Only(ip) => concerns(flow, ip),
        }
    }
}

fn concerns(flow: Flow, ip: IpAddr) -> bool {
    flow.src.ip() == ip || flow.dst.ip() == ip
}

/// Somebody else behind a NAT who opens flows.
#[derive(Debug, Clone, Copy)]
struct Noise {
    from: SocketAddr,
    every: Duration,
}

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) nat: Nat,
    pub(super) outside: SubnetId,
    pub(super) inside: SubnetId,
    udp: UdpRule,
    /// If set, nothing passes but from and to this address.
    only: Option<IpAddr>,
    noise: Option<Noise>,
}

impl Gateway {
    /// Whether the operator lets this pass; the reason if not.
    pub(super) fn admit(&self, flow: Flow) -> Result<(), &'static str> {
        if flow.proto == Proto::Udp && !self.udp.passes(flow) {
            return Err("UDP blocked");
        }
        if self.only.is_some_and(|ip| !concerns(flow, ip)) {
            return Err("not to the proxy");
        }
        Ok(())
    }
}

impl Network {
    /// Adds the next gateway between two subnets that exist.
    pub(super) fn attach_gateway(
        &mut self,
        profile: Profile,
        ips: Vec<IpAddr>,
        outside: SubnetId,
        inside: SubnetId,
    ) {
        self.own(outside, NatId(self.gateways.len()), &ips);
        let nat = Nat::new(profile, ips, self.dice.next_u64());
        self.gateways.push(Gateway { nat, outside, inside, udp: UdpRule::All, only: None, noise: None });
    }

    /// Gives the subnet a way out for IPv6 that changes no addresses: `ips` are those of the hosts behind it, and
    /// the profile says what may come in (RFC 6092).
    pub fn add_firewall(
        &mut self,
        outside: SubnetId,
        inside: SubnetId,
        profile: Profile,
        ips: Vec<IpAddr>,
    ) -> NatId {
        let id = NatId(self.gateways.len());
        self.subnets[inside.0].firewall = Some(id);
        self.attach_gateway(profile, ips, outside, inside);
        id
    }

    /// Says which UDP passes a NAT.
    pub fn set_udp(&mut self, nat: NatId, rule: UdpRule) {
        self.gateways[nat.0].udp = rule;
    }

    /// Nothing passes a NAT any more but from and to this address.
    pub fn restrict(&mut self, nat: NatId, ip: IpAddr) {
        self.gateways[nat.0].only = Some(ip);
    }

    /// The hosts on a host's own subnet cannot reach each other directly any more.
    pub fn isolate(&mut self, host: HostId) {
        let subnet = self.hosts[host.0].subnet;
        self.subnets[subnet.0].is_isolated = true;
    }

    /// From now on somebody at `from`, inside a NAT, opens a UDP flow to nobody once in `every`, more or less.
    pub fn add_noise(&mut self, nat: NatId, from: IpAddr, every: Duration) {
        let from = SocketAddr::new(from, NOISE_PORT);
        self.gateways[nat.0].noise = Some(Noise { from, every });
        self.schedule(Duration::ZERO, Arrival::Noise(nat));
    }

    pub(super) fn make_noise(&mut self, now: Duration, nat: NatId) {
        let pause = 0.5 + self.dice.chance();
        let Gateway { nat: model, noise: Some(noise), .. } = &mut self.gateways[nat.0] else { return };
        // Whether there is room for it does not matter to anybody.
        let _ = model.outbound(now, Flow::udp(noise.from, NOISE_TARGET.into()));
        noise.from.set_port(noise.from.port().checked_add(1).unwrap_or(NOISE_PORT));
        let next = now + noise.every.mul_f64(pause);
        self.schedule(next, Arrival::Noise(nat));
    }
}
