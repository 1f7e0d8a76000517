//! `client netcheck`, the real program, in the lab: kernel sockets through the NAT model, a server with one address.
#![cfg(target_os = "linux")]

#[path = "support/lab.rs"]
mod support;

use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tests::lab::access::Access;
use tests::lab::scene::{End, Plan, Scene};

/// What it says at each kind of access: the class, the filter, whether it hairpins, and a way to the server that works.
type Expected = (&'static str, &'static str, &'static str, Option<bool>, &'static str);

const EXPECTED: [Expected; 8] = [
    ("public", "open", "not_port_dependent", Some(true), "udp"),
    ("full_cone", "easy", "not_port_dependent", Some(true), "udp"),
    ("eim_apdf_preserving", "easy", "address_and_port_dependent", Some(true), "udp"),
    ("linux", "easy", "address_and_port_dependent", Some(false), "udp"),
    ("symmetric_sequential", "counter", "address_and_port_dependent", Some(false), "udp"),
    ("symmetric_random", "random", "address_and_port_dependent", Some(false), "udp"),
    ("ipv6", "open", "address_and_port_dependent", Some(true), "udp"),
    ("udp_blocked", "blocked", "unknown", None, "tls"),
];

#[expect(
    clippy::disallowed_methods,
    reason = "it is told how long the program takes, and nothing hangs on it"
)]
fn clock() -> Instant {
    Instant::now()
}

#[test]
fn the_program_names_each_kind_of_access() {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let homes = EXPECTED.iter().map(|(name, ..)| Access::by_name(name).unwrap()).collect();
    let mut scene = Scene::build(&Plan::standard(homes, &bin_dir)).unwrap();
    scene.start_server().unwrap();
    for (home, (name, kind, filtering, hairpin, carrier)) in EXPECTED.into_iter().enumerate() {
        let is_v6 = name == "ipv6";
        let server = scene.server_addr_of(home).to_string();
        let mut command = Command::new(bin_dir.join("client"));
        command.args(["netcheck", "--json", "--no-port-mapping", "--server", &server, "--data-dir"]);
        command.arg(scene.dir().join(name)).current_dir(scene.dir());
        scene.place(End::Home(home)).netns.confine(&mut command);
        let began = clock();
        let output = command.output().unwrap();
        println!("{name}: {:.1} s", (clock() - began).as_secs_f64());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_str(&said).unwrap();
        let network = &report["network"];
        assert_eq!(network["kind"], kind, "{name}: {said}");
        assert_eq!(network["filtering"], filtering, "{name}: {said}");
        assert_eq!(network["hairpin"].as_bool(), hairpin, "{name}: {said}");
        let firewall = if is_v6 { filtering } else { "unknown" };
        assert_eq!(report["ipv6"]["filtering"], firewall, "{name}: {said}");
        let ways = report["server"]["ways"].as_array().unwrap();
        assert!(ways.iter().any(|way| way["carrier"] == carrier && way["ms"].is_f64()), "{name}: {said}");
        let over_udp = ways.iter().any(|way| way["carrier"] == "udp" && way["ms"].is_f64());
        assert_eq!(over_udp, carrier == "udp", "{name}: {said}");
    }
}
