//! The real programs in one local network without a way out: two namespaces on a bridge.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and print like tests")]

#[path = "support/lab.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tests::lab::app::{App, Event};
use tests::lab::netns::Netns;
use tests::lab::router::Clock;

/// How long anything may take; mDNS repeats itself within seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// A server that nothing leads to.
const NOWHERE: &str = "198.51.100.9:5000";
/// The bridge's own address, where a server may be.
const BRIDGE: &str = "10.99.0.1";

/// Two machines on a bridge. The programs end before their namespaces.
struct Lan {
    clients: [App; 2],
    _server: Option<App>,
    _bridge: Arc<Netns>,
    _dir: TempDir,
}

/// Starts two newcomers; with a server of their own on the bridge, or with one that is out of reach.
fn lan(has_server: bool, args: &[&str]) -> Option<Lan> {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => {
            println!("skipped: {reason}");
            return None;
        }
    };
    let dir = tempfile::Builder::new().prefix("hobnob-lan-").tempdir().unwrap();
    let clock = Clock::start();
    let bridge = Arc::new(Netns::create("bridge").unwrap());
    bridge
        .configure(&format!(
            "link add br0 type bridge\naddr add {BRIDGE}/24 dev br0\nlink set br0 up\nlink set lo up\n"
        ))
        .unwrap();
    let server = has_server.then(|| start_server(&bin_dir, dir.path(), &bridge, clock));
    let target = if has_server { format!("{BRIDGE}:5000") } else { NOWHERE.to_owned() };
    let clients = [("alice", 1), ("bob", 2)].map(|(name, n)| {
        let netns = Arc::new(Netns::create(name).unwrap());
        let (port, host) = (format!("p{n}"), netns.name());
        bridge
            .configure(&format!(
                "link add {port} type veth peer name eth0 netns {host}\nlink set {port} master br0\nlink set {port} up\n"
            ))
            .unwrap();
        netns
            .configure(&format!("link set lo up\naddr add 10.99.0.{}/24 dev eth0\nlink set eth0 up\n", 10 + n))
            .unwrap();
        let home = dir.path().join(name);
        let data = home.join("data").display().to_string();
        let fixed = ["--server", &target, "--json", "--name", name, "--data-dir", &data, "--no-port-mapping"];
        let all = fixed.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let mut app = App::new(name, bin_dir.join("client"), all, &home, netns, clock);
        app.start().unwrap();
        app
    });
    Some(Lan { clients, _server: server, _bridge: bridge, _dir: dir })
}

fn start_server(bin_dir: &Path, dir: &Path, bridge: &Arc<Netns>, clock: Clock) -> App {
    let data = dir.join("server").display().to_string();
    let args = ["--bind", "0.0.0.0:5000", "--data-dir", &data].map(str::to_owned).to_vec();
    let binary = bin_dir.join("rendezvous");
    let mut server = App::new("server", binary, args, &dir.join("home"), Arc::clone(bridge), clock);
    server.start().unwrap();
    server
}

fn is_lan(event: &Event) -> bool {
    event.name == "path" && event.text("via") == "lan"
}

fn is_connected(event: &Event) -> bool {
    event.name == "connected"
}

/// One says a line, and the other one hears it.
fn say(clients: &mut [App; 2], from: usize, line: &str) {
    clients[from].say(line).unwrap();
    let is_it = |event: &Event| event.name == "message" && event.text("text") == line;
    clients[1 - from].wait("the line", PATIENCE, is_it).unwrap();
}

