//! The simulated internet, without any I/O: hosts, NATs and the links between them.
//!
//! Subnets form a tree. The root is the public core; every other subnet lies behind one NAT, its gateway. A
//! packet climbs through gateways until its destination is attached to the subnet it is in, crosses that
//! subnet's link (the only place where time passes), and descends through NATs to a host. A NAT therefore judges
//! an incoming packet when it arrives, not when it was sent, which is what hole punching depends on.
//!
//! In: [`Network::handle_packet`], [`Network::handle_timeout`]. Out: [`Network::poll_transmit`] after each of
//! them until it is empty, and [`Network::poll_timeout`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::link::{Dice, Line, Link, Swallowed};
use super::packet::{Packet, Unfit, port_unreachable};
use super::tap::{Passage, Sort, Tap};
use crate::nat::{Flow, Profile, Proto, Rejection, Verdict};

mod gateway;

pub use gateway::UdpRule;

use gateway::Gateway;

/// Most NATs a packet passes on its way up or down.
const MAX_CHAIN: usize = 8;
/// Most packets on their way at once; a real network is bounded by its queues.
const MAX_IN_FLIGHT: usize = 100_000;
/// Hops that the public core takes from a packet's hop limit.
const CORE_HOPS: u8 = 6;
/// Distinct reasons of drops that are counted apart.
const MAX_REASONS: usize = 64;

/// A host, the owner of one TUN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(super) usize);

/// A NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(usize);

/// A subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubnetId(usize);

/// What an address of a subnet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A host attached to the subnet.
    Host(HostId),
    /// A NAT with its outer side on the subnet.
    Nat(NatId),
}

/// What happened to packets so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Packets that hosts sent.
    pub sent: u64,
    /// Packets that hosts got.
    pub delivered: u64,
    /// Refusals that were answered with ICMP.
    pub refused: u64,
    /// Packets that went nowhere, by reason.
    pub dropped: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Host {
    subnet: SubnetId,
    addrs: Vec<IpAddr>,
}

#[derive(Debug)]
struct Subnet {
    gateway: Option<NatId>,
    /// The way out for IPv6, if it is another one.
    firewall: Option<NatId>,
    owners: BTreeMap<IpAddr, Owner>,
    link: Link,
    /// Its hosts do not reach each other, as guests of a Wi-Fi do not.
    is_isolated: bool,
}

impl Subnet {
    fn new(gateway: Option<NatId>, link: Link) -> Self {
        Self { gateway, firewall: None, owners: BTreeMap::new(), link, is_isolated: false }
    }

    fn way_out(&self, dst: IpAddr) -> Option<NatId> {
        if dst.is_ipv6() { self.firewall.or(self.gateway) } else { self.gateway }
    }
}

/// A packet on its way.
#[derive(Debug)]
struct Transit {
    packet: Packet,
    from: HostId,
    /// Where it comes from, where it was sent to, and what it looked like there, for a refusal.
    origin: SocketAddr,
    target: SocketAddr,
    quote: Vec<u8>,
    sent: Duration,
    core: Option<(SocketAddr, SocketAddr)>,
}

#[derive(Debug)]
enum Arrival {
    /// At an attachment of a subnet, where it may have to descend further.
    Packet { transit: Box<Transit>, owner: Owner, delay: Duration },
    /// A refusal, straight to the host that is refused.
    Refusal { to: HostId, bytes: Vec<u8> },
    /// Somebody else behind a NAT opens a flow.
    Noise(NatId),
}

/// The simulated internet.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    gateways: Vec<Gateway>,
    subnets: Vec<Subnet>,
    lines: BTreeMap<(SubnetId, Owner, Owner), Line>,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    arrivals: BTreeMap<u64, Arrival>,
    next_arrival: u64,
    out: VecDeque<(HostId, Vec<u8>)>,
    dice: Dice,
    tap: Tap,
    counts: Counts,
}

/// Why a packet goes no further.
enum End {
    Dropped(String),
    Refused(Rejection),
}

