//! A simulated UDP network for tokio's paused clock, in which real quinn endpoints run.
//!
//! Public *sites* are joined by a core with a [`Link`] for each ordered pair of them. *Hosts* sit on the core
//! or behind a NAT; NATs sit on the core or behind another NAT, and route through the model in
//! [`crate::nat`]. A packet goes from segment to segment as in life: to a host or router that has the address
//! on the same segment, else to the default gateway.
//!
//! ```no_run
//! # async fn example() {
//! use tests::nat::Profile;
//! use tests::simnet::{Segment, SimNet};
//!
//! tokio::time::pause();
//! let net = SimNet::new(1);
//! let home = net.site();
//! let router = net.nat(Segment::Core(home), Profile::eim_adf(), &["198.51.100.1".parse().unwrap()]);
//! let laptop = net.host(Segment::Behind(router), "192.168.1.10".parse().unwrap());
//! let socket = net.bind(laptop, 5000);
//! # }
//! ```
//!
//! What happens depends on the seed and on the order of calls only. Every pipe and every NAT draws from a
//! generator of its own, so that more traffic here does not change what is lost there. Tokio's clock moves
//! in whole milliseconds, so a reader wakes up to one millisecond after its packet arrived; between routers
//! time is exact.
//!
//! It is not a kernel: no fragmentation, no ICMP, no TCP, no ARP, no dual-stack sockets (a socket speaks the
//! family it is bound to).

mod counters;
mod driver;
mod host;
mod inbox;
mod link;
mod place;
mod socket;
mod world;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::AsyncUdpSocket;

use crate::nat::{Nat, Profile};

pub use counters::{Count, DropCause, Packet};
pub use inbox::{MAX_COALESCED, RECEIVE_BUFFER, Reception};
pub use link::Link;
pub use place::{HostId, NatId, Segment, SiteId};
pub use socket::SimSocket;

use driver::Shared;
use host::Host;
use place::{Attachment, Router};
use socket::Coalesces;
use world::{Bound, Route, World};

/// Seeds of NATs are derived with salts from here on, those of links with others.
const NAT_SALT: u64 = 1 << 62;

/// A handle on a simulated network. Clones are the same network.
#[derive(Debug, Clone)]
pub struct SimNet {
    shared: Arc<Shared>,
}

/// Building it.
impl SimNet {
    /// An empty network. Needs a tokio runtime, normally one whose clock is paused.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { shared: Shared::start(World::new(seed)) }
    }

    /// A new place on the core.
    #[must_use]
    pub fn site(&self) -> SiteId {
        let mut world = self.shared.lock();
        world.sites += 1;
        SiteId(world.sites - 1)
    }

    /// A new NAT with its outside on a segment.
    ///
    /// # Panics
    /// If one of its addresses is already taken on that segment.
    #[must_use]
    pub fn nat(&self, outside: Segment, profile: Profile, public_ips: &[IpAddr]) -> NatId {
        let mut world = self.shared.lock();
        let id = NatId(world.routers.len());
        let seed = world.derived_seed(NAT_SALT + id.0 as u64);
        world.routers.push(Router { outside, nat: Nat::new(profile, public_ips.to_vec(), seed) });
        world.reindex();
        id
    }

    /// A new host with one address.
    ///
    /// # Panics
    /// If the address is already taken on that segment.
    #[must_use]
    pub fn host(&self, segment: Segment, ip: IpAddr) -> HostId {
        let mut world = self.shared.lock();
        world.hosts.push(Host::new(vec![Attachment { segment, ip }]));
        world.reindex();
        HostId(world.hosts.len() - 1)
    }

    /// Binds a UDP port (0 lets the host choose) on all addresses of the host's family: IPv4, unless it has
    /// IPv6 addresses only.
    ///
    /// # Panics
    /// If the port is in use.
    #[must_use]
    pub fn bind(&self, host: HostId, port: u16) -> Arc<dyn AsyncUdpSocket> {
        let wildcard = self.shared.lock().hosts[host.0].wildcard();
        self.bind_at(host, SocketAddr::new(wildcard, port)).expect("the port is free")
    }

    /// Binds a UDP socket to a local address, which may be a wildcard of either family.
    ///
    /// # Errors
    /// If the port is in use or the host does not have the address.
    pub fn bind_at(&self, host: HostId, local: SocketAddr) -> io::Result<Arc<SimSocket>> {
        let mut world = self.shared.lock();
        let id = world.next_id();
        let host_state = &mut world.hosts[host.0];
        let coalesces = match host_state.reception {
            Reception::Single => Coalesces::No,
            Reception::Coalesced => Coalesces::Yes,
        };
        let local = host_state.bind(local, id)?;
        drop(world);
        Ok(Arc::new(SimSocket::new(Arc::clone(&self.shared), Bound { host, local, id }, coalesces)))
    }

    /// How sockets that this host binds from now on hand over what they receive.
    pub fn set_reception(&self, host: HostId, reception: Reception) {
        self.shared.lock().hosts[host.0].reception = reception;
    }
}

/// Links.
impl SimNet {
    /// Sets all links between different sites that are not set by themselves.
    pub fn set_default_link(&self, link: Link) {
        self.shared.act(|world, _| world.set_default_link(link));
    }

    /// Sets the link between two sites in both directions.
    pub fn set_link(&self, a: SiteId, b: SiteId, link: Link) {
        self.set_one_way(a, b, link);
        self.set_one_way(b, a, link);
    }

