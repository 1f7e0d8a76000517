//! Reaching the server: all ways at once, each with a small head start over the next; the first that completes the
//! handshake is taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::tls;
use common::tunnel::PollId;
use quinn::{Connection, ConnectionError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::closed;
use super::{CONNECT_TIMEOUT, Errand, ServerError, Tried, place};
use crate::net::carriers::Carriers;
use crate::net::mux;
use crate::net::socket::MuxSocket;
use crate::net::tunnel::{self, Place, Proxy, Route, Tunnel, TunnelError};

/// Head start of each UDP address of the server over the next one.
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

/// A server that answered.
pub(super) struct Reached {
    pub(super) connection: Connection,
    pub(super) route: Route,
    pub(super) place: Place,
    pub(super) name: Name,
    /// The tunnel, if it is one.
    pub(super) carrying: Option<Carrying>,
}

/// The address by which QUIC knows a connection to the server. The way that its packets take is forgotten with it.
pub(super) struct Name {
    socket: Arc<MuxSocket>,
    pub(super) addr: SocketAddr,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.socket.with_carriers(|carriers| carriers.close(self.addr));
    }
}

/// The task that carries a tunnel; it ends when this is dropped.
pub(super) struct Carrying(JoinSet<TunnelError>);

impl Carrying {
    pub(super) fn start(
        socket: Arc<MuxSocket>,
        tunnel: Tunnel,
        addr: SocketAddr,
        outbox: mpsc::Receiver<Bytes>,
    ) -> Self {
        let mut task = JoinSet::new();
        task.spawn(tunnel.carry(socket, addr, outbox));
        Self(task)
    }

    /// Waits until the tunnel has ended.
    pub(super) async fn ended(&mut self) -> TunnelError {
        match self.0.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(_)) | None => TunnelError::Failed("it has ended".to_owned()),
        }
    }
}

/// Why one attempt failed.
pub(super) enum Failure {
    /// Nobody answered: another way may do better.
    Silence,
    /// The proxy has something to say to the user.
    Proxy(String),
    /// The server answered, and this is what it said.
    Answer(ServerError),
}

/// Finds the server of `errand` and connects to it.
pub(super) async fn reach(errand: &Errand, config: &quinn::ClientConfig) -> Result<Reached, ServerError> {
    let address = &errand.target.address;
    let proxy = errand.tunnels.as_ref().and_then(|tunnels| tunnels.proxy.clone());
    let place = place::of(errand).await?;
    let locals = errand.socket.local_addrs();
    let has_family = |addr: &SocketAddr| locals.iter().any(|local| local.is_ipv4() == addr.is_ipv4());
    let over_udp: Vec<_> = place.addresses.iter().copied().filter(has_family).collect();
    if over_udp.is_empty() && errand.tunnels.is_none() {
        let reason = "it has no address of a family that this machine has".to_owned();
        return Err(ServerError::Resolve(address.clone(), reason));
    }
    errand.socket.with_mux(|mux| mux.set_servers(&place.addresses));

    let mut attempts = JoinSet::new();
    for (number, addr) in (0u32..).zip(over_udp) {
        let attempt = Attempt::new(errand, config, &place, proxy.clone());
        attempts.spawn(async move {
            tokio::time::sleep(ADDRESS_STAGGER * number).await;
            attempt.over_udp(addr).await
        });
    }
    for (head_start, route) in errand.tunnels.iter().flat_map(|t| tunnel::routes(place.port, t)) {
        let attempt = Attempt::new(errand, config, &place, proxy.clone());
        attempts.spawn(async move {
            tokio::time::sleep(head_start).await;
            attempt.through_tunnel(route).await
        });
    }
    let mut failure = unreachable(errand);
    while let Some(result) = attempts.join_next().await {
        match result {
            Ok(Ok(reached)) => return Ok(reached),
            // An answer says more than the proxy, and that more than silence.
            Ok(Err(Failure::Answer(error))) => failure = error,
            Ok(Err(Failure::Proxy(reason))) if matches!(failure, ServerError::Unreachable { .. }) => {
                failure = ServerError::Proxy { address: address.clone(), reason };
            }
            Ok(Err(Failure::Proxy(_) | Failure::Silence)) | Err(_) => {}
        }
    }
    Err(failure)
}

/// Nobody answered.
pub(crate) fn unreachable(errand: &Errand) -> ServerError {
    let tried = match errand.tunnels.as_ref().map(|tunnels| &tunnels.proxy) {
        None => Tried::Udp,
        Some(None) => Tried::Tcp,
        Some(Some(_)) => Tried::Proxy,
    };
    ServerError::Unreachable { address: errand.target.address.clone(), tried }
}

/// One way to the server that is being tried.
pub(super) struct Attempt {
    endpoint: quinn::Endpoint,
    socket: Arc<MuxSocket>,
    config: quinn::ClientConfig,
    /// What the user calls the server.
    address: String,
    place: Place,
    proxy: Option<Proxy>,
}

impl Attempt {
    pub(super) fn new(
        errand: &Errand,
        config: &quinn::ClientConfig,
        place: &Place,
        proxy: Option<Proxy>,
    ) -> Self {
        Self {
            endpoint: errand.endpoint.clone(),
            socket: Arc::clone(&errand.socket),
            config: config.clone(),
            address: errand.target.address.clone(),
            place: place.clone(),
            proxy,
        }
    }

    pub(super) async fn over_udp(self, addr: SocketAddr) -> Result<Reached, Failure> {
        let connection = timeout(CONNECT_TIMEOUT, self.handshake(mux::map(addr))).await;
        let connection = connection.map_err(|_| Failure::Silence)??;
        let route = Route::udp(self.place.port);
        let name = Name { socket: self.socket, addr: connection.remote_address() };
        Ok(Reached { connection, route, place: self.place, name, carrying: None })
    }

    pub(super) async fn through_tunnel(self, route: Route) -> Result<Reached, Failure> {
        let connecting = async {
            let id = PollId(rand::random());
            let tunnel = tunnel::open(route, &self.place, self.proxy.as_ref(), id).await;
            let tunnel = tunnel.map_err(Failure::from)?;
            let (addr, outbox) = self.socket.with_carriers(Carriers::open);
            let name = Name { socket: Arc::clone(&self.socket), addr };
            let mut carrying = Carrying::start(Arc::clone(&self.socket), tunnel, addr, outbox);
            tokio::select! {
                connection = self.handshake(addr) => Ok((connection?, name, carrying)),
                error = carrying.ended() => Err(Failure::from(error)),
            }
        };
        let (connection, name, carrying) =
            timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| Failure::Silence)??;
        Ok(Reached { connection, route, place: self.place, name, carrying: Some(carrying) })
    }

    async fn handshake(&self, addr: SocketAddr) -> Result<Connection, Failure> {
        let lost = |error: quinn::ConnectError| Failure::Answer(ServerError::Lost(error.to_string()));
        let connecting = self.endpoint.connect_with(self.config.clone(), addr, tls::ANY_KEY).map_err(lost)?;
        connecting.await.map_err(|error| match error {
            ConnectionError::TimedOut => Failure::Silence,
            error => Failure::Answer(closed(&self.address, &error)),
        })
    }
}

impl From<TunnelError> for Failure {
    fn from(error: TunnelError) -> Self {
        tracing::debug!(%error, "a way to the server failed");
        match error {
            TunnelError::Proxy(reason) => Self::Proxy(reason),
            TunnelError::Failed(_) => Self::Silence,
        }
    }
}
