//! The programs as they are in the sources, for tests that start them.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Builds what has changed since and returns the directory of `client` and `rendezvous`.
///
/// # Panics
/// If they do not build.
pub(crate) fn build() -> PathBuf {
    let dir = tests::lab::trial::default_bin_dir();
    let mut cargo = Command::new(env!("CARGO"));
    // As the tests are built: with other packages libraries have other features, and are built again. So they would be with
    // what cargo has told this test of its own package, since ring's build looks at the variables of that name.
    cargo.args(["build", "--quiet", "--workspace", "--all-targets"]);
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    if dir.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.is_ok_and(|status| status.success()), "the programs do not build");
    dir
}
