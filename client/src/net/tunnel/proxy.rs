//! HTTP proxies: which one, and asking it to connect (RFC 9110 §9.3.6).

use std::fmt;
use std::pin::{Pin, pin};
use std::str::FromStr;

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;

use super::TunnelError;
use super::dial::Io;

/// Variables that name the proxy, the first one that is set counts; as curl and others read them.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Variables with the hosts that are reached without it.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Port of a proxy that is named without one.
const DEFAULT_PORT: u16 = 80;

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization` (RFC 7617).
    pub(super) authorization: Option<String>,
}

/// A text that names no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP proxy: write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct ParseProxyError;

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl FromStr for Proxy {
    type Err = ParseProxyError;

    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = text.parse().map_err(|_| ParseProxyError)?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ParseProxyError);
        };
        if authority.host().is_empty() {
            return Err(ParseProxyError);
        }
        let authorization = authority.as_str().rsplit_once('@').map(|(user_info, _)| {
            let plain: Vec<u8> = percent_decode_str(user_info).collect();
            format!("Basic {}", BASE64.encode(&plain))
        });
        let host = authority.host().to_owned();
        Ok(Self { host, port: authority.port_u16().unwrap_or(DEFAULT_PORT), authorization })
    }
}

impl Proxy {
    /// The proxy that the environment, read by `variable`, names for `host`.
    #[must_use]
    pub fn from_environment(host: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set =
            |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        if set(&EXCEPTIONS).is_some_and(|list| is_exception(host, &list)) {
            return None;
        }
        // Proxies of other kinds are for other programs.
        set(&VARIABLES)?.parse().ok()
    }

    /// Has the proxy connect `stream` to `host` and `port`.
    pub(super) async fn connect(
        &self,
        stream: Box<dyn Io>,
        host: &str,
        port: u16,
    ) -> Result<Box<dyn Io>, TunnelError> {
        let target = format!("{host}:{port}");
        let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
        if let Some(authorization) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(TunnelError::failed)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(TunnelError::failed)?;
        // Boxed, or the compiler does not see that it is `Send`.
        let connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> =
            Box::pin(connection.with_upgrades());
        let asking = async {
            let answer = sender.send_request(request).await.map_err(TunnelError::failed)?;
            if !answer.status().is_success() {
                return Err(refusal(answer.status()));
            }
            hyper::upgrade::on(answer).await.map_err(TunnelError::failed)
        };
        let mut asking = pin!(asking);
        let asked = tokio::select! {
            asked = &mut asking => asked,
            // It has ended as such, and may go on as what was asked for.
            _ = connection => asking.await,
        };
        asked.map(|upgraded| Box::new(TokioIo::new(upgraded)) as Box<dyn Io>)
    }
}

/// What a proxy's refusal means to the user.
pub(super) fn refusal(status: StatusCode) -> TunnelError {
    TunnelError::Proxy(match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "wants a user and a password: give them as http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY or HOBNOB_PROXY"
                .to_owned()
        }
        status => format!("refuses to connect to the server: {status}"),
    })
}

/// Whether `host` is in a list as in `NO_PROXY`: names that also stand for all below them, addresses, or `*`.
fn is_exception(host: &str, list: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    list.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase()).any(|entry| {
        entry == "*"
            || entry == host
            || (!entry.is_empty() && host.strip_suffix(&entry).is_some_and(|rest| rest.ends_with('.')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_with_and_without_user() {
        let plain: Proxy = "proxy.example:3128".parse().unwrap();
        assert_eq!((plain.host.as_str(), plain.port, &plain.authorization), ("proxy.example", 3128, &None));
        let full: Proxy = "http://ann:p%40ss@192.0.2.1:8080/".parse().unwrap();
        let expected = Some(format!("Basic {}", BASE64.encode(b"ann:p@ss")));
        assert_eq!((full.host.as_str(), full.port, &full.authorization), ("192.0.2.1", 8080, &expected));
        assert!(!format!("{full:?}").contains("p@ss"));
        assert_eq!("http://proxy".parse::<Proxy>().unwrap().port, 80);
        for wrong in ["", "socks5://proxy:1080", "https://proxy", "http://", "http://:3128", "a b"] {
            assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_environment_names_a_proxy_and_exceptions() {
        let proxy = |vars: &[(&str, &str)], host: &str| {
            let vars: Vec<_> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let find = |name: &str| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
            Proxy::from_environment(host, find).map(|proxy| proxy.host)
        };
        assert_eq!(proxy(&[], "a.org"), None);
        assert_eq!(proxy(&[("ALL_PROXY", "b"), ("https_proxy", "c:1")], "a.org").as_deref(), Some("c"));
        assert_eq!(proxy(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "b")], "a.org").as_deref(), Some("b"));
        assert_eq!(proxy(&[("ALL_PROXY", "socks5://b")], "a.org"), None);
        for (list, is_excepted) in
            [("a.org", true), (".org", true), ("x, org", true), ("*", true), ("b.org,rg", false), ("", false)]
        {
            let found = proxy(&[("ALL_PROXY", "b"), ("NO_PROXY", list)], "A.org");
            assert_eq!(found.is_none(), is_excepted, "{list}");
        }
    }
}