impl Network {
    /// An empty internet whose core delays every packet by `core_delay` unless a pair says otherwise.
    #[must_use]
    pub fn new(core_delay: Duration, seed: u64) -> Self {
        let core = Subnet::new(None, Link::delayed(core_delay));
        Self {
            hosts: Vec::new(),
            gateways: Vec::new(),
            subnets: vec![core],
            lines: BTreeMap::new(),
            due: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            next_arrival: 0,
            out: VecDeque::new(),
            dice: Dice::new(seed),
            tap: Tap::default(),
            counts: Counts::default(),
        }
    }

    /// The public core.
    #[must_use]
    pub fn core(&self) -> SubnetId {
        SubnetId(0)
    }

    /// Attaches a host.
    pub fn add_host(&mut self, subnet: SubnetId, addrs: Vec<IpAddr>) -> HostId {
        let id = HostId(self.hosts.len());
        for addr in &addrs {
            self.subnets[subnet.0].owners.insert(*addr, Owner::Host(id));
        }
        self.hosts.push(Host { subnet, addrs });
        id
    }

    /// Attaches a NAT and returns it with the new subnet inside it, whose members are `lan_delay` apart.
    pub fn add_nat(
        &mut self,
        outside: SubnetId,
        profile: Profile,
        outer_ips: Vec<IpAddr>,
        lan_delay: Duration,
    ) -> (NatId, SubnetId) {
        let id = NatId(self.gateways.len());
        let inside = SubnetId(self.subnets.len());
        self.subnets.push(Subnet::new(Some(id), Link::delayed(lan_delay)));
        self.attach_gateway(profile, outer_ips, outside, inside);
        (id, inside)
    }

