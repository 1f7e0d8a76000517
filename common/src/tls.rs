//! TLS 1.3 with raw Ed25519 public keys on both sides (RFC 7250), to the server and between peers.
//!
//! A key proves itself by its signature in the handshake; there is no certificate and no authority. Whom the key
//! belongs to is the caller's question: the dialling side names the key it expects, the accepting side reads
//! [`peer_id`] afterwards.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring as ring_provider, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    SignatureScheme,
};

use crate::identity::{Identity, PeerId};

/// Label of the TLS exporter (RFC 8446 §7.5) for the words that people compare.
pub const EXPORTER_WORDS: &[u8] = b"hobnob words";
/// Label of the TLS exporter for the key of STUN checks between two peers.
pub const EXPORTER_CHECKS: &[u8] = b"hobnob checks";

/// Tickets that a client keeps, one or two for each peer: enough for the contacts of one person.
const RESUMPTION_ENTRIES: usize = 512;

/// The name under which TLS looks for `peer`: it selects the expected key and the resumption ticket. It is never
/// sent (SNI is off).
#[must_use]
pub fn server_name(peer: PeerId) -> String {
    peer.to_string()
}

/// The placeholder name for a server whose key is not known yet (pinned on first use).
pub const ANY_KEY: &str = "any-key";

/// A server whose first-use key is taken as it comes is the caller's decision, made in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only the key that the connection's server name spells.
    NamedKey,
    /// Any key when the name is [`ANY_KEY`]; the caller pins what it finds.
    FirstUse,
}

/// The client's half of the TLS set-up. `alpn` is the one protocol spoken. Early data (0-RTT) is enabled: what
/// is sent in it must be idempotent.
///
/// # Panics
/// Never on a working build: the configuration is constant.
#[must_use]
pub fn client_config(identity: &Identity, alpn: &[u8], trust: Trust) -> QuicClientConfig {
    let provider = provider();
    let verifier = Verifier { algorithms: provider.signature_verification_algorithms, trust };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider supports TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified_key(identity))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_early_data = true;
    config.enable_sni = false;
    config.resumption = Resumption::in_memory_sessions(RESUMPTION_ENTRIES);
    QuicClientConfig::try_from(config).expect("the provider has AES-128-GCM for QUIC Initials")
}

/// The accepting half of the TLS set-up; every client must show a key.
///
/// # Panics
/// Never on a working build: the configuration is constant.
#[must_use]
pub fn server_config(identity: &Identity, alpn: &[u8], early_data: EarlyData) -> QuicServerConfig {
    QuicServerConfig::try_from(server_tls(identity, alpn, early_data))
        .expect("the provider has AES-128-GCM for QUIC Initials")
}

/// The same below QUIC, for who makes TLS sessions himself.
///
/// # Panics
/// Never on a working build: the configuration is constant.
#[must_use]
pub fn server_tls(identity: &Identity, alpn: &[u8], early_data: EarlyData) -> rustls::ServerConfig {
    let provider = provider();
    let verifier =
        Verifier { algorithms: provider.signature_verification_algorithms, trust: Trust::FirstUse };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider supports TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified_key(identity))));
    config.alpn_protocols = vec![alpn.to_vec()];
    match early_data {
        EarlyData::Accept => config.max_early_data_size = u32::MAX,
        EarlyData::Refuse => config.send_tls13_tickets = 0,
    }
    config
}

/// Whether an accepting side takes data before the handshake is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyData {
    /// Takes it: what arrives must be idempotent, for it can be replayed (RFC 8446 §8).
    Accept,
    /// Refuses it, and gives out no tickets either, which keeps connections small.
    Refuse,
}

/// The key that the other side of a connection proved; `None` before the handshake got that far.
#[must_use]
pub fn peer_id(connection: &quinn::Connection) -> Option<PeerId> {
    let certs = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    PeerId::from_spki(certs.first()?)
}

/// The crypto provider, with AES-128-GCM first where the processor has instructions for it: there it costs about
/// 0.6 of what `ChaCha20` does.
fn provider() -> Arc<CryptoProvider> {
    use ring_provider::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut provider = ring_provider::default_provider();
    provider.cipher_suites = if has_aes_instructions() {
        vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384]
    } else {
        vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]
    };
    Arc::new(provider)
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

fn certified_key(identity: &Identity) -> Arc<CertifiedKey> {
    let der = PrivatePkcs8KeyDer::from(identity.to_pkcs8().to_vec());
    let key = ring_provider::sign::any_eddsa_type(&der).expect("our own PKCS #8 wrapping is valid");
    let spki = CertificateDer::from(identity.peer_id().to_spki());
    Arc::new(CertifiedKey::new(vec![spki], key))
}

#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    trust: Trust,
}

/// The other side proved a key, but not the one that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("expected the key {expected}, found {found}")]
pub struct WrongKey {
    /// The key that the connection named.
    pub expected: String,
    /// The key that the other side has.
    pub found: PeerId,
}

impl Verifier {
    fn key_of(cert: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<PeerId, Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        PeerId::from_spki(cert).ok_or_else(|| CertificateError::BadEncoding.into())
    }

    fn verify(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Self::key_of(end_entity, intermediates)?;
        let expected = server_name.to_str();
        if expected == found.to_string() || (self.trust == Trust::FirstUse && expected == ANY_KEY) {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongKey { expected: expected.into_owned(), found };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::key_of(end_entity, intermediates).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
