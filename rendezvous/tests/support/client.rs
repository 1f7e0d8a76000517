//! A client made of quinn and the protocol crate, for tests against a real server on loopback.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::control::{
    ALPN, Admit, Connect, InstanceId, Introduce, Lobby, Register, SessionId, ToClient, ToServer, Watch,
    Welcome,
};
use common::frame::{self, Message};
use common::identity::{Identity, PeerId};
use common::tls::{self, Trust};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rendezvous::server::IdentitySource;
use rendezvous::{Config, Limits, Server};
use tokio::time::timeout;

/// How long a test waits for something that should come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) async fn server() -> Server {
    server_with(Limits::default()).await
}

pub(crate) async fn server_with(limits: Limits) -> Server {
    let identity = IdentitySource::Given(Identity::from_seed([200; 32]));
    let config =
        Config { binds: vec![loopback()], bind_tcp: Vec::new(), alt_binds: Vec::new(), identity, limits };
    Server::bind(config).await.unwrap()
}

pub(crate) fn quic(identity: &Identity, alpn: &[u8]) -> ClientConfig {
    ClientConfig::new(Arc::new(tls::client_config(identity, alpn, Trust::NamedKey)))
}

pub(crate) async fn connect_raw(
    identity: &Identity,
    alpn: &[u8],
    to: SocketAddr,
    key: PeerId,
) -> Result<(Endpoint, Connection), ConnectionError> {
    let mut bind = to;
    bind.set_port(0);
    let endpoint = Endpoint::client(bind).unwrap();
    let connecting = endpoint.connect_with(quic(identity, alpn), to, &tls::server_name(key)).unwrap();
    let connection = timeout(PATIENCE, connecting).await.expect("the handshake ends in time")?;
    Ok((endpoint, connection))
}

pub(crate) struct Client {
    pub(crate) identity: Identity,
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    recv: RecvStream,
    inbox: BytesMut,
}

impl Client {
    /// Connected, with its stream open, and nothing said yet.
    pub(crate) async fn mute(server: &Server, seed: u8) -> Self {
        Self::mute_at(server.local_addrs()[0], server.peer_id(), seed).await
    }

    pub(crate) async fn mute_at(to: SocketAddr, key: PeerId, seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let (endpoint, connection) = connect_raw(&identity, ALPN, to, key).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        Self { identity, endpoint, connection, send, recv, inbox: BytesMut::new() }
    }

    pub(crate) async fn registered(server: &Server, seed: u8) -> Self {
        Self::registered_at(server.local_addrs()[0], server.peer_id(), seed).await
    }

    pub(crate) async fn registered_at(to: SocketAddr, key: PeerId, seed: u8) -> Self {
        let mut client = Self::mute_at(to, key, seed).await;
        client.register().await;
        client
    }

    pub(crate) async fn register(&mut self) -> Welcome {
        let instance = InstanceId(u64::from(self.peer().as_bytes()[0]));
        self.tell(Register { instance, features: Vec::new(), admit: Admit::default() }).await;
        match self.hear().await {
            ToClient::Welcome(welcome) => welcome,
            other => panic!("expected Welcome, got {other:?}"),
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    pub(crate) async fn tell(&mut self, message: impl Into<ToServer>) {
        self.send.write_all(&message.into().to_bytes()).await.unwrap();
    }

    pub(crate) async fn lobby(&mut self) {
        self.tell(Lobby { waiting: true, except: Vec::new() }).await;
    }

    pub(crate) async fn connect(&mut self, session: u64, peer: PeerId) {
        self.tell(Connect { session: SessionId(session), peer }).await;
    }

    pub(crate) async fn watch(&mut self, peers: &[PeerId]) {
        self.tell(Watch { peers: peers.to_vec() }).await;
    }

    pub(crate) async fn hear(&mut self) -> ToClient {
        timeout(PATIENCE, self.next()).await.expect("a frame comes in time").expect("the connection lives")
    }

    pub(crate) async fn introduced(&mut self) -> Introduce {
        match self.hear().await {
            ToClient::Introduce(introduce) => introduce,
            other => panic!("expected Introduce, got {other:?}"),
        }
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        timeout(Duration::from_millis(200), self.next()).await.is_err()
    }

    async fn next(&mut self) -> Option<ToClient> {
        loop {
            if let Some(message) = frame::take(&mut self.inbox).unwrap() {
                return Some(message);
            }
            let chunk = self.recv.read_chunk(usize::MAX, true).await.ok()??;
            self.inbox.extend_from_slice(&chunk.bytes);
        }
    }

    pub(crate) fn relay(&self, session: u64, payload: &[u8]) {
        self.connection.send_datagram(relay_frame(session, payload)).unwrap();
    }

    pub(crate) async fn datagram(&self) -> Bytes {
        timeout(PATIENCE, self.connection.read_datagram()).await.expect("a datagram comes in time").unwrap()
    }

    /// The code and reason with which the server ends the connection.
    pub(crate) async fn closed(&self) -> (u32, String) {
        closed(&self.connection).await
    }
}

pub(crate) async fn closed(connection: &Connection) -> (u32, String) {
    match timeout(PATIENCE, connection.closed()).await.expect("the connection ends in time") {
        ConnectionError::ApplicationClosed(close) => (
            u32::try_from(close.error_code.into_inner()).unwrap(),
            String::from_utf8(close.reason.to_vec()).unwrap(),
        ),
        other => panic!("expected an orderly end, got {other:?}"),
    }
}

pub(crate) fn relay_frame(session: u64, payload: &[u8]) -> Bytes {
    [&[0][..], &session.to_be_bytes(), payload].concat().into()
}
