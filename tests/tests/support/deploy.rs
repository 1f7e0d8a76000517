//! What the tests of `deploy/` share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses some of it; helpers of tests fail like tests"
)]

#[path = "programs.rs"]
mod programs;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder under test.
pub(crate) fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

/// Where the client and the rendezvous are, built once a run.
pub(crate) fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(programs::build)
}
