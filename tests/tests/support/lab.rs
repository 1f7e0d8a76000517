//! The real programs for the lab, built once a run.

#[path = "programs.rs"]
mod programs;

use std::path::PathBuf;
use std::sync::OnceLock;

use tests::lab::trial;
use tests::lab::unavailable;

/// Names a directory with other binaries to try.
const BIN_DIR: &str = "HOBNOB_LAB_BIN_DIR";

/// Where the binaries are, built once a run; or the reason why the lab cannot run.
pub(super) fn binaries() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Result<PathBuf, String> {
    if let Some(reason) = unavailable() {
        return Err(reason);
    }
    let dir = match std::env::var_os(BIN_DIR) {
        Some(dir) => PathBuf::from(dir),
        None => programs::build(),
    };
    trial::check_binaries(&dir).map_err(|error| error.to_string())?;
    Ok(dir)
}
