//! Every way to the server, each tried by itself: what a person wants to know, where [`reach`](super::reach) wants the
//! first that works.

use std::net::SocketAddr;
use std::time::Duration;

use common::control;
use common::tls::{self, Trust};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use quinn::VarInt;
use std::sync::Arc;
use tokio::time::timeout;

use super::Errand;
use super::reach::{self, Attempt, Failure, Reached};
use crate::net::tunnel::{self, Route};
use crate::net::{clock, tuning};

/// How long one way may take. Shorter than for a client, which does nothing else meanwhile.
const WAY_TIME: Duration = Duration::from_secs(5);

/// What came of one way.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) route: Route,
    /// The server's address, for UDP.
    pub(crate) address: Option<SocketAddr>,
    /// How long it took until the QUIC handshake with the server was complete, or why it was not.
    pub(crate) outcome: Result<Duration, String>,
}

/// Tries all ways at the same time; none if the server's name does not resolve.
pub(crate) async fn ways(errand: &Errand) -> Vec<Way> {
    let crypto = tls::client_config(&errand.identity, control::ALPN, Trust::FirstUse);
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(tuning::server_transport());
    let Ok(place) = reach::place_of(errand).await else { return Vec::new() };
    errand.socket.with_mux(|mux| mux.set_servers(&place.addresses));
    let proxy = errand.tunnels.as_ref().and_then(|tunnels| tunnels.proxy.clone());
    let attempt = || Attempt::new(errand, &config, &place, proxy.clone());

    let locals = errand.socket.local_addrs();
    let has_family = |addr: &&SocketAddr| locals.iter().any(|local| local.is_ipv4() == addr.is_ipv4());
    let mut tries: Vec<BoxFuture<'_, Way>> = Vec::new();
    for addr in place.addresses.iter().copied().filter(|addr| has_family(&addr)) {
        let route = Route::udp(place.port);
        tries.push(clocked(route, Some(addr), attempt().over_udp(addr)).boxed());
    }
    for (_, route) in errand.tunnels.iter().flat_map(|tunnels| tunnel::routes(place.port, tunnels)) {
        tries.push(clocked(route, None, attempt().through_tunnel(route)).boxed());
    }
    join_all(tries).await
}

async fn clocked(
    route: Route,
    address: Option<SocketAddr>,
    attempt: impl Future<Output = Result<Reached, Failure>>,
) -> Way {
    let began = clock::now();
    let outcome = match timeout(WAY_TIME, attempt).await {
        Ok(Ok(reached)) => {
            let took = clock::now().saturating_duration_since(began);
            reached.connection.close(VarInt::from_u32(control::close::BYE), b"");
            Ok(took)
        }
        Ok(Err(Failure::Proxy(reason))) => Err(format!("the proxy {reason}")),
        Ok(Err(Failure::Answer(error))) => Err(error.to_string()),
        Ok(Err(Failure::Silence)) | Err(_) => Err("no answer".to_owned()),
    };
    Way { route, address, outcome }
}
