//! The program itself: what it prints, how it ends, what it says when something is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

#[path = "support/client.rs"]
mod support;

use std::net::SocketAddr;
use std::process::Stdio;

use common::control::close;
use common::identity::PeerId;
use support::{Client, PATIENCE};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

fn command(data_dir: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rendezvous"));
    command.arg("--data-dir").arg(data_dir).args(["--log", "error"]);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Running {
    child: Child,
    addrs: Vec<SocketAddr>,
    key: PeerId,
}

async fn start(data_dir: &std::path::Path, binds: &[&str]) -> Running {
    let mut command = command(data_dir);
    for bind in binds {
        command.args(["--bind", bind]);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("a line");
    let listening = line().await;
    let addrs = listening.strip_prefix("listening on ").unwrap().strip_suffix(" (UDP)").unwrap();
    let addrs: Vec<SocketAddr> = addrs.split(", ").map(|addr| addr.parse().unwrap()).collect();
    let key: PeerId = line().await.strip_prefix("key ").unwrap().parse().unwrap();
    let hint = line().await;
    assert_eq!(hint, format!("on the other machines: client --server {}#{key}", addrs[0]));
    Running { child, addrs, key }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
}

async fn fails(command: &mut Command, code: i32, expected: &str) {
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn serves_on_both_families_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let mut binds = vec!["127.0.0.1:0"];
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        binds.push("[::1]:0");
    }
    let Running { mut child, addrs, key } = start(dir.path(), &binds).await;
    let mut clients = Vec::new();
    for (seed, addr) in (1..).zip(&addrs) {
        clients.push(Client::registered_at(*addr, key, seed).await);
    }
    if let [a, b] = &mut clients[..] {
        a.connect(1, b.peer()).await;
        assert_eq!(a.introduced().await.endpoints, [b.addr()], "across the families");
    }
    signal(&child, "-TERM");
    for client in &clients {
        assert_eq!(client.closed().await.0, close::SHUTDOWN);
    }
    assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0));
    let again = start(dir.path(), &["127.0.0.1:0"]).await;
    assert_eq!(again.key, key, "the key stays");
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    fails(command(dir.path()).args(["--bind", &addr]), 1, "another program uses UDP port").await;
}

#[tokio::test]
async fn wrong_use_is_said_with_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    fails(command(dir.path()).args(["--bind", "nowhere"]), 2, "--bind").await;
    fails(command(dir.path()).args(["--no-such-flag"]), 2, "--no-such-flag").await;
    fails(command(dir.path()).arg("--config").arg(&config), 2, "config.toml").await;
    std::fs::write(&config, "max-lobbby = 3").unwrap();
    fails(command(dir.path()).arg("--config").arg(&config), 2, "max-lobbby").await;
    std::fs::write(&config, "max-lobby = 3").unwrap();
    let good = command(dir.path()).arg("--config").arg(&config).arg("--check-config").output().await.unwrap();
    assert_eq!(good.status.code(), Some(0));
    assert!(!dir.path().join("rendezvous.key").exists(), "a check changes nothing");
}

#[tokio::test]
async fn second_addresses_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let check = |alternate: &str| {
        let mut command = command(dir.path());
        command.args(["--check-config", "--bind", "127.0.0.1:0", "--alt-bind", alternate]);
        command
    };
    let good = check("127.0.0.2:0").output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&good.stdout), "the configuration is good\n");
    fails(&mut check("127.0.0.1:7"), 2, "has no partner").await;
    fails(&mut check("[::1]:0"), 2, "has no partner").await;
    // Set aside for documentation (RFC 5737): no machine has it.
    fails(&mut check("192.0.2.1:7"), 2, "cannot listen on 192.0.2.1:7").await;
    let taken = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let busy = check(&addr.to_string()).output().await.unwrap();
    assert!(busy.status.success(), "it may be this server's");
    let said = String::from_utf8_lossy(&busy.stdout);
    assert!(said.contains(&format!("UDP port {} on 127.0.0.2 is in use", addr.port())), "{said}");
}

#[tokio::test]
async fn a_wrong_data_directory_or_key_is_said() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    fails(command(&file).args(["--bind", "127.0.0.1:0"]), 1, "is not a directory").await;
    let key = dir.path().join("rendezvous.key");
    std::fs::write(&key, "x").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    fails(command(dir.path()).args(["--bind", "127.0.0.1:0"]), 1, "chmod 600").await;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    fails(command(dir.path()).args(["--bind", "127.0.0.1:0"]), 1, "damaged").await;
}

#[tokio::test]
async fn interrupts_count_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start(dir.path(), &["127.0.0.1:0"]).await;
    signal(&running.child, "-INT");
    assert_eq!(timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap().code(), Some(0));
}
