//! A server whose name has addresses of both families, in the lab, with the real programs: one family that does not work holds
//! nobody up, and who has both is reached by those who have one.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and print like tests")]

#[path = "support/lab.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tests::lab::access::{Access, Families};
use tests::lab::app::App;
use tests::lab::scene::{End, Plan, Scene};
use tests::lab::tap::Sort;
use tests::lab::trial::{self, Setup};

/// What the server is called, and the hosts file that knows it.
const SERVER: &str = "rendezvous.test:5000";
const HOSTS: &str = "203.0.113.1 rendezvous.test\n2001:db8::5000 rendezvous.test\n";
/// What a family that does not work may cost: the head start that it had, and a busy machine's slowness.
const MAX_DELAY_MS: f64 = 250.0 + 400.0;
/// How long the two may take to find each other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the programs are, if the lab can run.
fn binaries() -> Option<PathBuf> {
    support::binaries().map_err(|reason| println!("skipped: {reason}")).ok()
}

/// Homes with a common NAT, of which the first has IPv6 besides.
fn scene(homes: usize) -> Option<(Scene, PathBuf)> {
    let bin_dir = binaries()?;
    let common = Access::by_name("eim_apdf_random").unwrap();
    let mut homes = vec![common; homes];
    homes[0].families = Families::Both;
    let scene = Scene::build(&Plan::standard(homes, &bin_dir)).unwrap();
    std::fs::write(scene.dir().join("hosts"), HOSTS).unwrap();
    Some((scene, bin_dir))
}

/// What comes after `unshare` to start `client` where the server's name is known.
fn client(scene: &Scene, bin_dir: &Path, args: &[&str]) -> Vec<String> {
    let (hosts, client) = (scene.dir().join("hosts"), bin_dir.join("client"));
    let paths = [&hosts, &client].map(|path| path.to_string_lossy().into_owned());
    let shell = ["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""].map(str::to_owned);
    shell.into_iter().chain(paths).chain(args.iter().map(|arg| (*arg).to_owned())).collect()
}

/// What `client netcheck` says in the first home.
fn netcheck(scene: &Scene, bin_dir: &Path) -> Value {
    let data = scene.dir().join("netcheck").to_string_lossy().into_owned();
    let args = ["netcheck", "--json", "--no-port-mapping", "--server", SERVER, "--data-dir", &data];
    let mut command = Command::new("unshare");
    command.args(client(scene, bin_dir, &args)).current_dir(scene.dir());
    scene.place(End::Home(0)).netns.confine(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Until a client was registered, in ms, and whether UDP got through over IPv4 and over IPv6.
fn reached(report: &Value) -> (f64, [bool; 2]) {
    let server = &report["server"];
    assert_eq!(server["carrier"], "udp", "{report}");
    let udp = server["ways"].as_array().unwrap().iter().filter(|way| way["carrier"] == "udp");
    let passing: Vec<_> = udp.filter(|way| way["ms"].is_f64()).collect();
    let over = |mark| passing.iter().any(|way| way["address"].as_str().unwrap().contains(mark));
    (server["ms"].as_f64().unwrap(), [over("203.0.113.1"), over("2001:db8::5000")])
}

#[test]
fn a_family_that_does_not_work_holds_nobody_up() {
    let Some((mut scene, bin_dir)) = scene(1) else { return };
    scene.start_server().unwrap();
    let report = netcheck(&scene, &bin_dir);
    let (healthy, families) = reached(&report);
    assert_eq!(families, [true; 2], "{report}");
    // Where, what is done to the way there, and what still works: answers vanish, or there is no way at all.
    let v4 = ("198.51.100.1/32", "203.0.113.1/32", [false, true]);
    let v6 = ("2001:db8:0:1::2/128", "2001:db8::5000/128", [true, false]);
    for (home, server, still) in [v4, v6] {
        for (end, route) in
            [(End::Server, format!("blackhole {home}")), (End::Home(0), format!("unreachable {server}"))]
        {
            let netns = &scene.place(end).netns;
            netns.configure(&format!("route add {route}\n")).unwrap();
            let report = netcheck(&scene, &bin_dir);
            let (ms, families) = reached(&report);
            println!("{route}: registered after {ms} ms instead of {healthy} ms");
            assert_eq!(families, still, "{route}: {report}");
            assert!(ms <= healthy + MAX_DELAY_MS, "{route}: {ms} ms instead of {healthy} ms");
            netns.configure(&format!("route del {route}\n")).unwrap();
        }
    }
}

/// Its endpoint behind the NAT is what the other needs, and the server alone sees it.
#[test]
fn who_has_both_families_is_reached_by_who_has_ipv4_alone() {
    let Some((mut scene, bin_dir)) = scene(2) else { return };
    for (home, name) in ["alice", "bob"].into_iter().enumerate() {
        let dir = scene.dir().join(name);
        let data = dir.join("data").to_string_lossy().into_owned();
        let args = ["--server", SERVER, "--json", "--data-dir", &data, "--no-port-mapping", "--no-lan"];
        let netns = Arc::clone(&scene.place(End::Home(home)).netns);
        let args = client(&scene, &bin_dir, &args);
        scene.clients[home] = App::new(name, "unshare".into(), args, &dir, netns, scene.router().clock());
    }
    trial::meet(&mut scene).unwrap();
    trial::both_connected(&mut scene).unwrap();
    let direct = trial::wait_direct(&scene, PATIENCE, Sort::is_quic, 1).unwrap();
    assert!(direct.is_some(), "{}", scene.explain());
}

/// Two newcomers with IPv6 alone meet through firewalls that let in nothing but answers.
#[test]
fn ipv6_alone_is_enough() {
    let Some(bin_dir) = binaries() else { return };
    let setup = Setup { bin_dir, seed: 1, pcap: None };
    let alone = Access::by_name("ipv6").unwrap();
    let outcome = trial::run(&alone, &alone, &setup).unwrap();
    assert_eq!((outcome.failure.as_deref(), outcome.chat_direct), (None, true), "{outcome:?}");
}

/// Who has no family in common talks through the server, which has both.
#[test]
fn ipv6_alone_and_ipv4_alone_talk_over_the_relay() {
    let Some(bin_dir) = binaries() else { return };
    let setup = Setup { bin_dir, seed: 1, pcap: None };
    let [v6, v4] = ["ipv6", "eim_apdf_random"].map(|name| Access::by_name(name).unwrap());
    let outcome = trial::run(&v6, &v4, &setup).unwrap();
    assert_eq!((outcome.failure.as_deref(), outcome.direct_ms), (None, None), "{outcome:?}");
    assert!(outcome.chat_ms.is_some(), "{outcome:?}");
}
