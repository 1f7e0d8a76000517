//! Peers in the same local network, found by DNS-SD over mDNS (RFC 6763, RFC 6762; `docs/protocol.md` §11), without any
//! server. What is heard there is a hint, as a server's word is: keys are proven by the handshake alone.
//!
//! This part is pure: what is announced, what is believed of others, and how many of them. `mdns` speaks to the network.

mod mdns;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use common::control::InstanceId;
use common::identity::PeerId;
use common::stun::check::{KEY_LEN, Key, KeyName, Side};
use common::traversal::{self, Tier};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// The service.
const SERVICE: &str = "_hobnob._udp.local.";
/// The version of the protocol, under which an announcement is understood.
const VERSION: &str = "1";
/// Neighbours that are known at the same time; more are not looked at.
pub const MAX_NEIGHBOURS: usize = 32;
/// Addresses of one of them.
const MAX_ADDRS: usize = 8;

/// How neighbours are found.
#[derive(Debug, Clone, Default)]
pub enum Lan {
    /// Not at all, and nobody is told of this client.
    #[default]
    Off,
    /// By mDNS on all interfaces of this machine.
    System,
    /// Somebody else finds them and tells here.
    Told(watch::Receiver<Vec<Neighbour>>),
}

/// Somebody in the local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Who they say they are.
    pub peer: PeerId,
    /// Which run of theirs it is.
    pub instance: InstanceId,
    /// Where they may be reached.
    pub addrs: Vec<SocketAddr>,
}

/// This client, as it is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announcement {
    me: PeerId,
    instance: InstanceId,
    port: u16,
}

impl Announcement {
    /// The keys and values of the TXT record (RFC 6763 §6).
    fn txt(&self) -> [(&'static str, String); 3] {
        let instance = format!("{:016x}", self.instance.0);
        [("v", VERSION.to_owned()), ("id", self.me.to_string()), ("run", instance)]
    }
}

/// What an announcement of others says, if it is one of this service's and this version's. Its values are keys and numbers,
/// so that there is nothing to be made safe. `own` are the addresses of this machine's interfaces.
fn read<'a>(
    value: impl Fn(&str) -> Option<&'a str>,
    port: u16,
    ips: impl IntoIterator<Item = IpAddr>,
    own: &[IpAddr],
) -> Option<Neighbour> {
    if value("v")? != VERSION {
        return None;
    }
    let peer = value("id")?.parse().ok()?;
    let run =
        value("run").filter(|run| run.len() == 16 && run.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let instance = InstanceId(u64::from_str_radix(run, 16).ok()?);
    let mut addrs: Vec<_> = ips
        .into_iter()
        .map(|ip| SocketAddr::new(ip.to_canonical(), port))
        .filter(|addr| traversal::may_check(*addr, false) && is_near(*addr, own))
        .collect();
    addrs.sort_unstable();
    addrs.dedup();
    addrs.truncate(MAX_ADDRS);
    (!addrs.is_empty()).then_some(Neighbour { peer, instance, addrs })
}

/// Whether an address is one of a local network: nobody there may make this machine send to others.
fn is_near(addr: SocketAddr, own: &[IpAddr]) -> bool {
    let is_scoped = matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    // An address of a link needs to name the link, which nothing here does.
    !is_scoped && (traversal::tier(addr) == Tier::Lan || own.iter().any(|own| shares_prefix(*own, addr.ip())))
}

/// The usual sizes of networks with public addresses.
fn shares_prefix(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        _ => false,
    }
}

/// The key of STUN checks between two neighbours, which both know as soon as each has heard of the other. It keeps
/// neither out who listens in the same network; the key of the session follows with the handshake.
pub(crate) fn check_key(me: (PeerId, InstanceId), neighbour: &Neighbour) -> Key {
    let them = (neighbour.peer, neighbour.instance);
    let (first, second) = if me.0 < them.0 { (me, them) } else { (them, me) };
    let mut hasher = blake3::Hasher::new_derive_key("hobnob lan checks v1");
    for (peer, instance) in [first, second] {
        hasher.update(peer.as_bytes()).update(&instance.0.to_be_bytes());
    }
    let mut secret = [0; 8 + KEY_LEN];
    hasher.finalize_xof().fill(&mut secret);
    let (name, key) = secret.split_at(8);
    let name = KeyName(u64::from_be_bytes(name.try_into().expect("eight bytes")));
    let side = if me.0 < them.0 { Side::Dialer } else { Side::Acceptor };
    Key::new(name, side, key.try_into().expect("the rest of them"))
}

/// Everybody who was heard of, by the name of their announcement.
#[derive(Debug, Default)]
struct Neighbours {
    by_name: BTreeMap<String, Neighbour>,
}

impl Neighbours {
    /// `name` announces this; `None` if it is nothing that this version understands. Returns whether anything is new.
    fn handle_seen(&mut self, me: PeerId, name: &str, neighbour: Option<Neighbour>) -> bool {
        let Some(neighbour) = neighbour.filter(|neighbour| neighbour.peer != me) else {
            return self.handle_gone(name);
        };
        let is_known = self.by_name.contains_key(name);
        // A second announcement of the same key is somebody else's or stale.
        let is_taken = self.by_name.iter().any(|(n, known)| n != name && known.peer == neighbour.peer);
        if is_taken || (!is_known && self.by_name.len() == MAX_NEIGHBOURS) {
            return false;
        }
        self.by_name.insert(name.to_owned(), neighbour.clone()) != Some(neighbour)
    }

    fn handle_gone(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    fn list(&self) -> Vec<Neighbour> {
        self.by_name.values().cloned().collect()
    }
}

/// Who is near, and whether they are told of us.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) near: watch::Receiver<Vec<Neighbour>>,
    announce: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
}

impl Lan {
    /// Looks for neighbours from now on; `me` at our UDP `port` is announced once [`Keeper::announce`] says so. The task that
    /// does lives in `tasks`.
    pub(crate) fn keep(
        self,
        (me, instance): (PeerId, InstanceId),
        port: u16,
        interfaces: fn() -> Vec<IpAddr>,
        tasks: &mut JoinSet<()>,
    ) -> Keeper {
        // Nobody is shown before it is said that they want to be.
        let (announce, announced) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let near = match self {
            Self::Off => watch::channel(Vec::new()).1,
            Self::Told(near) => near,
            Self::System => {
                let (sender, near) = watch::channel(Vec::new());
                let announcement = Announcement { me, instance, port };
                tasks.spawn(mdns::run(announcement, interfaces, sender, announced, stopped));
                near
            }
        };
        Keeper { near, announce, stop: Some(stop) }
    }
}

impl Keeper {
    /// Whether neighbours are told of us; at first they are not.
    pub(crate) fn announce(&self, is_wanted: bool) {
        self.announce.send_replace(is_wanted);
    }

    /// Takes leave of the neighbours.
    pub(crate) async fn stop(&mut self) {
        // Without a task nobody was told.
        if self.stop.take().is_some_and(|stop| stop.send(()).is_ok()) {
            let gone = async { while self.near.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(mdns::FAREWELL, gone).await;
        }
    }
}

#[cfg(test)]
mod tests;
