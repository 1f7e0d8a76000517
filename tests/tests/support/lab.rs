//! The real programs for the lab, built once a run.

use std::path::PathBuf;
use std::process::Command;
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
        None => {
            let dir = trial::default_bin_dir();
            let mut cargo = Command::new(env!("CARGO"));
            // As the tests are built: with other packages libraries have other features, and are built again.
            cargo.args(["build", "--quiet", "--workspace", "--all-targets"]);
            if dir.ends_with("release") {
                cargo.arg("--release");
            }
            let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(built.is_ok_and(|status| status.success()), "the binaries do not build");
            dir
        }
    };
    trial::check_binaries(&dir).map_err(|error| error.to_string())?;
    Ok(dir)
}
