//! The state of a simulated network and what a packet meets on its way.
//!
//! It reads no clock and wakes no timer: `now` is an argument, and [`World::next_event`] says when it wants to
//! be called again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use quinn::udp::{EcnCodepoint, Transmit};

use super::counters::{Counters, DropCause, Packet, Trace};
use super::host::Host;
use super::inbox::Received;
use super::link::{Link, Pipe};
use super::place::{Attachment, HostId, NatId, Router, Segment, SiteId, Space, Station};
use crate::nat::{Flow, Verdict};

/// One way between two sites, or between two places of one, if nothing else was said.
const DEFAULT_DELAY: Duration = Duration::from_millis(20);
/// One way within one site or one local network, if nothing else was said.
const LOCAL_DELAY: Duration = Duration::from_micros(200);
/// From a host to itself.
const LOOPBACK_DELAY: Duration = Duration::from_micros(10);

/// A function that sees every packet on the core.
pub(super) type Tap = Box<dyn FnMut(&Packet) + Send>;

/// The two ends of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Route {
    /// From one site of the core to another.
    Core(SiteId, SiteId),
    /// Within the network behind a NAT.
    Lan(NatId),
}

/// A datagram on its way.
#[derive(Debug, Clone)]
struct Datagram {
    from: HostId,
    src: SocketAddr,
    dst: SocketAddr,
    ecn: Option<EcnCodepoint>,
    payload: Bytes,
}

impl Datagram {
    /// Its size with IP and UDP headers.
    fn wire_size(&self) -> usize {
        self.payload.len() + if self.dst.is_ipv4() { 28 } else { 48 }
    }

    const fn flow(&self) -> Flow {
        Flow::udp(self.src, self.dst)
    }

    fn rewritten(self, flow: Flow) -> Self {
        Self { src: flow.src, dst: flow.dst, ..self }
    }
}

/// A datagram that reaches a station at some time; ties go by the order of sending.
#[derive(Debug)]
struct Event {
    at: Duration,
    order: u64,
    station: Station,
    datagram: Datagram,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// The earliest is the greatest: the heap gives out the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// A socket as the world knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) host: HostId,
    pub(super) local: SocketAddr,
    pub(super) id: u64,
}

