//! What the tests of `deploy/` share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses some of it; helpers of tests fail like tests"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder under test.
pub(crate) fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

/// Where the client and the rendezvous are, built once a run.
pub(crate) fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let bin_dir = tests::lab::trial::default_bin_dir();
        let mut cargo = Command::new(env!("CARGO"));
        // As the tests are built: with other packages libraries have other features, and are built again.
        cargo.args(["build", "--quiet", "--workspace", "--all-targets"]);
        if bin_dir.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.is_ok_and(|status| status.success()), "the binaries do not build");
        bin_dir
    })
}
