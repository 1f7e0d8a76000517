//! The network layer by itself: a [`Net`] without engine and store, for what is measured below them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::net::{BindExtra, Config, Event, Handshake, Link, Net, ServerTarget, TcpUse, Via};
use common::control::InstanceId;
use common::identity::{Identity, PeerId};
use quinn::AsyncUdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The server's address in the simulated world.
pub(super) const SIMULATED_SERVER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 5000);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running network.
pub(super) struct Bare {
    pub(super) net: Net,
    pub(super) id: PeerId,
    pub(super) events: mpsc::Receiver<Event>,
    _tasks: JoinSet<()>,
}

impl Bare {
    /// Starts one and waits until it is registered with the server.
    pub(super) async fn start(
        seed: u64,
        (links, bind_extra): (Vec<Arc<dyn AsyncUdpSocket>>, BindExtra),
        server: (SocketAddr, PeerId),
    ) -> anyhow::Result<Self> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let identity = Identity::from_seed(key);
        let id = identity.peer_id();
        let mut tasks = JoinSet::new();
        let config = Config {
            identity,
            instance: InstanceId(rand::random()),
            server: Some(ServerTarget { address: server.0.to_string(), key: Some(server.1) }),
            tunnels: None,
            routes: std::collections::BTreeMap::new(),
            links,
            bind_extra,
            surroundings: client::net::Surroundings::default(),
            tcp: TcpUse::Never,
            door: client::net::Door::default(),
            holds: Vec::new(),
            seed,
        };
        let (net, events) = Net::start(config, &mut tasks)?;
        let mut bare = Self { net, id, events, _tasks: tasks };
        bare.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await?;
        Ok(bare)
    }

    /// Waits until `found` picks something out of an event.
    pub(super) async fn wait<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&Event) -> Option<T>,
    ) -> anyhow::Result<T> {
        let search = async {
            while let Some(event) = self.events.recv().await {
                if let Some(value) = found(&event) {
                    return Ok(value);
                }
            }
            bail!("the network ended")
        };
        timeout(PATIENCE, search).await.with_context(|| format!("waited in vain for {what}"))?
    }

    /// Waits for a connection, early or complete.
    pub(super) async fn connected(&mut self) -> anyhow::Result<Link> {
        self.wait("a connection", |event| match event {
            Event::Connected(link) => Some(link.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until packets go directly.
    pub(super) async fn direct(&mut self) -> anyhow::Result<()> {
        self.wait("a direct path", |event| match event {
            Event::Path(change) if change.via != Via::Relay => Some(()),
            _ => None,
        })
        .await
    }

    /// Waits until packets for `peer` go directly, unless they do already.
    pub(super) async fn settle_direct(&mut self, peer: PeerId) -> anyhow::Result<()> {
        match self.net.path(peer) {
            Some(path) if path.via != Via::Relay => Ok(()),
            _ => self.direct().await,
        }
    }

    /// Waits until packets go over the relay alone.
    pub(super) async fn relayed(&mut self) -> anyhow::Result<()> {
        self.wait("the relay", |event| match event {
            Event::Path(change) if change.via == Via::Relay => Some(()),
            _ => None,
        })
        .await
    }

    /// Waits until the connection has ended.
    pub(super) async fn closed(&mut self) -> anyhow::Result<()> {
        self.wait("the end", |event| matches!(event, Event::Closed { .. }).then_some(())).await
    }
}

/// Makes more real sockets.
pub(super) fn real_sockets() -> BindExtra {
    BindExtra(Arc::new(client::net::links::bind_extra))
}

/// Whether data flows before the handshake has ended.
pub(super) fn is_early(link: &Link) -> bool {
    *link.handshake.borrow() == Handshake::Early
}