/// Everything there is.
pub(super) struct World {
    seed: u64,
    pub(super) sites: usize,
    pub(super) routers: Vec<Router>,
    pub(super) hosts: Vec<Host>,
    /// Who has which address; kept in step by [`World::reindex`].
    owners: BTreeMap<(Space, IpAddr), (Station, Segment)>,
    default_link: Link,
    /// Links set by themselves.
    links: BTreeMap<Route, Link>,
    pipes: BTreeMap<Route, Pipe>,
    pub(super) cut_hosts: BTreeSet<HostId>,
    pub(super) cut_pairs: BTreeSet<(HostId, HostId)>,
    events: BinaryHeap<Event>,
    /// Events made so far; also the source of socket ids.
    order: u64,
    /// The driver sleeps until then.
    pub(super) driver_wakes: Option<Duration>,
    pub(super) counters: Counters,
    pub(super) trace: Trace,
    pub(super) taps: Vec<Tap>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            sites: 0,
            routers: Vec::new(),
            hosts: Vec::new(),
            owners: BTreeMap::new(),
            default_link: Link::new(DEFAULT_DELAY),
            links: BTreeMap::new(),
            pipes: BTreeMap::new(),
            cut_hosts: BTreeSet::new(),
            cut_pairs: BTreeSet::new(),
            events: BinaryHeap::new(),
            order: 0,
            driver_wakes: None,
            counters: Counters::default(),
            trace: Trace::new(),
            taps: Vec::new(),
        }
    }

    /// A number that differs with the seed and with `salt`, to seed something else with.
    pub(super) const fn derived_seed(&self, salt: u64) -> u64 {
        // The finaliser of SplitMix64: neighbouring salts give unrelated seeds.
        let mut z = self.seed.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Learns anew who has which address. An address in two places of one space is a mistake of the test.
    pub(super) fn reindex(&mut self) {
        self.owners.clear();
        for (n, host) in self.hosts.iter().enumerate() {
            for Attachment { segment, ip } in &host.addresses {
                let taken = self.owners.insert((segment.space(), *ip), (Station::Host(HostId(n)), *segment));
                assert!(taken.is_none(), "{ip} is in two places of {:?}", segment.space());
            }
        }
        for (n, router) in self.routers.iter().enumerate() {
            for ip in router.nat.public_ips() {
                let key = (router.outside.space(), *ip);
                let taken = self.owners.insert(key, (Station::Outside(NatId(n)), router.outside));
                assert!(taken.is_none(), "{ip} is in two places of {:?}", key.0);
            }
        }
    }

    /// Changes every link between two sites that was not set by itself.
    pub(super) fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
        for (route, pipe) in &mut self.pipes {
            if !is_local(*route) && !self.links.contains_key(route) {
                pipe.link = link;
            }
        }
    }

    /// Changes one direction of one link, from the next packet on.
    pub(super) fn set_link(&mut self, route: Route, link: Link) {
        self.links.insert(route, link);
        self.pipe(route).link = link;
    }

    /// The pipe of a route, made on its first use.
    fn pipe(&mut self, route: Route) -> &mut Pipe {
        let link = if is_local(route) { Link::new(LOCAL_DELAY) } else { self.default_link };
        let seed = self.derived_seed(match route {
            Route::Core(from, to) => 1 + ((from.0 as u64) << 32) + ((to.0 as u64) << 1),
            Route::Lan(nat) => (1 << 63) + nat.0 as u64,
        });
        self.pipes.entry(route).or_insert_with(|| Pipe::new(link, seed))
    }

    /// When [`World::run_until`] has something to do.
    pub(super) fn next_event(&self) -> Option<Duration> {
        self.events.peek().map(|event| event.at)
    }

    /// Lets everything happen that is due.
    pub(super) fn run_until(&mut self, now: Duration) {
        while self.next_event().is_some_and(|at| at <= now) {
            if let Some(event) = self.events.pop() {
                self.arrive(event);
            }
        }
    }

    /// Sends one or more datagrams from a socket.
    pub(super) fn send(&mut self, now: Duration, socket: Bound, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.hosts[socket.host.0].inbox(socket.local, socket.id).is_none() {
            // The process was killed; its last words go nowhere.
            return Ok(());
        }
        let dst = SocketAddr::new(transmit.destination.ip().to_canonical(), transmit.destination.port());
        let (src_ip, segment) = self.choose_source(socket, dst.ip(), transmit.src_ip)?;
        let src = SocketAddr::new(src_ip, socket.local.port());
        let contents = Bytes::copy_from_slice(transmit.contents);
        let size = transmit.segment_size.unwrap_or(contents.len()).max(1);
        let mut start = 0;
        loop {
            let end = (start + size).min(contents.len());
            let payload = contents.slice(start..end);
            self.launch(now, segment, Datagram { from: socket.host, src, dst, ecn: transmit.ecn, payload });
            start = end;
            if start == contents.len() {
                return Ok(());
            }
        }
    }

    /// The source address for a packet and the segment it leaves on; none if it stays on the host.
    fn choose_source(
        &self,
        socket: Bound,
        dst: IpAddr,
        wanted: Option<IpAddr>,
    ) -> io::Result<(IpAddr, Option<Segment>)> {
        let host = &self.hosts[socket.host.0];
        if dst.is_ipv4() != socket.local.is_ipv4() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let bound = Some(socket.local.ip()).filter(|ip| !ip.is_unspecified());
        if let Some(ip) = wanted.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified()).or(bound) {
            let segment = host.segment_of(ip);
            let usable = segment.is_some() || (ip.is_loopback() && host.owns(dst));
            let stays = host.owns(dst);
            return if usable {
                Ok((ip, segment.filter(|_| !stays)))
            } else {
                Err(io::ErrorKind::AddrNotAvailable.into())
            };
        }
        if host.owns(dst) {
            return Ok((dst, None));
        }
        let mut routable = host.addresses.iter().filter(|address| address.ip.is_ipv4() == dst.is_ipv4());
        let default = routable.clone().next().ok_or(io::ErrorKind::NetworkUnreachable)?;
        // A local network that has the destination is a better way than the default route.
        let on_link = routable.find(|address| self.owners.contains_key(&(address.segment.space(), dst)));
        let chosen = on_link.unwrap_or(default);
        Ok((chosen.ip, Some(chosen.segment)))
    }

    fn launch(&mut self, now: Duration, segment: Option<Segment>, datagram: Datagram) {
        self.counters.note_sent(datagram.from, datagram.payload.len());
        let Some(segment) = segment else {
            let station = Station::Host(datagram.from);
            return self.schedule(now + LOOPBACK_DELAY, station, datagram);
        };
        if self.cut_hosts.contains(&datagram.from) {
            return self.counters.note_dropped(DropCause::Cut);
        }
        self.put(now, segment, datagram);
    }

    /// Puts a datagram on a segment, on its way to whoever has the destination address there.
    fn put(&mut self, now: Duration, segment: Segment, datagram: Datagram) {
        let owner = self.owners.get(&(segment.space(), datagram.dst.ip())).copied();
        if let Segment::Core(_) = segment {
            self.observe(now, &datagram);
        }
        let (station, route) = match (segment, owner) {
            (Segment::Core(from), Some((station, Segment::Core(to)))) => (station, Route::Core(from, to)),
            (Segment::Behind(nat), Some((station, _))) => (station, Route::Lan(nat)),
            (Segment::Behind(nat), None) => (Station::Inside(nat), Route::Lan(nat)),
            (Segment::Core(_), _) => return self.counters.note_dropped(DropCause::NoRoute),
        };
        match self.pipe(route).carry(now, datagram.wire_size(), datagram.ecn) {
            Err(cause) => self.counters.note_dropped(cause),
            Ok((first, second)) => {
                if let Some(second) = second {
                    let copy = Datagram { ecn: second.ecn, ..datagram.clone() };
                    self.schedule(second.at, station, copy);
                }
                self.schedule(first.at, station, Datagram { ecn: first.ecn, ..datagram });
            }
        }
    }

    fn schedule(&mut self, at: Duration, station: Station, datagram: Datagram) {
        let order = self.next_id();
        self.events.push(Event { at, order, station, datagram });
    }

    fn arrive(&mut self, Event { at, station, datagram, .. }: Event) {
        let (router, verdict) = match station {
            Station::Host(host) => return self.deliver(at, host, datagram),
            Station::Inside(nat) => (nat, self.routers[nat.0].nat.outbound(at, datagram.flow())),
            Station::Outside(nat) => (nat, self.routers[nat.0].nat.inbound(at, datagram.flow())),
        };
        let onward = match station {
            Station::Inside(_) => self.routers[router.0].outside,
            Station::Outside(_) | Station::Host(_) => Segment::Behind(router),
        };
        match verdict {
            Verdict::Forward(flow) => self.put(at, onward, datagram.rewritten(flow)),
            Verdict::Hairpin(flow) => self.put(at, Segment::Behind(router), datagram.rewritten(flow)),
            Verdict::Drop(reason) => self.counters.note_dropped(DropCause::Nat(reason)),
            Verdict::Reject(_) => self.counters.note_dropped(DropCause::Refused),
        }
    }

    fn deliver(&mut self, at: Duration, to: HostId, datagram: Datagram) {
        let Datagram { from, src, dst, ecn, payload } = datagram;
        let size = payload.len();
        let pair = (from.min(to), from.max(to));
        let result = if from != to && (self.cut_hosts.contains(&to) || self.cut_pairs.contains(&pair)) {
            Err(DropCause::Cut)
        } else if !self.hosts[to.0].owns(dst.ip()) {
            // The address went away while the packet was on its way.
            Err(DropCause::NoRoute)
        } else {
            let inbox = self.hosts[to.0].inbox_for(dst).ok_or(DropCause::NoSocket);
            inbox.and_then(|inbox| inbox.push(Received { src, dst_ip: dst.ip(), ecn, payload }))
        };
        match result {
            Ok(()) => {
                self.counters.note_delivered(from, to, size);
                self.trace.note(at, (src, dst), size);
            }
            Err(cause) => self.counters.note_dropped(cause),
        }
    }

    /// Shows a datagram on the core to whoever watches.
    fn observe(&mut self, at: Duration, datagram: &Datagram) {
        let Datagram { from, src, dst, ref payload, .. } = *datagram;
        self.counters.note_core(src, dst, payload.len());
        self.trace.note(at, (src, dst), payload.len());
        if self.taps.is_empty() {
            return;
        }
        let packet = Packet { src, dst, payload: payload.clone(), at, from };
        for tap in &mut self.taps {
            tap(&packet);
        }
    }
}

/// Whether a route stays in one place.
fn is_local(route: Route) -> bool {
    match route {
        Route::Core(from, to) => from == to,
        Route::Lan(_) => true,
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("hosts", &self.hosts.len())
            .field("routers", &self.routers.len())
            .field("in_flight", &self.events.len())
            .finish_non_exhaustive()
    }
}
