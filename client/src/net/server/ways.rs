//! Every way to the server, each tried by itself: what a person wants to know, where [`reach`](super::reach) wants the
//! first that works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::control;
use common::tls::{self, Trust};
use futures_util::future::join_all;
use quinn::VarInt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::reach::{Attempt, Failure, Reached};
use super::{Errand, place};
use crate::net::tunnel::{self, Place, Route};
use crate::net::{clock, tuning};

/// How long one way may take. Shorter than for a client, which does nothing else meanwhile.
const WAY_TIME: Duration = Duration::from_secs(5);
/// How long the other addresses have over UDP once one has answered: none of a server's is so much farther away.
const GRACE: Duration = Duration::from_millis(1500);

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
    let (first, _) = watch::channel(false);
    let one = async |addr| {
        let way = clocked(route, Some(addr), attempts.next().over_udp(addr), patience(&first)).await;
        if way.outcome.is_ok() {
            first.send_replace(true);
        }
        way
    };
    join_all(addresses.map(one)).await
}

/// Tries all tunnels at the same time; none if the server's name does not resolve, and there is no proxy.
pub(crate) async fn ways_through_tunnels(errand: &Errand) -> Vec<Way> {
    let Some(attempts) = Attempts::new(errand).await else { return Vec::new() };
    let routes = errand.tunnels.iter().flat_map(|tunnels| tunnel::routes(attempts.place.port, tunnels));
    let one = |route| clocked(route, None, attempts.next().through_tunnel(route), sleep(WAY_TIME));
    join_all(routes.map(|(_, route)| one(route))).await
}

/// Waits as long as one way may take beside others, of which `first` says whether one has answered.
async fn patience(first: &watch::Sender<bool>) {
    let mut first = first.subscribe();
    let others = async {
        // The sender outlives all who wait.
        let _ = first.wait_for(|is_there| *is_there).await;
        sleep(GRACE).await;
    };
    tokio::select! {
        () = sleep(WAY_TIME) => {}
        () = others => {}
    }
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
        let place = place::of(errand).await.ok()?;
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
    patience: impl Future<Output = ()>,
) -> Way {
    let began = clock::now();
    let result = tokio::select! {
        result = attempt => result,
        () = patience => Err(Failure::Silence),
    };
    let outcome = match result {
        Ok(reached) => {
            let took = clock::now().saturating_duration_since(began);
            reached.connection.close(VarInt::from_u32(control::close::BYE), b"");
            Ok(took)
        }
        Err(Failure::Proxy(reason)) => Err(format!("the proxy {reason}")),
        Err(Failure::Answer(error)) => Err(error.to_string()),
        Err(Failure::Silence) => Err("no answer".to_owned()),
    };
    Way { route, address, outcome }
}
