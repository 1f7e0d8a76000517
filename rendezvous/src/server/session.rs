//! TLS of one connection that lets go of the handshake once it is over.
//!
//! The library's own session keeps all of rustls for as long as the connection lives: message buffers, record keys
//! that QUIC never uses, the transcript. After the handshake a server needs two things of it: whose key the client
//! proved, and the secrets for key updates (RFC 9001 §6). That saves 3.5 KiB for each idle client.
//!
//! There are no session tickets and no exporter here, neither of which this server uses.

use std::any::Any;
use std::mem;
use std::sync::Arc;

use common::identity::Identity;
use common::tls::{self, EarlyData};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn::{ConnectionId, Side, TransportErrorCode};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::pki_types::CertificateDer;
use rustls::quic::{KeyChange, Secrets, ServerConnection, Version};

/// What quinn calls RFC 9000's version.
const QUIC_V1: u32 = 1;
/// TLS alert (RFC 8446 §6.2) for handshake messages behind the handshake.
const UNEXPECTED_MESSAGE: u8 = 10;

/// The library's configuration, with sessions that become small.
pub(super) struct SlimConfig {
    tls: Arc<rustls::ServerConfig>,
    /// Does what concerns no session: keys of Initial packets, tags of Retry packets.
    quic: QuicServerConfig,
}

impl SlimConfig {
    /// For a server with this key that speaks `alpn` and takes no early data.
    pub(super) fn new(identity: &Identity, alpn: &[u8]) -> Self {
        let tls = Arc::new(tls::server_tls(identity, alpn, EarlyData::Refuse));
        let quic = QuicServerConfig::try_from(Arc::clone(&tls))
            .expect("the provider has AES-128-GCM for QUIC Initials");
        Self { tls, quic }
    }
}

impl ServerConfig for SlimConfig {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.quic.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.quic.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let quic_version = if version == QUIC_V1 { Version::V1 } else { Version::V1Draft };
        let mut encoded = Vec::new();
        params.write(&mut encoded);
        let tls = ServerConnection::new(Arc::clone(&self.tls), quic_version, encoded)
            .expect("the configuration has TLS 1.3 and no early data");
        Box::new(SlimSession { config: self, version, stage: Stage::Handshake(Box::new(tls)), next: None })
    }
}

/// See the module.
struct SlimSession {
    config: Arc<SlimConfig>,
    version: u32,
    stage: Stage,
    /// For the next key update, from the moment that there are keys for application data.
    next: Option<Box<Secrets>>,
}

enum Stage {
    Handshake(Box<ServerConnection>),
    /// The certificates that the client showed: one, a raw public key.
    Done(Box<[CertificateDer<'static>]>),
}

impl SlimSession {
    fn tls(&self) -> Option<&ServerConnection> {
        match &self.stage {
            Stage::Handshake(tls) => Some(tls),
            Stage::Done(_) => None,
        }
    }

    /// Lets go of the handshake.
    fn finish(&mut self) {
        let certs = self.tls().and_then(|tls| tls.peer_certificates()).unwrap_or_default();
        let certs = certs.iter().map(|cert| cert.clone().into_owned()).collect();
        drop(mem::replace(&mut self.stage, Stage::Done(certs)));
    }
}

impl Session for SlimSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, _side: Side) -> Keys {
        self.config
            .initial_keys(self.version, dst_cid)
            .expect("the version was accepted when the client came")
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// `Vec<CertificateDer>`, as with the library's own sessions.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        match &self.stage {
            Stage::Handshake(_) => None,
            Stage::Done(certs) => Some(Box::new(certs.to_vec())),
        }
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(|tls| tls.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let Stage::Handshake(tls) = &mut self.stage else {
            return Err(failure(
                TransportErrorCode::crypto(UNEXPECTED_MESSAGE),
                "the handshake is over".into(),
            ));
        };
        tls.read_hs(bytes).map_err(|error| {
            let alert = tls.alert().map(|alert| TransportErrorCode::crypto(alert.into()));
            failure(alert.unwrap_or(TransportErrorCode::PROTOCOL_VIOLATION), error.to_string())
        })?;
        // Nobody waits for `handshake_data`.
        Ok(false)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let params = self.tls().and_then(|tls| tls.quic_transport_parameters());
        params
            .map(|mut bytes| TransportParameters::read(Side::Server, &mut bytes))
            .transpose()
            .map_err(Into::into)
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let Stage::Handshake(tls) = &mut self.stage else { return None };
        let written = out.len();
        let keys = match tls.write_hs(out) {
            Some(KeyChange::Handshake { keys }) => keys,
            Some(KeyChange::OneRtt { keys, next }) => {
                self.next = Some(Box::new(next));
                keys
            }
            None => {
                if out.len() == written && !tls.is_handshaking() {
                    self.finish();
                }
                return None;
            }
        };
        Some(Keys {
            header: KeyPair { local: Box::new(keys.local.header), remote: Box::new(keys.remote.header) },
            packet: KeyPair { local: Box::new(keys.local.packet), remote: Box::new(keys.remote.packet) },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// Only clients get Retry packets.
    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

const fn failure(code: TransportErrorCode, reason: String) -> TransportError {
    TransportError { code, frame: None, reason }
}
