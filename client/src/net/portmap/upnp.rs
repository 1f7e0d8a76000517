//! A port of the router by UPnP (Internet Gateway Device, `WANIPConnection` and `WANPPPConnection`). Only the default
//! gateway is spoken to: another machine of the network that answers is left alone.
//!
//! The library waits for the router where it is called, so each call has a thread of its own. The library's other form is
//! not taken: it brings HTTP/2 and a client with a pool, a twentieth of the whole program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::thread;
use std::time::Duration;

use igd_next::{AddPortError, Gateway, PortMappingProtocol, SearchOptions, search_gateway};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

use super::{LIFETIME_S, Router};

/// Where gateways listen for searches.
const SSDP_PORT: u16 = 1900;
/// The group to which they are usually sent.
const SSDP_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// How long the gateway may take to answer and to describe itself: asked alone, and then as one of the group.
const SEARCH_TIMES: [Duration; 2] = [Duration::from_millis(1_200), Duration::from_secs(3)];
/// How long it may take for one request.
const REQUEST_TIME: Duration = Duration::from_secs(3);
/// What the router's list of mappings shows.
const DESCRIPTION: &str = "Hobnob";

/// Runs `call` on a thread of its own. `None` after `time`: the thread is left to the library's own limits, and to the end
/// of the program.
async fn within<T: Send + 'static>(time: Duration, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let spawned = thread::Builder::new().name("upnp".to_owned()).spawn(move || {
        // Nobody waits for it any more.
        let _ = sender.send(call());
    });
    spawned.ok()?;
    timeout(time, receiver).await.ok()?.ok()
}

/// Looks for the service of `router`.
pub(super) async fn find(router: Router) -> Option<Gateway> {
    for (to, time) in [router.gateway, SSDP_GROUP].into_iter().zip(SEARCH_TIMES) {
        let mut options = SearchOptions::default();
        options.bind_addr = (router.client, 0).into();
        options.broadcast_address = (to, SSDP_PORT).into();
        options.timeout = Some(time);
        options.single_search_timeout = Some(time);
        options.allowed_gateway_ips = vec![router.gateway.into()];
        match within(time + REQUEST_TIME, move || search_gateway(options)).await? {
            Ok(found) if found.addr.ip() == IpAddr::V4(router.gateway) => return Some(found),
            Ok(_) => debug!("what answers as a gateway is not the one"),
            Err(error) => debug!(%error, "no UPnP gateway"),
        }
    }
    None
}

/// Asks `router` for a mapping to our `port` and gives it back. Returns its address outside, or why it gives none.
pub(in crate::net) async fn probe(router: Router, port: NonZeroU16) -> Result<IpAddr, &'static str> {
    let gateway = find(router).await.ok_or("no answer")?;
    let lease = Lease::ask(gateway, router, port).await.ok_or("the router refuses")?;
    lease.give_back().await;
    Ok(lease.external().ip())
}

/// A mapping that the router holds.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    gateway: Gateway,
    local: SocketAddr,
    external: SocketAddr,
    /// In seconds; 0 where the router knows no other.
    lifetime_s: u32,
}

impl Lease {
    /// Asks for a mapping to our `port`: the same port outside if it is free there.
    pub(super) async fn ask(gateway: Gateway, router: Router, port: NonZeroU16) -> Option<Self> {
        let local = SocketAddr::new(router.client.into(), port.get());
        let external = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.get());
        let mut lease = Self { gateway, local, external, lifetime_s: LIFETIME_S };
        let mut added = lease.add().await?;
        if let Err(AddPortError::OnlyPermanentLeasesSupported) = added {
            lease.lifetime_s = 0;
            added = lease.add().await?;
        }
        match added {
            Ok(()) => {}
            Err(AddPortError::PortInUse) => {
                let (gateway, lifetime_s) = (lease.gateway.clone(), lease.lifetime_s);
                let any =
                    move || gateway.add_any_port(PortMappingProtocol::UDP, local, lifetime_s, DESCRIPTION);
                lease.external.set_port(within(REQUEST_TIME, any).await?.ok()?);
            }
            Err(error) => {
                debug!(%error, "no port mapping by UPnP");
                return None;
            }
        }
        let gateway = lease.gateway.clone();
        match within(REQUEST_TIME, move || gateway.get_external_ip()).await {
            Some(Ok(ip)) => lease.external.set_ip(ip),
            Some(Err(_)) | None => {
                lease.give_back().await;
                return None;
            }
        }
        Some(lease)
    }

    async fn add(&self) -> Option<Result<(), AddPortError>> {
        let Self { gateway, local, external, lifetime_s } = self.clone();
        let add = move || {
            gateway.add_port(PortMappingProtocol::UDP, external.port(), local, lifetime_s, DESCRIPTION)
        };
        within(REQUEST_TIME, add).await
    }

    /// Asks for the same once more. Returns whether it is still held.
    pub(super) async fn renew(&self) -> bool {
        matches!(self.add().await, Some(Ok(())))
    }

    /// The endpoint outside.
    pub(super) const fn external(&self) -> SocketAddr {
        self.external
    }

    /// How long it holds, in seconds. One without an end is looked after all the same: routers forget when they restart.
    pub(super) const fn lifetime_s(&self) -> u32 {
        if self.lifetime_s == 0 { LIFETIME_S } else { self.lifetime_s }
    }

    pub(super) async fn give_back(&self) {
        let (gateway, port) = (self.gateway.clone(), self.external.port());
        let remove = move || gateway.remove_port(PortMappingProtocol::UDP, port);
        if !matches!(within(REQUEST_TIME, remove).await, Some(Ok(()))) {
            debug!("the router keeps the mapping until its time is over");
        }
    }
}

#[cfg(test)]
mod tests;
