//! The files that operators start from are accepted by the programs that read them.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "support/deploy.rs"]
mod deploy;

use std::path::Path;
use std::process::{Command, Output};

/// Where the unit expects the program.
const INSTALLED: &str = "/usr/local/bin/rendezvous";

fn check_config(file: &Path) -> Output {
    let mut rendezvous = Command::new(deploy::binaries().join("rendezvous"));
    rendezvous.arg("--check-config").arg("--config").arg(file).output().unwrap()
}

#[test]
fn the_example_configuration_is_good() {
    let example = deploy::dir().join("rendezvous.toml");
    let out = check_config(&example);
    assert!(out.status.success(), "{out:?}");

    // What is commented out are settings, too: `# name = value`.
    let is_setting = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
    let text = std::fs::read_to_string(&example).unwrap();
    let settings: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_setting).collect();
    // An address for STUN has to be this machine's, and `bind` to name one as well.
    let own = [("[\"0.0.0.0:5000\", \"[::]:5000\"]", "[\"127.0.0.1:5000\"]"), ("203.0.113.2", "127.0.0.2")];
    let all_settings = own.iter().fold(settings.join("\n"), |all, (there, here)| all.replace(there, here));
    assert!(settings.len() >= 8, "{settings:?}");
    let dir = tempfile::tempdir().unwrap();
    let all = dir.path().join("all.toml");
    std::fs::write(&all, all_settings).unwrap();
    let out = check_config(&all);
    assert!(out.status.success(), "{out:?}");
}

#[test]
fn systemd_takes_the_unit() {
    let unit = std::fs::read_to_string(deploy::dir().join("rendezvous.service")).unwrap();
    assert!(unit.contains(INSTALLED));
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("rendezvous.service");
    std::fs::write(&copy, unit.replace(INSTALLED, deploy::binaries().join("rendezvous").to_str().unwrap()))
        .unwrap();
    let Ok(out) = Command::new("systemd-analyze").arg("verify").arg(&copy).output() else {
        return println!("skipped: systemd-analyze is not installed");
    };
    // Units of the machine itself may be complained about, too.
    let complaints = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !complaints.contains("rendezvous"), "{out:?}");
}

#[test]
fn compose_takes_the_files() {
    let compose: &[&str] = match ["docker compose", "docker-compose"].map(answers) {
        [true, _] => &["docker", "compose"],
        [_, true] => &["docker-compose"],
        _ => return println!("skipped: neither \"docker compose\" nor \"docker-compose\" is there"),
    };
    for file in ["compose.yaml", "nat-simulation/compose.yaml"] {
        let mut command = Command::new(compose[0]);
        command.args(&compose[1..]).arg("--file").arg(deploy::dir().join(file)).args(["config", "--quiet"]);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{file}: {out:?}");
    }
}

fn answers(compose: &str) -> bool {
    let mut words = compose.split(' ').chain(["version"]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).output().is_ok_and(|out| out.status.success())
}
