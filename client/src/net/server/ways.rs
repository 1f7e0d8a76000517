//! Every way to the server, each tried by itself: what a person wants to know, where [`reach`](super::reach) wants the
//! first that works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::control;
use common::tls::{self, Trust};
use futures_util::future::join_all;
use quinn::VarInt;
use tokio::time::timeout;

use super::Errand;
use super::reach::{self, Attempt, Failure, Reached};
use crate::net::tunnel::{self, Place, Route};
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

/// Tries UDP to all addresses of the server at the same time; none if its name does not resolve.
pub(crate) async fn ways_over_udp(errand: &Errand) -> Vec<Way> {
    let Some(attempts) = Attempts::new(errand).await else { return Vec::new() };
    let locals = errand.socket.local_addrs();
    let has_family = |addr: &SocketAddr| locals.iter().any(|local| local.is_ipv4() == addr.is_ipv4());
    let route = Route::udp(attempts.place.port);
    let addresses = attempts.place.addresses.iter().copied().filter(has_family);
    join_all(addresses.map(|addr| clocked(route, Some(addr), attempts.next().over_udp(addr)))).await
}

/// Tries all tunnels at the same time; none if the server's name does not resolve, and there is no proxy.
pub(crate) async fn ways_through_tunnels(errand: &Errand) -> Vec<Way> {
    let Some(attempts) = Attempts::new(errand).await else { return Vec::new() };
    let routes = errand.tunnels.iter().flat_map(|tunnels| tunnel::routes(attempts.place.port, tunnels));
    join_all(routes.map(|(_, route)| clocked(route, None, attempts.next().through_tunnel(route)))).await
}

/// The makings of attempts.
struct Attempts<'a> {
    errand: &'a Errand,
    config: quinn::ClientConfig,
    place: Place,
}

impl<'a> Attempts<'a> {
    async fn new(errand: &'a Errand) -> Option<Self> {
        let crypto = tls::client_config(&errand.identity, control::ALPN, Trust::FirstUse);
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(tuning::server_transport());
        let place = reach::place_of(errand).await.ok()?;
        errand.socket.with_mux(|mux| mux.set_servers(&place.addresses));
        Some(Self { errand, config, place })
    }

    fn next(&self) -> Attempt {
        let proxy = self.errand.tunnels.as_ref().and_then(|tunnels| tunnels.proxy.clone());
        Attempt::new(self.errand, &self.config, &self.place, proxy)
    }
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
