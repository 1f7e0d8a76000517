//! Where a server is: what its name stands for, in the order in which that is tried.

use std::net::SocketAddr;

use super::{Errand, ServerError};
use crate::net::links;
use crate::net::tunnel::Place;

/// Addresses of one server name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Where the server of `errand` is.
pub(super) async fn of(errand: &Errand) -> Result<Place, ServerError> {
    let address = &errand.target.address;
    match resolve(address).await {
        // A proxy may know names that nobody here does.
        Err(_) if errand.tunnels.as_ref().is_some_and(|tunnels| tunnels.proxy.is_some()) => {
            Ok(place(address, Vec::new()))
        }
        found => found,
    }
}

async fn resolve(address: &str) -> Result<Place, ServerError> {
    let fail = |reason: String| ServerError::Resolve(address.to_owned(), reason);
    let found = tokio::net::lookup_host(address).await.map_err(|error| fail(error.to_string()))?;
    let addresses = in_order(found.collect(), links::has_route);
    if addresses.is_empty() {
        return Err(fail("it has no address".to_owned()));
    }
    Ok(place(address, addresses))
}

/// The addresses of one name as they are tried: the families alternate (RFC 8305 §4), and what there is no way to comes last.
/// Unlike there IPv4 is the first: a client knows its IPv6 addresses by itself, but its endpoint behind a NAT from the server
/// alone, and has none to offer to peers without IPv6 if that has never seen it.
fn in_order(found: Vec<SocketAddr>, has_route: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv4);
    let longest = v4.len().max(v6.len());
    let alternating = (0..longest).flat_map(|i| [v4.get(i), v6.get(i)]).flatten().copied();
    let mut addresses: Vec<_> = alternating.take(MAX_ADDRESSES).collect();
    addresses.sort_by_cached_key(|addr| !has_route(*addr));
    addresses
}

fn place(address: &str, addresses: Vec<SocketAddr>) -> Place {
    // The form was checked when the address was read.
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    Place { host: host.to_owned(), port: port.parse().unwrap_or_default(), addresses }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_the_one_without_a_way_is_tried_last() {
        let [a, b, x, y] = ["192.0.2.1:5", "192.0.2.2:5", "[2001:db8::1]:5", "[2001:db8::2]:5"]
            .map(|addr| addr.parse::<SocketAddr>().unwrap());
        let found = vec![x, y, a, b];
        assert_eq!(in_order(found.clone(), |_| true), [a, x, b, y]);
        assert_eq!(in_order(found.clone(), |addr| addr.is_ipv6()), [x, y, a, b]);
        assert_eq!(in_order(found.clone(), |_| false), [a, x, b, y], "routes may come back");
        assert_eq!(in_order(found.repeat(5), |_| true).len(), MAX_ADDRESSES);
    }
}
