//! Sockets, and how QUIC is set up on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::control::{ALPN, MAX_FRAME_LEN};
use common::identity::Identity;
use quinn::congestion::CubicConfig;
use quinn::{
    AsyncUdpSocket, EndpointConfig, IdleTimeout, Runtime, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::session::SlimConfig;

/// A client that is silent for so long is gone. Clients send something at least every 15 seconds or so.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Kernel buffers. With the default, a burst of 1,500 handshakes loses so many packets that it takes five to
/// fifteen times as long.
const SOCKET_BUFFER: usize = 4 << 20;
/// What a client may send on its control stream before the server has read it: somewhat more than one frame.
const STREAM_WINDOW: u32 = 12 * 1024;
const _: () = assert!(STREAM_WINDOW as usize > MAX_FRAME_LEN, "a whole frame has to fit");
/// Frames that wait for a client which does not read; beyond, it is disconnected.
const SEND_WINDOW: u64 = 64 * 1024;
/// Relayed packets of one sender that wait for the server.
const DATAGRAMS_IN: usize = 128 * 1024;
/// Relayed packets that wait for one receiver; beyond, they are dropped. At 20 Mbit/s this is 50 ms of queue.
const DATAGRAMS_OUT: usize = 128 * 1024;
/// Out-of-order handshake data of one client: its flight with a raw public key is far smaller.
const CRYPTO_BUFFER: usize = 4 * 1024;
/// Connection attempts that QUIC holds for us; they are taken off at once.
const MAX_INCOMING: usize = 1024;
/// Packets held for such an attempt, and for all.
const INCOMING_BUFFER: u64 = 16 * 1024;
const INCOMING_BUFFER_TOTAL: u64 = 4 << 20;

/// A UDP socket on `addr`.
pub(super) fn bind(addr: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be had on one port.
        socket.set_only_v6(true)?;
    }
    // The kernel grants what its own limits allow; less is slower, not wrong.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    TokioRuntime.wrap_udp_socket(socket.into())
}

pub(super) fn endpoint_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // The first byte tells QUIC from STUN here (RFC 9443 §2), so the fixed bit must stay.
    config.grease_quic_bit(false);
    config
}

pub(super) fn quic_config(identity: &Identity) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(SlimConfig::new(identity, ALPN)));
    config
        .transport_config(Arc::new(transport_config()))
        .migration(true)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    config
}

/// Everything as small as the protocol allows: most clients are idle most of the time.
fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut congestion = CubicConfig::default();
    congestion.initial_window(common::relay::FIRST_WINDOW);
    config
        .congestion_controller_factory(Arc::new(congestion))
        .max_concurrent_bidi_streams(1u32.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(STREAM_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAMS_IN))
        .datagram_send_buffer_size(DATAGRAMS_OUT)
        .crypto_buffer_size(CRYPTO_BUFFER)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_millis()))))
        // A relayed packet goes out on another connection than it came in on; with one size for all, what fits
        // into the one fits into the other.
        .mtu_discovery_config(None);
    config
}

fn idle_millis() -> u32 {
    u32::try_from(IDLE_TIMEOUT.as_millis()).expect("half a minute in milliseconds fits 32 bits")
}