    /// The attachments on the core through which a host is reached, those for IPv4 and for IPv6: itself, or its
    /// outermost gateway.
    fn attachments(&self, host: HostId) -> [Owner; 2] {
        [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)].map(|any| {
            let mut subnet = self.hosts[host.0].subnet;
            let mut attachment = Owner::Host(host);
            while let Some(nat) = self.subnets[subnet.0].way_out(any) {
                attachment = Owner::Nat(nat);
                subnet = self.gateways[nat.0].outside;
            }
            attachment
        })
    }

    /// The link between two hosts over the core, one way.
    #[must_use]
    pub fn link(&self, from: HostId, to: HostId) -> Link {
        let key = (self.core(), self.attachments(from)[0], self.attachments(to)[0]);
        self.lines.get(&key).map_or(self.subnets[0].link, |line| line.link)
    }

    /// Changes the links between two hosts over the core, one way.
    pub fn set_link(&mut self, from: HostId, to: HostId, link: Link) {
        for (from, to) in self.attachments(from).into_iter().zip(self.attachments(to)) {
            let key = (self.core(), from, to);
            self.lines.entry(key).or_insert_with(|| Line::new(link)).link = link;
        }
    }

    /// The NAT forgets its mappings and hands out new ones.
    pub fn rebind(&mut self, nat: NatId) {
        self.gateways[nat.0].nat.rebind();
    }

    /// The NAT gets other outer addresses.
    pub fn set_outer_ips(&mut self, nat: NatId, ips: Vec<IpAddr>) {
        let outside = self.gateways[nat.0].outside;
        self.subnets[outside.0].owners.retain(|_, owner| *owner != Owner::Nat(nat));
        self.own(outside, nat, &ips);
        self.gateways[nat.0].nat.set_public_ips(ips);
    }

    /// The watch on delivered packets.
    pub fn tap(&mut self) -> &mut Tap {
        &mut self.tap
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Counts a packet that the driver could not carry.
    pub(super) fn count_dropped(&mut self, reason: &str) {
        self.drop_packet(reason.to_owned());
    }

    /// A host sent a packet.
    pub fn handle_packet(&mut self, now: Duration, from: HostId, bytes: &[u8]) {
        self.counts.sent += 1;
        self.tap.sent(now, from, bytes);
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(Unfit::Malformed) => return self.drop_packet("malformed".to_owned()),
            Err(Unfit::Fragment) => return self.drop_packet("fragment".to_owned()),
        };
        // A host's neighbour discovery and multicast stay on its own wire; a wrong source is a stray.
        if !self.hosts[from.0].addrs.contains(&packet.src().ip()) {
            return self.drop_packet("foreign source".to_owned());
        }
        if packet.flow().is_some() {
            self.tap.address(from, packet.dst().ip());
        }
        let (origin, target, quote) = (packet.src(), packet.dst(), packet.quote());
        let mut transit = Transit { packet, from, origin, target, quote, sent: now, core: None };
        match self.climb(now, &mut transit) {
            Ok((subnet, via, owner)) => self.cross(now, subnet, via, owner, transit),
            Err(end) => self.end(now, Duration::ZERO, &transit, end),
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Lets everything arrive that is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(Reverse((at, id))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            match self.arrivals.remove(&id) {
                // The arrival is judged at the time it was due, not at the time the driver woke.
                Some(Arrival::Packet { transit, owner, delay }) => self.arrive(at, *transit, owner, delay),
                Some(Arrival::Refusal { to, bytes }) => self.hand_over(at, to, bytes),
                Some(Arrival::Noise(nat)) => self.make_noise(at, nat),
                None => {}
            }
        }
    }

    /// The next packet for a host's TUN device.
    pub fn poll_transmit(&mut self) -> Option<(HostId, Vec<u8>)> {
        self.out.pop_front()
    }

    fn own(&mut self, subnet: SubnetId, nat: NatId, ips: &[IpAddr]) {
        for ip in ips {
            self.subnets[subnet.0].owners.insert(*ip, Owner::Nat(nat));
        }
    }

    /// Takes a packet up through gateways to the subnet where its destination is attached.
    fn climb(&mut self, now: Duration, transit: &mut Transit) -> Result<(SubnetId, Owner, Owner), End> {
        let mut subnet = self.hosts[transit.from.0].subnet;
        let mut via = Owner::Host(transit.from);
        for _ in 0..=MAX_CHAIN {
            let dst = transit.packet.dst().ip();
            if let Some(owner) = self.owner_of(subnet, dst) {
                let is_kept_apart = self.subnets[subnet.0].is_isolated && matches!(owner, Owner::Host(_));
                return if is_kept_apart { Err(dropped("isolated")) } else { Ok((subnet, via, owner)) };
            }
            let nat = self.subnets[subnet.0].way_out(dst).ok_or_else(|| dropped("no route"))?;
            let flow = self.admit(nat, transit)?;
            let gateway = &mut self.gateways[nat.0];
            match gateway.nat.outbound(now, flow) {
                Verdict::Forward(flow) => {
                    transit.packet.rewrite(flow.src, flow.dst);
                    subnet = gateway.outside;
                    via = Owner::Nat(nat);
                }
                Verdict::Hairpin(flow) => {
                    transit.packet.rewrite(flow.src, flow.dst);
                    let owner = self.owner_of(subnet, flow.dst.ip());
                    return owner.map(|owner| (subnet, via, owner)).ok_or_else(|| dropped("no route"));
                }
                Verdict::Drop(reason) => return Err(dropped(&format!("nat out: {reason:?}"))),
                Verdict::Reject(how) => return Err(End::Refused(how)),
            }
        }
        Err(dropped("too many NATs"))
    }

    /// Puts a packet on the link between two attachments of one subnet.
    fn cross(&mut self, now: Duration, subnet: SubnetId, via: Owner, owner: Owner, mut transit: Transit) {
        if subnet == self.core() {
            transit.core = Some((transit.packet.src(), transit.packet.dst()));
            if !transit.packet.travel(CORE_HOPS) {
                return self.drop_packet("hop limit".to_owned());
            }
        }
        if self.arrivals.len() >= MAX_IN_FLIGHT {
            return self.drop_packet("too many in flight".to_owned());
        }
        let link = self.subnets[subnet.0].link;
        let line = self.lines.entry((subnet, via, owner)).or_insert_with(|| Line::new(link));
        let delay = line.link.delay;
        match line.carry(now, transit.packet.bytes().len(), self.dice.chance()) {
            Ok(at) => self.schedule(at, Arrival::Packet { transit: Box::new(transit), owner, delay }),
            Err(Swallowed::Lost) => self.drop_packet("lost".to_owned()),
            Err(Swallowed::QueueFull) => self.drop_packet("queue full".to_owned()),
            Err(Swallowed::Cut) => self.drop_packet("cut".to_owned()),
        }
    }

    fn schedule(&mut self, at: Duration, arrival: Arrival) {
        let id = self.next_arrival;
        self.next_arrival += 1;
        self.arrivals.insert(id, arrival);
        self.due.push(Reverse((at, id)));
    }

    /// Takes a packet down from an attachment to a host.
    fn arrive(&mut self, now: Duration, mut transit: Transit, owner: Owner, delay: Duration) {
        match self.descend(now, &mut transit, owner) {
            Ok(to) => self.deliver(now, to, transit),
            Err(end) => self.end(now, delay, &transit, end),
        }
    }

    fn descend(&mut self, now: Duration, transit: &mut Transit, owner: Owner) -> Result<HostId, End> {
        let mut owner = owner;
        for _ in 0..=MAX_CHAIN {
            let nat = match owner {
                Owner::Host(host) => return Ok(host),
                Owner::Nat(nat) => nat,
            };
            let flow = self.admit(nat, transit)?;
            let gateway = &mut self.gateways[nat.0];
            match gateway.nat.inbound(now, flow) {
                Verdict::Forward(flow) | Verdict::Hairpin(flow) => {
                    transit.packet.rewrite(flow.src, flow.dst);
                    let inside = gateway.inside;
                    owner = self.owner_of(inside, flow.dst.ip()).ok_or_else(|| dropped("no such host"))?;
                }
                Verdict::Drop(reason) => return Err(dropped(&format!("nat in: {reason:?}"))),
                Verdict::Reject(how) => return Err(End::Refused(how)),
            }
        }
        Err(dropped("too many NATs"))
    }

    /// What every NAT does with a packet before it looks at its mappings.
    fn admit(&self, nat: NatId, transit: &mut Transit) -> Result<Flow, End> {
        let flow = transit.packet.flow().ok_or_else(|| dropped("no ports for a NAT"))?;
        self.gateways[nat.0].admit(flow).map_err(dropped)?;
        if !transit.packet.travel(1) {
            return Err(dropped("hop limit"));
        }
        Ok(flow)
    }

    fn deliver(&mut self, now: Duration, to: HostId, transit: Transit) {
        let Transit { packet, from, sent, core, .. } = transit;
        if let Some(flow) = packet.flow() {
            let sort = match flow.proto {
                Proto::Udp => Sort::of_udp(packet.payload()),
                Proto::Tcp(_) => Sort::of_tcp(packet.payload()),
            };
            let (len, payload) = (packet.bytes().len(), packet.payload());
            self.tap.delivered(&Passage { at: now, sent, from, to, sort, core, len, payload });
        }
        self.hand_over(now, to, packet.into_bytes());
    }

    fn hand_over(&mut self, now: Duration, to: HostId, bytes: Vec<u8>) {
        self.counts.delivered += 1;
        self.tap.arrived(now, to, &bytes);
        self.out.push_back((to, bytes));
    }

    fn end(&mut self, now: Duration, delay: Duration, transit: &Transit, end: End) {
        match end {
            End::Dropped(reason) => self.drop_packet(reason),
            End::Refused(how) => {
                self.counts.refused += 1;
                // The answer comes from where the sender sent to, and shows what the sender sent.
                let Transit { packet, origin, target, quote, from, .. } = transit;
                let answer = match how {
                    Rejection::PortUnreachable => port_unreachable(target.ip(), origin.ip(), quote),
                    Rejection::TcpReset => packet.tcp_reset(*target, *origin),
                };
                if let Some(bytes) = answer {
                    self.schedule(now + delay, Arrival::Refusal { to: *from, bytes });
                }
            }
        }
    }

    fn owner_of(&self, subnet: SubnetId, ip: IpAddr) -> Option<Owner> {
        self.subnets[subnet.0].owners.get(&ip).copied()
    }

    fn drop_packet(&mut self, reason: String) {
        if self.counts.dropped.len() < MAX_REASONS || self.counts.dropped.contains_key(&reason) {
            *self.counts.dropped.entry(reason).or_default() += 1;
        }
    }
}

fn dropped(reason: &str) -> End {
    End::Dropped(reason.to_owned())
}

#[cfg(test)]
mod tests;
