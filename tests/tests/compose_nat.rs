//! Machines behind the kernel's own NATs, in containers: the simulation in `deploy/` brings all its pairs together.
#![cfg(target_os = "linux")]

#[path = "support/deploy.rs"]
mod deploy;

use std::process::Command;

/// Set to 1 where there is no time for this.
const SKIP: &str = "HOBNOB_SKIP_SLOW";
/// Seconds for all of it, and more for the clean-up, after which it is killed.
const PATIENCE: [&str; 2] = ["220", "30"];
/// How the simulation says that this machine lacks what it needs.
const CANNOT_RUN: i32 = 3;

#[test]
fn pairs_behind_kernel_nats_meet_and_chat() {
    if std::env::var_os(SKIP).is_some_and(|value| value == "1") {
        return println!("skipped: {SKIP} is set");
    }
    if let Some(reason) = no_docker() {
        return println!("skipped: {reason}");
    }
    let [patience, grace] = PATIENCE;
    // `timeout` ends it as Ctrl-C would, so that it takes everything down.
    let run = Command::new("timeout")
        .args(["--kill-after", grace, patience])
        .arg(deploy::dir().join("nat-simulation/run"))
        .arg("--bin-dir")
        .arg(deploy::binaries())
        .output()
        .unwrap();
    let (table, notes) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if run.status.code() == Some(CANNOT_RUN) {
        return println!("skipped: {}", notes.trim());
    }
    println!("{table}");
    assert!(run.status.success(), "{}\n{table}\n{notes}", run.status);
}

/// Asked before anything is built for nothing.
fn no_docker() -> Option<String> {
    match Command::new("docker").arg("info").output() {
        Err(_) => Some("docker is not installed".to_owned()),
        Ok(info) if !info.status.success() => Some("Docker does not answer".to_owned()),
        Ok(_) => None,
    }
}