#[test]
fn without_a_server_neighbours_find_each_other_and_contacts_connect() {
    let Some(mut lan) = lan(false, &[]) else { return };
    let clients = &mut lan.clients;
    let peers: Vec<_> = clients
        .iter_mut()
        .map(|client| client.wait_named("neighbour", PATIENCE).unwrap())
        .map(|event| (event.text("peer").to_owned(), event.body["known"].clone()))
        .collect();
    assert!(peers.iter().all(|(_, known)| known == false), "{peers:?}");

    clients[0].say(&format!("/nearby {}", &peers[0].0[..8])).unwrap();
    for client in clients.iter_mut() {
        client.wait("a connection", PATIENCE, is_connected).unwrap();
        client.wait("the path in the local network", PATIENCE, is_lan).unwrap();
    }
    say(clients, 0, "no server, no internet");
    say(clients, 1, "and no need of either");

    // They know each other now: whoever comes back is connected without a word.
    let before = clients[0].events().len();
    clients[1].kill();
    clients[1].start().unwrap();
    clients[1].wait("a connection", PATIENCE, is_connected).unwrap();
    let mut seen = 0;
    clients[0]
        .wait("the connection of the new run", PATIENCE, |event| {
            seen += 1;
            seen > before && is_connected(event)
        })
        .unwrap();
    say(clients, 1, "here I am again");
    say(clients, 0, "so I see");

    // Whoever leaves in good order is missed at once.
    clients[1].stop(Duration::from_secs(5)).unwrap();
    let is_gone = |event: &Event| event.name == "neighbour" && event.body["here"] == false;
    clients[0].wait("the news that nobody is there", PATIENCE, is_gone).unwrap();
}

#[test]
fn with_a_server_too_they_end_up_in_the_local_network() {
    let Some(mut lan) = lan(true, &[]) else { return };
    for client in &mut lan.clients {
        client.wait("a connection", PATIENCE, is_connected).unwrap();
        client.wait("the path in the local network", PATIENCE, is_lan).unwrap();
        client.say("/why").unwrap();
        let why = client.wait_named("why", PATIENCE).unwrap();
        assert_eq!((why.text("via"), why.text("cause")), ("lan", "local"));
    }
    say(&mut lan.clients, 0, "hello neighbour");
}

/// How often `client` was told that somebody has come into the network.
fn arrivals(client: &App) -> usize {
    client.events().iter().filter(|event| event.name == "neighbour" && event.body["here"] == true).count()
}

#[test]
fn the_invisible_are_not_announced_from_the_first_moment_on() {
    let Some(mut lan) = lan(false, &[]) else { return };
    let [alice, bob] = &mut lan.clients;
    bob.wait_named("neighbour", PATIENCE).unwrap();
    alice.say("/invisible").unwrap();
    let is_gone = |event: &Event| event.name == "neighbour" && event.body["here"] == false;
    bob.wait("the news that nobody is there", PATIENCE, is_gone).unwrap();
    alice.kill();
    alice.start().unwrap();
    alice.wait_named("info", PATIENCE).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(arrivals(bob), 1, "{:?}", bob.events());
}

/// What mDNS cannot hide from somebody who is blocked is that the key is there; that is all they get.
#[test]
fn a_blocked_neighbour_gets_no_answer() {
    let Some(mut lan) = lan(false, &[]) else { return };
    let [alice, bob] = &mut lan.clients;
    let [its_bob, its_alice] = [&mut *alice, &mut *bob]
        .map(|client| client.wait_named("neighbour", PATIENCE).unwrap().text("peer").to_owned());
    alice.say(&format!("/block {its_bob}")).unwrap();
    let is_gone = |event: &Event| event.name == "neighbour" && event.body["here"] == false;
    alice.wait("the news that nobody is there", PATIENCE, is_gone).unwrap();
    bob.say(&format!("/nearby {its_alice}")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!([&*alice, &*bob].iter().all(|client| !client.events().iter().any(is_connected)));
}

#[test]
fn who_does_not_want_to_be_found_is_not() {
    let Some(mut lan) = lan(false, &["--no-lan"]) else { return };
    std::thread::sleep(Duration::from_secs(3));
    for client in &mut lan.clients {
        client.say("/nearby").unwrap();
        let nearby = client.wait_named("nearby", PATIENCE).unwrap();
        assert_eq!(nearby.body["people"], serde_json::json!([]));
        assert!(client.events().iter().all(|event| event.name != "neighbour"));
    }
}
