//! Plain quinn endpoints in the network.

use std::sync::Mutex;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use quinn::rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use quinn::rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use quinn::rustls::server::AlwaysResolvesServerRawPublicKeys;
use quinn::rustls::sign::CertifiedKey;
use quinn::rustls::{self, DigitallySignedStruct, SignatureScheme};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
};
use tokio::time::timeout;

use super::*;

/// PKCS#8 of an Ed25519 key whose seed is all ones.
fn key() -> Arc<CertifiedKey> {
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = PrivatePkcs8KeyDer::from([prefix.as_slice(), &[1; 32]].concat());
    let key = ring::sign::any_eddsa_type(&der).unwrap();
    let spki = key.public_key().unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key))
}

/// Takes any key that signs: these tests are about the network.
#[derive(Debug)]
struct AnyKey(WebPkiSupportedAlgorithms);

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
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(60).try_into().unwrap()));
    Arc::new(transport)
}

fn server_config() -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let versions = [&rustls::version::TLS13];
    let tls =
        rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
    let tls =
        tls.with_no_client_auth().with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key())));
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(transport());
    config
}

fn client_config() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyKey(provider.signature_verification_algorithms));
    let versions = [&rustls::version::TLS13];
    let tls =
        rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
    let tls = tls.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(transport());
    config
}

/// A quinn endpoint whose own random choices are seeded too.
fn endpoint(net: &SimNet, host: HostId, port: u16) -> Endpoint {
    let mut config = EndpointConfig::default();
    config.rng_seed(Some([7; 32]));
    let socket = net.bind(host, port);
    Endpoint::new_with_abstract_socket(config, Some(server_config()), socket, Arc::new(TokioRuntime)).unwrap()
}

/// Punches with two bare packets, then connects the first home to the second.
async fn connect(homes: &Homes) -> (Endpoint, Endpoint, Connection, Connection) {
    let targets = [(homes.hosts[0], 5000, "198.51.100.2:6000"), (homes.hosts[1], 6000, "198.51.100.1:5000")];
    for (host, port, target) in targets {
        let local = SocketAddr::from(([0, 0, 0, 0], port));
        homes.net.bind_at(host, local).unwrap().send_to(b"punch", addr(target)).unwrap();
    }
    let a = endpoint(&homes.net, homes.hosts[0], 5000);
    let b = endpoint(&homes.net, homes.hosts[1], 6000);
    let connecting = a.connect_with(client_config(), addr("198.51.100.2:6000"), "peer").unwrap();
    let (ours, theirs) =
        tokio::join!(connecting, async { b.accept().await.unwrap().accept().unwrap().await.unwrap() });
    (a, b, ours.unwrap(), theirs)
}

/// Sends that many bytes one way and checks that they arrive; returns the time it took.
async fn transfer(net: &SimNet, from: &Connection, to: &Connection, size: usize) -> Duration {
    let start = net.now();
    let data: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let (mut send, expected) = (from.open_uni().await.unwrap(), data.clone());
    let sending = async {
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
    };
    let receiving = async { to.accept_uni().await.unwrap().read_to_end(size).await.unwrap() };
    let ((), received) = timeout(Duration::from_secs(300), async { tokio::join!(sending, receiving) })
        .await
        .expect("the transfer ends");
    assert!(received == expected, "the data is intact");
    net.now() - start
}

#[tokio::test(start_paused = true)]
async fn a_megabyte_passes_two_nats_at_five_percent_loss() {
    let homes = Homes::new(1, Profile::eim_apdf_preserving(), Profile::eim_adf());
    homes.net.set_link(homes.sites[0], homes.sites[1], Link::new(40 * MS).lossy(0.05).jittery(2 * MS));
    let (_a, _b, ours, theirs) = connect(&homes).await;
    transfer(&homes.net, &ours, &theirs, 1_000_000).await;
    transfer(&homes.net, &theirs, &ours, 1_000_000).await;
    assert!(homes.net.dropped(DropCause::Lost) > 20);
    assert_eq!(homes.net.delivered(homes.hosts[0], homes.server), Count::default());
}

#[tokio::test(start_paused = true)]
async fn a_transfer_fills_a_bottleneck_and_no_more() {
    const RATE: u64 = 1_250_000;
    let homes = Homes::new(1, Profile::eim_adf(), Profile::eim_adf());
    homes.net.set_link(homes.sites[0], homes.sites[1], Link::new(40 * MS).limited(RATE, 150_000));
    let (_a, _b, ours, theirs) = connect(&homes).await;
    let took = transfer(&homes.net, &ours, &theirs, 5_000_000).await;
    assert!(took >= Duration::from_secs(4), "{took:?} is faster than the link");
    assert!(took <= Duration::from_secs(7), "{took:?} leaves the link idle");
    assert!(homes.net.dropped(DropCause::QueueFull) > 0, "slow start has met the end of the queue");
}

#[tokio::test(start_paused = true)]
async fn quinn_copes_with_coalesced_reception() {
    let homes = Homes::new(1, Profile::eim_adf(), Profile::eim_adf());
    for host in homes.hosts {
        homes.net.set_reception(host, Reception::Coalesced);
    }
    let (_a, _b, ours, theirs) = connect(&homes).await;
    transfer(&homes.net, &ours, &theirs, 1_000_000).await;
}

#[tokio::test(start_paused = true)]
async fn both_ends_are_connected_after_one_and_a_half_round_trips() {
    let homes = Homes::new(1, Profile::eim_adf(), Profile::eim_adf());
    let start = homes.net.now();
    let _connected = connect(&homes).await;
    let took = homes.net.now() - start;
    // The server has the client's last flight half a round trip after the client is done.
    assert!((120 * MS..=126 * MS).contains(&took), "{took:?}");
}

/// The whole trace of a lossy, jittery, limited transfer with a rebind in its middle.
async fn trace(seed: u64) -> (u64, u64) {
    let homes = Homes::new(seed, Profile::eim_apdf_random(), Profile::full_cone());
    let link = Link::new(40 * MS).lossy(0.03).jittery(5 * MS).duplicating(0.01).limited(2_000_000, 60_000);
    homes.net.set_link(homes.sites[0], homes.sites[1], link);
    let packets = Arc::new(Mutex::new(0));
    let count = Arc::clone(&packets);
    homes.net.tap(move |_| *count.lock().unwrap() += 1);
    let (_a, _b, ours, theirs) = connect(&homes).await;
    transfer(&homes.net, &ours, &theirs, 300_000).await;
    homes.net.rebind(homes.nats[0]);
    transfer(&homes.net, &ours, &theirs, 300_000).await;
    let packets = *packets.lock().unwrap();
    (homes.net.trace_hash(), packets)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(trace(seed))
    };
    let first = run(1);
    assert!(first.1 > 500, "{first:?}");
    for _ in 0..3 {
        assert_eq!(run(1), first);
    }
    assert_ne!(run(2).0, first.0);
}
