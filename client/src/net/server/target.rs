//! A server as the user names it.

use common::identity::PeerId;

/// Where the rendezvous is, as the user gave it: `host:port`, and the key if it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTarget {
    /// `host:port`.
    pub address: String,
    /// The key that the server must have; `None` takes the first one and reports it.
    pub key: Option<PeerId>,
}

impl ServerTarget {
    /// The port number.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.address.rsplit_once(':')?.1.parse().ok()
    }
}

/// A text that is no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a server: write HOST:PORT or HOST:PORT#KEY, for example example.org:5000")]
pub struct ParseServerError(String);

impl std::str::FromStr for ServerTarget {
    type Err = ParseServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseServerError(text.chars().take(200).collect());
        let (address, key) = match text.split_once('#') {
            Some((address, key)) => (address, Some(key.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        if host.is_empty() || is_bare_ipv6 || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(wrong());
        }
        Ok(Self { address: address.to_owned(), key })
    }
}

impl std::fmt::Display for ServerTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key {
            Some(key) => write!(f, "{}#{key}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::identity::Identity;

    use super::*;

    #[test]
    fn servers_are_read_and_nonsense_is_refused() {
        let key = Identity::from_seed([3; 32]).peer_id();
        for good in ["example.org:5000", "192.0.2.1:5000", "[2001:db8::1]:5000"] {
            let pinned: ServerTarget = format!("{good}#{key}").parse().unwrap();
            assert_eq!((pinned.address.as_str(), pinned.key), (good, Some(key)));
            assert_eq!(good.parse::<ServerTarget>().unwrap().key, None);
        }
        for bad in [
            "",
            "example.org",
            ":5000",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "2001:db8::1:5000",
            "h:1#x",
        ] {
            assert!(bad.parse::<ServerTarget>().is_err(), "{bad}");
        }
    }
}
