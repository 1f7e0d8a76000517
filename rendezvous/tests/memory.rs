//! How much memory the program uses, empty and for each idle client. Run it by itself, best with `--release`:
//! `cargo test --release -p rendezvous --test memory -- --ignored --nocapture`
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "support/client.rs"]
mod support;

use std::process::Stdio;
use std::time::Duration;

use common::control::{ALPN, Admit, InstanceId, Register, ToServer};
use common::frame::Message;
use common::identity::{Identity, PeerId};
use quinn::{Endpoint, TransportConfig};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const CLIENTS: u32 = 2_000;
/// Their sockets. The server watches what it sends to the address of a handshake, so that what it still has to say
/// to the last client of that address would delay the next one.
const SOCKETS: usize = 16;
/// More than this, in KiB, is a step back. The goals are 10 MiB and 30 KB.
const EMPTY: u64 = 10 * 1024;
const EACH: f64 = 28.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; see the top of the file"]
async fn idle_clients_are_small() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_rendezvous"))
        .arg("--data-dir")
        .arg(dir.path())
        .args(["--bind", "127.0.0.1:0", "--max-per-address", "100000", "--half-open-retry", "100000"])
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let listening = lines.next_line().await.unwrap().unwrap();
    let addr = listening.split(' ').nth(2).unwrap().parse().unwrap();
    let key: PeerId = lines.next_line().await.unwrap().unwrap()[4..].parse().unwrap();
    let pid = server.id().unwrap();
    let empty = resident(pid);

    let endpoints: Vec<_> = (0..SOCKETS).map(|_| Endpoint::client(support::loopback()).unwrap()).collect();
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(10)));
    let transport = std::sync::Arc::new(transport);
    let mut clients = Vec::new();
    for (n, endpoint) in (0..CLIENTS).zip(endpoints.iter().cycle()) {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        let mut config = support::quic(&Identity::from_seed(seed), ALPN);
        config.transport_config(transport.clone());
        let connection =
            endpoint.connect_with(config, addr, &common::tls::server_name(key)).unwrap().await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let register = Register { instance: InstanceId(1), features: Vec::new(), admit: Admit::default() };
        send.write_all(&ToServer::from(register).to_bytes()).await.unwrap();
        recv.read_chunk(usize::MAX, true).await.unwrap().unwrap();
        clients.push((connection, send, recv));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = u32::try_from(resident(pid) - empty).unwrap();
    let each = f64::from(used) / f64::from(CLIENTS);
    println!("empty: {empty} KiB resident; each of {CLIENTS} idle clients: {each:.1} KiB");
    assert!(empty <= EMPTY && each <= EACH);
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
