//! The one TUN device of a namespace.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::netns::Netns;
use super::sys;

/// Name of the device in every namespace.
const NAME: &str = "tun0";
/// What Ethernet carries.
pub const MTU: usize = 1_500;
/// Packets that may wait for the router: a sender's whole window in one burst.
const QUEUE: usize = 10_000;

/// An address of a device with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub ip: IpAddr,
    /// Prefix length; the full length for a lone address.
    pub prefix: u8,
    /// The next hop of the default route; none routes straight to the device.
    pub gateway: Option<IpAddr>,
}

/// A TUN device, held from outside its namespace.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Makes the device, brings it and the loopback up, and routes everything to it.
    ///
    /// # Errors
    /// When the kernel or `ip` refuses.
    pub fn open(netns: &Netns, addrs: &[Assigned]) -> Result<Self> {
        let file = netns
            .run(|| -> io::Result<File> {
                let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
                sys::attach_tun(&file, NAME)?;
                sys::set_nonblocking(&file)?;
                Ok(file)
            })?
            .context("cannot make a TUN device")?;
        netns.configure(&commands(addrs))?;
        Ok(Self { file })
    }

    /// The next packet the namespace sent; none when there is none now.
    pub(super) fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands a packet to the namespace.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write_all(packet)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn commands(addrs: &[Assigned]) -> String {
    let mut lines = String::from("link set lo up\n");
    // No address that nobody asked for: the kernel would give IPv6 link-local ones.
    if Path::new("/proc/sys/net/ipv6").exists() {
        lines.push_str("link set NAME addrgenmode none\n");
    }
    let _ = writeln!(lines, "link set NAME mtu {MTU} txqueuelen {QUEUE} up");
    for Assigned { ip, prefix, gateway } in addrs {
        let (family, flags) = if ip.is_ipv4() { ("-4", "") } else { ("-6", " nodad") };
        let via = gateway.map(|gateway| format!("via {gateway} ")).unwrap_or_default();
        let _ = writeln!(lines, "addr add {ip}/{prefix} dev NAME{flags}");
        // `ip -batch` takes the family from the line itself only for routes written in full.
        let any = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
        let _ = writeln!(lines, "route add {any} {via}dev NAME");
    }
    lines.replace("NAME", NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_configured() {
        let lines = commands(&[
            Assigned { ip: "192.168.1.2".parse().unwrap(), prefix: 24, gateway: "192.168.1.1".parse().ok() },
            Assigned { ip: "2001:db8::2".parse().unwrap(), prefix: 128, gateway: None },
        ]);
        assert!(
            lines.contains("addr add 192.168.1.2/24 dev tun0\nroute add 0.0.0.0/0 via 192.168.1.1 dev tun0")
        );
        assert!(lines.contains("addr add 2001:db8::2/128 dev tun0 nodad\nroute add ::/0 dev tun0"));
    }
}
