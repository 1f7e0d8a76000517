//! What the server grants to clients. Every bound has a default that suits a small public server.

use serde::{Deserialize, Serialize};

/// Bounds of one server. Rates are per second; a rate of 0 switches that limit off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Connections in all, those still in their handshake included.
    pub max_connections: usize,
    /// Connections from one IPv4 address or one IPv6 /64. Generous, since carriers put many homes behind one.
    pub max_per_address: usize,
    /// Handshakes under way above which newcomers must prove their address first (QUIC Retry).
    pub half_open_retry: usize,
    /// Handshakes under way above which newcomers are refused.
    pub half_open_refuse: usize,
    /// Control frames that one connection may send per second, over time.
    pub frames_per_second: u64,
    /// Control frames that one connection may send at once.
    pub frame_burst: u64,
    /// Introductions that one connection may have open by its own wish, and as many again by others' wish.
    pub max_sessions: usize,
    /// Newcomers that may wait in the lobby. Each arrival is compared with all of them; more wait for a place.
    pub max_lobby: usize,
    /// Names that the server keeps, in memory and on the disk; 0 does without names.
    pub max_names: usize,
    /// Bytes per second that one connection may send through the relay, over time.
    pub relay_bytes_per_second: u64,
    /// Bytes that one connection may send through the relay at once.
    pub relay_burst: u64,
    /// STUN answers per second to one IPv4 address or one IPv6 /64, over time.
    pub stun_per_second: u64,
    /// STUN answers to one IPv4 address or one IPv6 /64 at once.
    pub stun_burst: u64,
    /// TCP connections in all, and as many tunnels of HTTP requests. The system grants no more than open files.
    pub max_tunnels: usize,
    /// The same from one IPv4 address or one IPv6 /64. Everybody behind one web proxy has one address.
    pub max_tunnels_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_per_address: 256,
            half_open_retry: 256,
            half_open_refuse: 2_048,
            frames_per_second: 20,
            frame_burst: 100,
            max_sessions: 64,
            max_lobby: 256,
            max_names: 50_000,
            relay_bytes_per_second: 2_000_000,
            relay_burst: 4_000_000,
            stun_per_second: 100,
            stun_burst: 200,
            max_tunnels: 4_096,
            max_tunnels_per_address: 256,
        }
    }
}
