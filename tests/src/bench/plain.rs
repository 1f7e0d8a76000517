//! Plain quinn, the alternative to the project's own network layer: two endpoints and one connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use client::net::ALPN;
use common::identity::Identity;
use common::tls::{self, EarlyData, Trust};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::client::AlwaysResolvesClientRawPublicKeys;
use quinn::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use quinn::rustls::crypto::ring;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use quinn::rustls::sign::CertifiedKey;
use quinn::rustls::{self, DigitallySignedStruct, SignatureScheme};
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TokioRuntime,
    TransportConfig,
};

/// Keys of the two ends.
const KEYS: [[u8; 32]; 2] = [[41; 32], [42; 32]];

/// Which cipher the two agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    /// The project's order: AES-128-GCM first where the processor has instructions for it.
    Ours,
    /// The library's order: AES-256-GCM first.
    Library,
    /// ChaCha20-Poly1305.
    ChaCha,
}

/// How an endpoint and its connections are set up.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) transport: Arc<TransportConfig>,
    pub(super) endpoint: EndpointConfig,
    pub(super) cipher: Cipher,
}

impl Setup {
    /// What quinn does when nothing is said.
    pub(super) fn library() -> Self {
        let transport = Arc::new(TransportConfig::default());
        Self { transport, endpoint: EndpointConfig::default(), cipher: Cipher::Library }
    }

    /// The settings of the project's peer connections (`client/src/net/tuning.rs`), with quinn's own congestion
    /// controller. `change` makes one thing different.
    pub(super) fn ours(change: impl FnOnce(&mut TransportConfig)) -> Self {
        let mut transport = TransportConfig::default();
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.interval(Duration::from_secs(30));
        transport
            .initial_rtt(Duration::from_millis(100))
            .keep_alive_interval(Some(Duration::from_secs(20)))
            .max_concurrent_bidi_streams(64u32.into())
            .max_concurrent_uni_streams(64u32.into())
            .stream_receive_window((8u32 << 20).into())
            .receive_window((16u32 << 20).into())
            .send_window(16 << 20)
            .mtu_discovery_config(Some(mtu))
            .datagram_receive_buffer_size(None);
        change(&mut transport);
        let mut endpoint = EndpointConfig::default();
        endpoint.grease_quic_bit(false);
        Self { transport: Arc::new(transport), endpoint, cipher: Cipher::Ours }
    }

    fn client(&self) -> anyhow::Result<quinn::ClientConfig> {
        let identity = Identity::from_seed(KEYS[0]);
        let crypto = match self.cipher {
            Cipher::Ours => tls::client_config(&identity, ALPN, Trust::NamedKey),
            Cipher::Library | Cipher::ChaCha => library_client(&identity, self.cipher)?,
        };
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        Ok(config)
    }

    fn server(&self) -> ServerConfig {
        let crypto = tls::server_config(&Identity::from_seed(KEYS[1]), ALPN, EarlyData::Refuse);
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport)).migration(false);
        config
    }
}

/// Two ends of one connection.
pub(super) struct Pair {
    pub(super) dialler: Connection,
    pub(super) acceptor: Connection,
    _endpoints: [Endpoint; 2],
}

/// Connects the first socket to the second, which is reached at `address`.
pub(super) async fn pair(
    sockets: [Arc<dyn AsyncUdpSocket>; 2],
    address: SocketAddr,
    setup: &Setup,
) -> anyhow::Result<Pair> {
    let [from, to] = sockets;
    let endpoint = |socket, server| {
        Endpoint::new_with_abstract_socket(setup.endpoint.clone(), server, socket, Arc::new(TokioRuntime))
    };
    let endpoints = [endpoint(from, None)?, endpoint(to, Some(setup.server()))?];
    let name = tls::server_name(Identity::from_seed(KEYS[1]).peer_id());
    let dial = async { anyhow::Ok(endpoints[0].connect_with(setup.client()?, address, &name)?.await?) };
    let accept = async { anyhow::Ok(endpoints[1].accept().await.context("the endpoint ended")?.await?) };
    let (dialler, acceptor) = tokio::try_join!(dial, accept)?;
    Ok(Pair { dialler, acceptor, _endpoints: endpoints })
}

/// A loopback socket as the system makes it.
pub(super) fn system_socket() -> anyhow::Result<Arc<dyn AsyncUdpSocket>> {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    Ok(quinn::Runtime::wrap_udp_socket(&TokioRuntime, std::net::UdpSocket::bind(any)?)?)
}

/// The dialling side's TLS with the library's ciphers: their order decides.
fn library_client(identity: &Identity, cipher: Cipher) -> anyhow::Result<QuicClientConfig> {
    let mut provider = ring::default_provider();
    if cipher == Cipher::ChaCha {
        // QUIC's first packets need AES-128-GCM to be there; the last place keeps it from being chosen.
        provider.cipher_suites.rotate_left(2);
    }
    let key = PrivatePkcs8KeyDer::from(identity.to_pkcs8().to_vec());
    let key = ring::sign::any_eddsa_type(&key)?;
    let own = CertifiedKey::new(vec![CertificateDer::from(identity.peer_id().to_spki())], key);
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(own))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(QuicClientConfig::try_from(config)?)
}

/// Takes any key: both ends are this program.
#[derive(Debug)]
struct AnyKey;

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
