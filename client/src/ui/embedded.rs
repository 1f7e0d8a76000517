//! The rendezvous that runs inside a client which was given no server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use rendezvous::server::IdentitySource;
use rendezvous::{Config, Limits, Server, StartError};

use super::Fatal;
use crate::net::{ServerTarget, links};

/// The port that people know; any free one if it is taken.
const PORT: u16 = 5000;
/// How often a free port is looked for: another program may snatch the one that was found.
const FREE_PORT_TRIES: usize = 3;

/// A server on this machine.
#[derive(Debug)]
pub(super) struct Embedded {
    pub(super) server: Server,
    /// How this client and others reach it.
    pub(super) target: ServerTarget,
}

/// Starts the server with the key in `data_dir`.
pub(super) async fn start(data_dir: &Path) -> Result<Embedded, Fatal> {
    let mut port = PORT;
    let mut tries = 0;
    let server = loop {
        match bind(data_dir, port).await {
            Ok(server) => break server,
            Err(StartError::InUse(_) | StartError::InUseTcp(_)) if tries < FREE_PORT_TRIES => {
                tries += 1;
                port = free_port().map_err(Fatal::failed)?;
            }
            Err(error) => return Err(Fatal::failed(error)),
        }
    };
    let address = SocketAddr::new(this_machine(), port).to_string();
    let target = ServerTarget { address, key: Some(server.peer_id()) };
    Ok(Embedded { server, target })
}

/// Binds `port` on IPv4, and on IPv6 where the system has it.
async fn bind(data_dir: &Path, port: u16) -> Result<Server, StartError> {
    let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let config = |binds| Config {
        binds,
        bind_tcp: Vec::new(),
        alt_binds: Vec::new(),
        identity: IdentitySource::DataDir(data_dir.to_owned()),
        limits: Limits::default(),
    };
    match Server::bind(config(vec![v4, v6])).await {
        Err(StartError::Bind { addr, .. }) if addr.is_ipv6() => Server::bind(config(vec![v4])).await,
        result => result,
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// The address under which other machines see this one: that of the way out, else any that is not loopback.
fn this_machine() -> IpAddr {
    let [way_out, _] = links::way_out();
    let any = || {
        let addrs = links::interface_addrs();
        addrs.iter().find(|ip| ip.is_ipv4()).or(addrs.first()).copied()
    };
    way_out.or_else(any).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
