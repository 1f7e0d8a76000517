//! Ways to the server besides UDP (`docs/protocol.md` §4.7): which there are, and opening one.
//!
//! A tunnel carries the packets of the control connection and nothing else. Nobody in between, the proxy and the TLS
//! around included, is trusted with anything: the QUIC inside knows the server by its key.

mod dial;
mod polling;
mod proxy;
mod stream;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::tunnel::PollId;
use tokio::sync::mpsc;

pub use proxy::{ParseProxyError, Proxy};

use super::socket::MuxSocket;

/// Where HTTP and its TLS are expected.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// What carries packets to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams: the way that all others stand in for.
    Udp,
    /// Frames in TLS over TCP.
    Tls,
    /// A WebSocket in TLS.
    WebSocket,
    /// HTTP requests without TLS.
    Http,
}

impl Carrier {
    /// How much later than UDP it is tried: what costs more round trips and more of the server comes later.
    const fn head_start(self) -> Duration {
        Duration::from_millis(match self {
            Self::Udp => 0,
            Self::Tls => 250,
            Self::WebSocket => 500,
            Self::Http => 1000,
        })
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Http => "http",
        })
    }
}

/// One way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// What carries.
    pub carrier: Carrier,
    /// The server's port.
    pub port: u16,
    /// Whether the proxy is asked to connect.
    pub is_proxied: bool,
}

impl Route {
    /// UDP to the server's port.
    #[must_use]
    pub const fn udp(port: u16) -> Self {
        Self { carrier: Carrier::Udp, port, is_proxied: false }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on port {}", self.carrier, self.port)?;
        f.write_str(if self.is_proxied { " through the proxy" } else { "" })
    }
}

/// What tunnels may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// The HTTP proxy of this network.
    pub proxy: Option<Proxy>,
    /// The route that worked last on this network, as text: it is tried first, together with UDP. [`Config::routes`](super::Config) says it.
    pub last: Option<String>,
}

/// Where the server is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its name or address, for proxies.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the name resolves to, of any family; empty if it does not.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Why a tunnel does not open or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TunnelError {
    /// The proxy said no, in words for the user.
    #[error("the proxy {0}")]
    Proxy(String),
    /// Anything else; other ways may work.
    #[error("{0}")]
    Failed(String),
}

impl TunnelError {
    fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The tunnels that are worth trying, each with its head start after UDP.
pub(crate) fn routes(port: u16, tunnels: &Tunnels) -> Vec<(Duration, Route)> {
    let mut routes: Vec<Route> = Vec::new();
    let ways = [
        (Carrier::Tls, port),
        (Carrier::WebSocket, port),
        (Carrier::WebSocket, HTTPS_PORT),
        (Carrier::Http, port),
        (Carrier::Http, HTTP_PORT),
    ];
    for is_proxied in [false, true] {
        for (carrier, port) in ways {
            // Inside a proxy's connection it is all the same, and proxies like HTTP best.
            let is_useful = !is_proxied || (tunnels.proxy.is_some() && carrier != Carrier::Tls);
            let route = Route { carrier, port, is_proxied };
            if is_useful && !routes.contains(&route) {
                routes.push(route);
            }
        }
    }
    let is_last = |route: &Route| tunnels.last.as_ref().is_some_and(|last| *last == route.to_string());
    let head_start = |route: Route| if is_last(&route) { Duration::ZERO } else { route.carrier.head_start() };
    routes.into_iter().map(|route| (head_start(route), route)).collect()
}

/// A tunnel that is open, or needs no opening.
pub(crate) enum Tunnel {
    Stream(stream::Packets),
    Polling(polling::Polling),
}

/// Opens a tunnel over `route`. `id` names it if it is one of HTTP requests.
pub(crate) async fn open(
    route: Route,
    place: &Place,
    proxy: Option<&Proxy>,
    id: PollId,
) -> Result<Tunnel, TunnelError> {
    let proxy = proxy.filter(|_| route.is_proxied);
    match route.carrier {
        Carrier::Udp => Err(TunnelError::Failed("UDP needs no tunnel".to_owned())),
        Carrier::Tls => {
            let stream = dial::connect(place, route.port, proxy).await?;
            stream::framed(dial::tls(stream, &place.host).await?).await.map(Tunnel::Stream)
        }
        Carrier::WebSocket => {
            let stream = dial::connect(place, route.port, proxy).await?;
            let stream = dial::tls(stream, &place.host).await?;
            stream::websocket(stream, &place.host, route.port).await.map(Tunnel::Stream)
        }
        Carrier::Http => Ok(Tunnel::Polling(polling::Polling::new(place, route.port, proxy, id))),
    }
}

impl Tunnel {
    /// Carries packets between the tunnel and QUIC, which knows it by `addr`, until the tunnel or `outbox` ends.
    pub(crate) async fn carry(
        self,
        socket: Arc<MuxSocket>,
        addr: SocketAddr,
        outbox: mpsc::Receiver<Bytes>,
    ) -> TunnelError {
        let carrying: Pin<Box<dyn Future<Output = TunnelError> + Send>> = match self {
            Self::Stream(packets) => Box::pin(stream::carry(packets, socket, addr, outbox)),
            Self::Polling(polling) => Box::pin(polling.carry(socket, addr, outbox)),
        };
        carrying.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_tried_once_and_the_one_that_worked_first() {
        let names = |tunnels: &Tunnels, port| -> Vec<String> {
            let mut routes = routes(port, tunnels);
            routes.sort_by_key(|(head_start, _)| *head_start);
            routes.iter().map(|(_, route)| route.to_string()).collect()
        };
        let direct = names(&Tunnels::default(), 5000);
        assert_eq!(
            direct,
            [
                "tls on port 5000",
                "websocket on port 5000",
                "websocket on port 443",
                "http on port 5000",
                "http on port 80"
            ]
        );
        assert_eq!(names(&Tunnels::default(), 443).len(), 4);
        let proxy = Some("http://proxy:3128".parse().unwrap());
        let last = Some("http on port 80 through the proxy".to_owned());
        let proxied = names(&Tunnels { proxy, last }, 5000);
        assert_eq!((proxied.len(), proxied[0].as_str()), (9, "http on port 80 through the proxy"));
    }
}
