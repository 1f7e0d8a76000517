//! Making connections to peers: dialling and accepting, with early data where the two have met before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::identity::{Identity, PeerId};
use common::stun::check::{KEY_LEN, Key, KeyName, Side};
use common::tls::{self, EarlyData, Trust};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connecting, Connection, ServerConfig, TransportConfig, VarInt, ZeroRttAccepted};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ALPN, close};

/// How long a handshake may take before it counts as failed.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);

/// Until the first nudge; doubled with each.
const NUDGE: Duration = Duration::from_millis(500);
/// Nudges at most: the last comes after about half a minute.
const NUDGES: u32 = 6;

/// The endpoint wants settings for accepting, although each peer gets its own.
pub(crate) fn placeholder(identity: &Identity) -> ServerConfig {
    Credentials::new(identity).accepting(Arc::default())
}

/// Both halves of the TLS set-up, shared by all connections so that tickets are.
#[derive(Clone)]
pub(crate) struct Credentials {
    client: Arc<QuicClientConfig>,
    server: Arc<QuicServerConfig>,
}

impl Credentials {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            client: Arc::new(tls::client_config(identity, ALPN, Trust::NamedKey)),
            server: Arc::new(tls::server_config(identity, ALPN, EarlyData::Accept)),
        }
    }

    /// Settings for dialling.
    pub(crate) fn dialling(&self, transport: Arc<TransportConfig>) -> quinn::ClientConfig {
        let mut config = quinn::ClientConfig::new(Arc::clone(&self.client) as _);
        config.transport_config(transport);
        config
    }

    /// Settings for accepting. Addresses below are virtual: QUIC's own migration has nothing to do.
    pub(crate) fn accepting(&self, transport: Arc<TransportConfig>) -> ServerConfig {
        let mut config = ServerConfig::with_crypto(Arc::clone(&self.server) as _);
        config.transport_config(transport).migration(false);
        config
    }
}

/// How an attempt goes on. `attempt` tells attempts apart.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) peer: PeerId,
    pub(crate) attempt: u64,
    pub(crate) side: Side,
    pub(crate) step: Step,
}

/// A step of an attempt.
#[derive(Debug)]
pub(crate) enum Step {
    /// Early data may flow; [`Step::Complete`] follows.
    Early(Connection),
    /// The handshake has ended. The flag says whether early data, if there was any, arrived.
    Complete(Connection, bool),
    /// It has failed.
    Failed(String),
}

/// Labels and reports the steps of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    pub(crate) peer: PeerId,
    pub(crate) attempt: u64,
    pub(crate) side: Side,
    pub(crate) inbox: mpsc::Sender<Progress>,
}

impl Reporter {
    async fn report(&self, step: Step) {
        let Self { peer, attempt, side, .. } = *self;
        // Without a driver there is nobody left to tell.
        let _ = self.inbox.send(Progress { peer, attempt, side, step }).await;
    }
}

/// Carries a dialled connection through its handshake.
pub(crate) async fn dial(connecting: Connecting, reporter: Reporter) {
    match connecting.into_0rtt() {
        Ok((connection, accepted)) => {
            reporter.report(Step::Early(connection.clone())).await;
            finish(connection, accepted, &reporter).await;
        }
        Err(connecting) => {
            let step = match timeout(HANDSHAKE_TIME, connecting).await {
                Ok(Ok(connection)) => Step::Complete(connection, true),
                Ok(Err(error)) => Step::Failed(error.to_string()),
                Err(_) => Step::Failed("the peer did not answer in time".to_owned()),
            };
            reporter.report(step).await;
        }
    }
}

/// Carries an accepted connection through its handshake. A peer that resumes is known from its ticket and its
/// early data is taken; any other must first prove its key.
pub(crate) async fn accept(connecting: Connecting, reporter: Reporter) {
    let Ok((connection, accepted)) = connecting.into_0rtt() else {
        return reporter.report(Step::Failed("the connection cannot be accepted".to_owned())).await;
    };
    if tls::peer_id(&connection) == Some(reporter.peer) {
        reporter.report(Step::Early(connection.clone())).await;
    }
    finish(connection, accepted, &reporter).await;
}

async fn finish(connection: Connection, accepted: ZeroRttAccepted, reporter: &Reporter) {
    let Ok(accepted) = timeout(HANDSHAKE_TIME, accepted).await else {
        connection.close(VarInt::from_u32(close::PROTOCOL), b"the handshake took too long");
        return reporter.report(Step::Failed("the handshake took too long".to_owned())).await;
    };
    if let Some(error) = connection.close_reason() {
        return reporter.report(Step::Failed(error.to_string())).await;
    }
    if tls::peer_id(&connection) != Some(reporter.peer) {
        connection.close(VarInt::from_u32(close::PROTOCOL), b"not the peer that was introduced");
        let reason = "the other side is not the peer that the server introduced".to_owned();
        return reporter.report(Step::Failed(reason)).await;
    }
    // An accepting side has no early data of its own that could be refused.
    let arrived = accepted || reporter.side == Side::Acceptor;
    reporter.report(Step::Complete(connection, arrived)).await;
}

/// Sends empty datagrams on a connection that was dialled until its peer speaks on a stream. Probes for lost packets wait twice as
/// long with each packet of the handshake that was not answered, and quinn keeps to that after the handshake (RFC 9002 §6.2.2
/// does not): after a long one, a lost first word would be missed only minutes later. Any newer packet that is acknowledged
/// shows what was lost.
pub(crate) async fn nudge(connection: Connection) {
    for number in 0..NUDGES {
        tokio::time::sleep(NUDGE * 2u32.pow(number)).await;
        if connection.stats().frame_rx.stream > 0 || connection.send_datagram(Bytes::new()).is_err() {
            return;
        }
    }
}

/// The key for checks that only the two ends of `connection` know (`docs/protocol.md` §5.2).
pub(crate) fn check_key(connection: &Connection, side: Side) -> Option<Key> {
    let mut secret = [0; 8 + KEY_LEN];
    connection.export_keying_material(&mut secret, tls::EXPORTER_CHECKS, b"").ok()?;
    let (name, key) = secret.split_first_chunk::<8>()?;
    Some(Key::new(KeyName(u64::from_be_bytes(*name)), side, key.first_chunk()?))
}
