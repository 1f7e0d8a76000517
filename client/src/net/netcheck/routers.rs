//! Which protocols the router knows by which a machine asks it for a port.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::num::NonZeroU16;
use std::pin::Pin;
use std::time::Duration;

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp,
};
use futures_util::future::join_all;

use super::MappingProtocol;
use crate::net::portmap::{Router, upnp};

/// Asks a router; returns its address outside, or why it gives no ports.
type Ask = fn(Router) -> Pin<Box<dyn Future<Output = Result<IpAddr, String>> + Send>>;

/// All that are asked, with their names.
const PROTOCOLS: [(&str, Ask); 3] = [
    ("pcp", |router| Box::pin(ask_pcp(router))),
    ("nat_pmp", |router| Box::pin(ask_nat_pmp(router))),
    ("upnp", |router| Box::pin(ask_upnp(router))),
];

/// A router is a hop away. Less patient than a client, which asks in the background: a person waits.
const TIMEOUTS: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_millis(750)),
};
/// How long the router keeps the port that it is asked for, should giving it back fail; in seconds (RFC 6887 §15: a router
/// need not go below two minutes).
const LIFETIME_S: u32 = 120;
const SILENCE: &str = "no answer";
const ABSENCE: &str = "the router does not know it";

/// Asks `router` by every protocol at the same time.
pub(super) async fn ask(router: Router) -> Vec<MappingProtocol> {
    let asked =
        PROTOCOLS.map(|(name, ask)| async move { MappingProtocol { name, outcome: ask(router).await } });
    join_all(asked).await
}

/// RFC 6887 §11: there is no other way to learn whether it gives ports than to ask for one.
async fn ask_pcp(router: Router) -> Result<IpAddr, String> {
    let (_socket, port) = own_port(router)?;
    let gateway = GatewayAddress::from(router.gateway);
    let request = pcp::BaseMapRequest::new(gateway, router.client.into(), InternetProtocol::Udp, port);
    let options = PortMappingOptions {
        external_port: None,
        lifetime_seconds: Some(LIFETIME_S),
        timeout_config: Some(TIMEOUTS),
    };
    let mapping = pcp::port_mapping(request, None, None, options).await.map_err(|error| match error {
        pcp::Failure::Timeout => SILENCE.to_owned(),
        pcp::Failure::Socket(error) if error.kind() == ErrorKind::ConnectionRefused => ABSENCE.to_owned(),
        error => error.to_string(),
    })?;
    let external = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip.to_canonical(),
        PortMappingType::NatPmp => return Err("it answered with another protocol".to_owned()),
    };
    // What is not given back ends by itself soon.
    let _ = mapping.try_drop().await;
    Ok(external)
}

/// RFC 6886 §3.2: a router that tells its address gives ports.
async fn ask_nat_pmp(router: Router) -> Result<IpAddr, String> {
    let gateway = GatewayAddress::from(router.gateway);
    let address = natpmp::external_address(gateway, Some(TIMEOUTS)).await;
    address.map(IpAddr::V4).map_err(|error| match error {
        natpmp::Failure::Timeout => SILENCE.to_owned(),
        natpmp::Failure::Socket(error) if error.kind() == ErrorKind::ConnectionRefused => ABSENCE.to_owned(),
        error => error.to_string(),
    })
}

/// Internet Gateway Device: as with PCP, only asking shows whether it gives ports.
async fn ask_upnp(router: Router) -> Result<IpAddr, String> {
    let (_socket, port) = own_port(router)?;
    upnp::probe(router, port).await.map_err(str::to_owned)
}

/// A port of this machine that nobody else has meanwhile.
fn own_port(router: Router) -> Result<(UdpSocket, NonZeroU16), String> {
    let socket = UdpSocket::bind((router.client, 0)).map_err(|error| error.to_string())?;
    let port = socket.local_addr().map_err(|error| error.to_string())?.port();
    Ok((socket, NonZeroU16::new(port).ok_or("the system gave no port")?))
}
