//! A port of the router that leads to our socket, by PCP (RFC 6887), else NAT-PMP (RFC 6886), else UPnP: asked for in the
//! background, renewed, asked for anew when the network changes, and given back at the end.

pub(super) mod upnp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMapping as Mapping, PortMappingOptions, PortMappingType,
    TimeoutConfig, natpmp,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::debug;

use super::change;

/// How long the router is asked to keep the mapping, in seconds: what a crash leaves behind is soon gone.
const LIFETIME_S: u32 = 1200;
/// A router that refused or did not answer is asked again after this.
const RETRY: Duration = Duration::from_secs(600);
/// However short a lifetime a router grants, it is not asked more often than this.
const MIN_RENEWAL: Duration = Duration::from_secs(30);
/// A router is a hop away: it is asked again after a quarter of a second, then more slowly.
const TIMEOUTS: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 3,
    max_retry_timeout: Some(Duration::from_secs(1)),
};
/// How long giving back may take at the end.
const REMOVAL: Duration = Duration::from_millis(400);

/// Where a mapped endpoint comes from.
#[derive(Debug, Clone, Default)]
pub enum PortMapping {
    /// None is wanted.
    #[default]
    Off,
    /// The router that the function names now is asked for one.
    Asked(fn() -> Option<Router>),
    /// Somebody else makes them and tells here.
    Told(watch::Receiver<Option<SocketAddr>>),
}

/// A router and our address in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// Our own address.
    pub client: Ipv4Addr,
    /// The router's.
    pub gateway: Ipv4Addr,
}

impl PortMapping {
    /// Keeps a mapping to our `port` from now on; the task that does lives in `tasks`.
    pub(crate) fn keep(self, port: u16, changes: watch::Receiver<()>, tasks: &mut JoinSet<()>) -> Keeper {
        let (stop, stopped) = oneshot::channel();
        let mapped = match (self, NonZeroU16::new(port)) {
            (Self::Told(mapped), _) => mapped,
            (Self::Asked(router), Some(port)) => {
                let (sender, mapped) = watch::channel(None);
                tasks.spawn(keep(router, port, changes, sender, stopped));
                mapped
            }
            (Self::Off, _) | (Self::Asked(_), None) => watch::channel(None).1,
        };
        Keeper { mapped, stop: Some(stop) }
    }
}

/// A mapping that is kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The endpoint that leads to us, if there is one.
    pub(crate) mapped: watch::Receiver<Option<SocketAddr>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Keeper {
    /// Gives the mapping back.
    pub(crate) async fn stop(&mut self) {
        // Without a task there is nothing to give back.
        if self.stop.take().is_some_and(|stop| stop.send(()).is_ok()) {
            let gone = async { while self.mapped.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(REMOVAL, gone).await;
        }
    }
}

/// What a router holds for us.
#[derive(Debug)]
enum Held {
    /// By PCP or NAT-PMP.
    Asked(Mapping),
    /// By UPnP.
    Leased(upnp::Lease),
}

impl Held {
    /// Whether the router goes on holding it.
    async fn renew(&mut self) -> bool {
        match self {
            Self::Asked(mapping) => mapping.renew().await.is_ok(),
            Self::Leased(lease) => lease.renew().await,
        }
    }

    fn lifetime(&self) -> Duration {
        let seconds = match self {
            Self::Asked(mapping) => mapping.lifetime(),
            Self::Leased(lease) => lease.lifetime_s(),
        };
        Duration::from_secs(seconds.into())
    }

    /// The endpoint that leads to us.
    async fn endpoint(&self) -> Option<SocketAddr> {
        let mapping = match self {
            Self::Asked(mapping) => mapping,
            Self::Leased(lease) => return Some(lease.external()),
        };
        let ip = match mapping.mapping_type() {
            PortMappingType::Pcp { external_ip, .. } => external_ip.to_canonical(),
            PortMappingType::NatPmp => {
                IpAddr::V4(natpmp::external_address(mapping.gateway(), Some(TIMEOUTS)).await.ok()?)
            }
        };
        Some(SocketAddr::new(ip, mapping.external_port().get()))
    }

    async fn give_back(self) {
        match self {
            Self::Asked(mapping) => {
                if let Err((error, _)) = mapping.try_drop().await {
                    debug!(%error, "the router keeps the mapping until its time is over");
                }
            }
            Self::Leased(lease) => lease.give_back().await,
        }
    }
}

async fn keep(
    router: fn() -> Option<Router>,
    port: NonZeroU16,
    mut changes: watch::Receiver<()>,
    mapped: watch::Sender<Option<SocketAddr>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut held: Option<(Router, Held)> = None;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            endpoint = refresh(&mut held, router(), port) => {
                mapped.send_if_modified(|old| std::mem::replace(old, endpoint) != endpoint);
            }
        }
        let wait = held.as_ref().map_or(RETRY, |(_, held)| MIN_RENEWAL.max(held.lifetime() / 2));
        tokio::select! {
            _ = &mut stopped => break,
            () = change::next(&mut changes) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    if let Some((_, held)) = held {
        held.give_back().await;
    }
}

/// Renews the mapping if it is of this router, or asks for one. Returns the endpoint that leads to us.
async fn refresh(
    held: &mut Option<(Router, Held)>,
    router: Option<Router>,
    port: NonZeroU16,
) -> Option<SocketAddr> {
    let router = router?;
    let is_renewed = match held {
        Some((known, held)) if *known == router => held.renew().await,
        _ => false,
    };
    if !is_renewed {
        *held = None;
        *held = Some((router, ask_all(router, port).await?));
    }
    let endpoint = held.as_ref()?.1.endpoint().await?;
    let is_usable = !endpoint.ip().is_unspecified() && !endpoint.ip().is_multicast();
    is_usable.then_some(endpoint)
}

/// By whichever way the router knows. Its UPnP service is looked for meanwhile, but makes no mapping if another way does.
async fn ask_all(router: Router, port: NonZeroU16) -> Option<Held> {
    let (mut asking, mut finding) = (pin!(ask(router, port)), pin!(upnp::find(router)));
    let mut found = None;
    let failure = loop {
        tokio::select! {
            asked = &mut asking => match asked {
                Ok(mapping) => return Some(Held::Asked(mapping)),
                Err(error) => break error,
            },
            gateway = &mut finding, if found.is_none() => found = Some(gateway),
        }
    };
    debug!(error = %failure, "no port mapping by PCP or NAT-PMP");
    let gateway = match found {
        Some(gateway) => gateway,
        None => finding.await,
    };
    upnp::Lease::ask(gateway?, router, port).await.map(Held::Leased)
}

async fn ask(router: Router, port: NonZeroU16) -> Result<Mapping, crab_nat::MappingFailure> {
    let gateway = GatewayAddress::from(router.gateway);
    let options = PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: Some(LIFETIME_S),
        timeout_config: Some(TIMEOUTS),
    };
    match Mapping::new(gateway, router.client.into(), InternetProtocol::Udp, port, options).await {
        Ok(mapping) => Ok(mapping),
        // Some routers that know NAT-PMP alone leave PCP unanswered, although they should refuse it.
        Err(_) => Ok(natpmp::port_mapping(gateway, InternetProtocol::Udp, port, options).await?),
    }
}

#[cfg(test)]
mod tests;
