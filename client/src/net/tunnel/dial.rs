//! TCP connections, through a proxy or not, and TLS around them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use super::proxy::Proxy;
use super::{Place, TunnelError};

/// Head start of each address over the next one (RFC 8305 §5).
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A byte stream of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to `port` of the server.
pub(super) async fn connect(
    place: &Place,
    port: u16,
    proxy: Option<&Proxy>,
) -> Result<Box<dyn Io>, TunnelError> {
    let Some(proxy) = proxy else {
        let addresses = place.addresses.iter().map(|addr| SocketAddr::new(addr.ip(), port)).collect();
        return Ok(Box::new(tcp(addresses).await?));
    };
    let stream = to_proxy(proxy).await?;
    proxy.connect(Box::new(stream), &place.host, port).await
}

/// A connection to the proxy itself.
pub(super) async fn to_proxy(proxy: &Proxy) -> Result<TcpStream, TunnelError> {
    let host = proxy.host.trim_matches(['[', ']']);
    let found = lookup_host((host, proxy.port)).await;
    let addresses = found.map_err(|error| TunnelError::Proxy(format!("is not found: {error}")))?;
    tcp(addresses.collect()).await.map_err(|error| TunnelError::Proxy(format!("is not reached: {error}")))
}

/// Tries one address after the other, the next when the last has failed or has had its head start (RFC 8305 §5); the first
/// that answers is taken.
pub(super) async fn tcp(addresses: Vec<SocketAddr>) -> Result<TcpStream, TunnelError> {
    let mut waiting = addresses.into_iter().take(MAX_ADDRESSES).peekable();
    let mut attempts = JoinSet::new();
    let mut failure = TunnelError::Failed("there is no address".to_owned());
    loop {
        if let Some(addr) = waiting.next() {
            attempts.spawn(TcpStream::connect(addr));
        }
        let attempt = tokio::select! {
            Some(attempt) = attempts.join_next() => attempt,
            () = sleep(ADDRESS_STAGGER), if waiting.peek().is_some() => continue,
            else => return Err(failure),
        };
        match attempt {
            Ok(Ok(stream)) => {
                // Packets are not to wait for more of them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = TunnelError::failed(error),
            Err(error) => failure = TunnelError::failed(error),
        }
    }
}

/// TLS that looks like that of any web client. The certificate is not looked at: what is inside proves itself, and a
/// middlebox that looks inside finds sealed packets.
pub(super) async fn tls(stream: Box<dyn Io>, host: &str) -> Result<Box<dyn Io>, TunnelError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TunnelError::failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(TunnelError::failed)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(TunnelError::failed)?))
}

/// Takes every certificate, for TLS that nothing relies on.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
