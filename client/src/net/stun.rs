//! STUN servers of the user's choice, beside the rendezvous: where they are.

use std::net::SocketAddr;
use std::time::Duration;

use common::traversal::tier;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::change;

/// STUN servers of the user's choice that are asked.
pub const MAX_SERVERS: usize = 4;
/// How long a name may take to resolve.
const RESOLVE_TIME: Duration = Duration::from_secs(3);
/// When it is tried again if none did.
const RETRY: Duration = Duration::from_secs(60);

/// Where `names`, each `HOST:PORT`, are, as far as that is known, and again after each of `changes`. The task that looks
/// lives in `tasks`.
pub(super) fn follow(
    names: Vec<String>,
    changes: watch::Receiver<()>,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<Vec<SocketAddr>> {
    let (sender, found) = watch::channel(Vec::new());
    if !names.is_empty() {
        tasks.spawn(look(names, changes, sender));
    }
    found
}

async fn look(names: Vec<String>, mut changes: watch::Receiver<()>, found: watch::Sender<Vec<SocketAddr>>) {
    while !found.is_closed() {
        let mut all = Vec::new();
        for name in names.iter().take(MAX_SERVERS) {
            all.extend(resolve(name).await);
        }
        let is_lost = all.is_empty();
        found.send_if_modified(|old| std::mem::replace(old, all) != *old);
        tokio::select! {
            () = change::next(&mut changes) => {}
            () = sleep(RETRY), if is_lost => {}
        }
    }
}

/// Whether what both see of a socket can be compared: a server in the network itself sees what its NAT does not change.
pub(super) fn are_comparable(a: SocketAddr, b: SocketAddr) -> bool {
    tier(a) == tier(b) && a.ip().is_loopback() == b.ip().is_loopback()
}

/// The first address of each family that `name` has; none if it does not resolve in time.
pub(super) async fn resolve(name: &str) -> Vec<SocketAddr> {
    let Ok(Ok(found)) = timeout(RESOLVE_TIME, lookup_host(name)).await else { return Vec::new() };
    let found: Vec<_> = found.collect();
    let first = |is_v4: bool| found.iter().find(|addr| addr.is_ipv4() == is_v4).copied();
    first(true).into_iter().chain(first(false)).collect()
}
