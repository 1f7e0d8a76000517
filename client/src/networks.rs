//! What is remembered of the networks that this machine was on, in one small file of the data directory.
//!
//! A file of its own rather than the database, since it is written beside a client that runs.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::net::links;

/// Networks that are remembered; the one that was seen longest ago is forgotten.
const MAX_NETWORKS: usize = 32;
/// Bytes of the file that are read.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Which, see [`current`].
    pub id: String,
    /// When it was looked at, in milliseconds since 1970.
    pub at: u64,
    /// What its NAT was, in one word.
    pub kind: String,
    /// How long an unused mapping lives, if that was ever measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<KnownLifetime>,
}

/// How long an unused mapping lives, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KnownLifetime {
    /// It was still there after this.
    pub alive_s: f64,
    /// It was gone after this; `None` if it was not gone at the end.
    pub dead_s: Option<f64>,
    /// When that was measured, in milliseconds since 1970.
    pub at: u64,
}

/// A name for the network that this machine is on now, by its router and its router's hardware, or, where there is no
/// router, by the machine's own address; `None` without a network. A hash, so that the file does not tell where somebody
/// has been.
#[must_use]
pub fn current() -> Option<String> {
    let place = match links::router() {
        Some(router) => {
            let table = fs::read_to_string("/proc/net/arp").unwrap_or_default();
            let gateway = router.gateway.to_string();
            format!("router {gateway} {}", hardware_of(&table, &gateway).unwrap_or_default())
        }
        None => {
            let [v4, v6] = links::way_out();
            format!("address {}", v4.or(v6)?)
        }
    };
    Some(blake3::derive_key("hobnob network v1", place.as_bytes())[..16].iter().map(hex).collect())
}

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

/// The hardware address of `ip` in a table like /proc/net/arp.
fn hardware_of<'a>(table: &'a str, ip: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.len() >= 4 && fields[0] == ip).then_some(fields[3])
    })
}

/// The file in the data directory `dir`.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join("networks.json")
}

/// What is remembered of the network `id`; nothing if the file is not there or damaged.
#[must_use]
pub fn recall(path: &Path, id: &str) -> Option<Known> {
    read(path).into_iter().find(|known| known.id == id)
}

/// Remembers `known` in the place of what was remembered of its network.
///
/// # Errors
/// If the file cannot be written; it is then as it was.
pub fn remember(path: &Path, known: Known) -> io::Result<()> {
    let mut all = read(path);
    all.retain(|other| other.id != known.id);
    all.insert(0, known);
    all.truncate(MAX_NETWORKS);
    let unfinished = path.with_extension(format!("json.{}", std::process::id()));
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&unfinished)
        .and_then(|mut file| file.write_all(&serde_json::to_vec_pretty(&all)?))
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // Perhaps it was never made.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn read(path: &Path) -> Vec<Known> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_LEN).read_to_end(&mut bytes));
    // What was only measured can be measured again.
    read.ok().and_then(|_| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(n: usize, kind: &str) -> Known {
        Known { id: n.to_string(), at: 1, kind: kind.to_owned(), lifetime: None }
    }

    #[test]
    fn the_newest_networks_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert_eq!(recall(&path, "0"), None);
        for n in 0..2 * MAX_NETWORKS {
            remember(&path, known(n, "easy")).unwrap();
        }
        remember(&path, known(40, "open")).unwrap();
        assert_eq!(recall(&path, "0"), None);
        assert_eq!(recall(&path, "40"), Some(known(40, "open")));
        assert_eq!(read(&path).len(), MAX_NETWORKS);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        fs::write(&path, "[{").unwrap();
        assert_eq!(recall(&path, "1"), None);
        remember(&path, known(1, "easy")).unwrap();
        assert_eq!(recall(&path, "1"), Some(known(1, "easy")));
    }

    #[test]
    fn routers_are_told_apart_by_their_hardware() {
        let table = "IP address HW type Flags HW address Mask Device\n\
            192.168.1.1 0x1 0x2 00:11:22:33:44:55 * eth0\n";
        assert_eq!(hardware_of(table, "192.168.1.1"), Some("00:11:22:33:44:55"));
        assert_eq!(hardware_of(table, "192.168.1.2"), None);
    }
}