    /// Sets one direction of the link between two sites.
    pub fn set_one_way(&self, from: SiteId, to: SiteId, link: Link) {
        self.shared.act(|world, _| world.set_link(Route::Core(from, to), link));
    }

    /// Sets the link that everything in the network behind a NAT shares.
    pub fn set_lan(&self, nat: NatId, link: Link) {
        self.shared.act(|world, _| world.set_link(Route::Lan(nat), link));
    }
}

/// Trouble.
impl SimNet {
    /// Cuts a host off: nothing leaves it, nothing reaches it.
    pub fn cut(&self, host: HostId) {
        self.shared.act(|world, _| world.cut_hosts.insert(host));
    }

    /// Ends [`SimNet::cut`].
    pub fn heal(&self, host: HostId) {
        self.shared.act(|world, _| world.cut_hosts.remove(&host));
    }

    /// Nothing from one of two hosts reaches the other, in both directions.
    pub fn cut_pair(&self, a: HostId, b: HostId) {
        self.shared.act(|world, _| world.cut_pairs.insert((a.min(b), a.max(b))));
    }

    /// Ends [`SimNet::cut_pair`].
    pub fn heal_pair(&self, a: HostId, b: HostId) {
        self.shared.act(|world, _| world.cut_pairs.remove(&(a.min(b), a.max(b))));
    }

    /// Kills what runs on a host: all its sockets are dead at once, silently, and its ports are free.
    pub fn kill(&self, host: HostId) {
        self.shared.act(|world, _| world.hosts[host.0].unbind_all());
    }

    /// Replaces the addresses of a host (none at all is no network). Sockets stay bound.
    ///
    /// # Panics
    /// If an address is already taken on its segment.
    pub fn set_addresses(&self, host: HostId, addresses: &[(Segment, IpAddr)]) {
        let attach = |&(segment, ip)| Attachment { segment, ip };
        self.shared.act(|world, _| {
            world.hosts[host.0].addresses = addresses.iter().map(attach).collect();
            world.reindex();
        });
    }

    /// Gives a host one more address.
    ///
    /// # Panics
    /// If the address is already taken on that segment.
    pub fn add_address(&self, host: HostId, segment: Segment, ip: IpAddr) {
        self.shared.act(|world, _| {
            world.hosts[host.0].addresses.push(Attachment { segment, ip });
            world.reindex();
        });
    }

    /// A NAT forgets its mappings and chooses other ports.
    pub fn rebind(&self, nat: NatId) {
        self.with_nat(nat, Nat::rebind);
    }

    /// A NAT gets other public addresses.
    ///
    /// # Panics
    /// If an address is already taken on the NAT's outside.
    pub fn set_public_ips(&self, nat: NatId, ips: &[IpAddr]) {
        self.with_nat(nat, |nat| nat.set_public_ips(ips.to_vec()));
    }

    /// A NAT passes no UDP from now on.
    pub fn block_udp(&self, nat: NatId) {
        self.with_nat(nat, |nat| nat.set_profile(Profile { udp: false, ..*nat.profile() }));
    }

    /// A NAT passes UDP from now on.
    pub fn allow_udp(&self, nat: NatId) {
        self.with_nat(nat, |nat| nat.set_profile(Profile { udp: true, ..*nat.profile() }));
    }

    /// Does anything else to a NAT, or asks it something.
    pub fn with_nat<T>(&self, nat: NatId, act: impl FnOnce(&mut Nat) -> T) -> T {
        self.shared.act(|world, _| {
            let result = act(&mut world.routers[nat.0].nat);
            world.reindex();
            result
        })
    }
}

/// Watching.
impl SimNet {
    /// The time since the network was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// The addresses of a host, as its own system would list them.
    #[must_use]
    pub fn addresses(&self, host: HostId) -> Vec<IpAddr> {
        self.shared.lock().hosts[host.0].addresses.iter().map(|address| address.ip).collect()
    }

    /// Shows every packet on the core to a function, lost ones too; traffic that stays behind a NAT is not on the
    /// core. The function must not call the network, and should note what it sees rather than panic: a panic
    /// inside the network's own task ends the network, not the test.
    pub fn tap(&self, tap: impl FnMut(&Packet) + Send + 'static) {
        self.shared.act(|world, _| world.taps.push(Box::new(tap)));
    }

    /// What a host has sent.
    #[must_use]
    pub fn sent(&self, from: HostId) -> Count {
        self.shared.act(|world, _| world.counters.sent.get(&from).copied().unwrap_or_default())
    }

    /// What of one host has arrived at another, over whatever NATs and addresses: its direct traffic.
    #[must_use]
    pub fn delivered(&self, from: HostId, to: HostId) -> Count {
        self.shared.act(|world, _| world.counters.delivered.get(&(from, to)).copied().unwrap_or_default())
    }

    /// What was put on the core with these addresses.
    #[must_use]
    pub fn on_core(&self, src: SocketAddr, dst: SocketAddr) -> Count {
        self.shared.act(|world, _| world.counters.core.get(&(src, dst)).copied().unwrap_or_default())
    }

    /// How many datagrams did not arrive for this reason.
    #[must_use]
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.shared.act(|world, _| world.counters.dropped.get(&cause).copied().unwrap_or_default())
    }

    /// Starts all counters from zero.
    pub fn reset_counters(&self) {
        self.shared.act(|world, _| world.counters = counters::Counters::default());
    }

    /// A hash of everything that was put on the core or delivered: when, from where, to where, how large.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.shared.act(|world, _| world.trace.hash())
    }
}
