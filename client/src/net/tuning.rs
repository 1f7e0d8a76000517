//! QUIC settings, each with its reason.

use std::sync::Arc;
use std::time::Duration;

use common::stun::check::Side;
use quinn::congestion::CubicConfig;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::congestion::{PathGeneration, PerPathConfig};

/// A peer from which nothing came for this long is gone. Direct paths are watched by checks, and the driver looks after
/// those who are left without one; this is for peers that vanish although the server sees them.
const PEER_IDLE: Duration = Duration::from_secs(600);
/// Keeps an idle peer connection alive well within [`PEER_IDLE`]. NAT mappings are kept by heartbeats, not by this.
const PEER_KEEP_ALIVE: Duration = Duration::from_secs(240);
/// The server forgets a client after 30 seconds of silence (`docs/protocol.md` §4.1).
const SERVER_IDLE: Duration = Duration::from_secs(30);
/// Keeps the connection to the server and the NAT mapping that it shares with the peers.
const SERVER_KEEP_ALIVE: Duration = Duration::from_secs(12);
/// Relayed packets that wait for the connection to the server, in bytes; more are dropped. A quarter of a
/// second at 8 Mbit/s: more would only be delay.
pub(crate) const RELAY_BUFFER: usize = 256 << 10;
/// Bidirectional streams that a peer may have open at once: control and log, and as many again that are being refused
/// (`docs/protocol.md` §6.2). There are none in one direction only.
const PEER_STREAMS: u32 = 4;
/// Bytes that may be under way on one stream, and on a connection, without the reader having read them.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of datagrams between peers that wait to be read, and to be sent: pings alone travel so.
const ECHO_BUFFER: usize = 16 << 10;
/// Looks for a larger MTU this often, so that a new path is used fully soon.
const MTU_INTERVAL: Duration = Duration::from_secs(30);

/// Settings of the one endpoint. `seed` feeds QUIC's own choices, such as which packet numbers it skips; keys and
/// connection ids come from elsewhere.
pub(crate) fn endpoint(seed: u64) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.rng_seed(Some(StdRng::seed_from_u64(seed).random()));
    // The demultiplexer tells packets by their first bits (RFC 9443 §3).
    config.grease_quic_bit(false);
    config
}

/// Settings of a connection between peers, of which the dialling one keeps it alive. `rtt` is what is known of the way
/// over the relay.
pub(crate) fn peer_transport(
    generation: Arc<PathGeneration>,
    rtt: Duration,
    side: Side,
) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.interval(MTU_INTERVAL);
    config
        .congestion_controller_factory(Arc::new(PerPathConfig { generation }))
        .initial_rtt(rtt)
        .max_idle_timeout(Some(idle(PEER_IDLE)))
        .keep_alive_interval((side == Side::Dialer).then_some(PEER_KEEP_ALIVE))
        .max_concurrent_bidi_streams(PEER_STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .mtu_discovery_config(Some(mtu))
        .datagram_receive_buffer_size(Some(ECHO_BUFFER))
        .datagram_send_buffer_size(ECHO_BUFFER);
    Arc::new(config)
}

/// Settings of the connection to the server: one small stream, and datagrams for the relay.
pub(crate) fn server_transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut congestion = CubicConfig::default();
    congestion.initial_window(common::relay::FIRST_WINDOW);
    config
        .congestion_controller_factory(Arc::new(congestion))
        .max_idle_timeout(Some(idle(SERVER_IDLE)))
        .keep_alive_interval(Some(SERVER_KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(4 * RELAY_BUFFER))
        .datagram_send_buffer_size(RELAY_BUFFER);
    Arc::new(config)
}

fn idle(time: Duration) -> IdleTimeout {
    IdleTimeout::try_from(time).unwrap_or_else(|_| VarInt::MAX.into())
}
