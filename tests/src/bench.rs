//! Measurements that are repeated and compared: each figure stands beside its alternative in the same run.
//!
//! `cargo run --release -p tests --bin bench -- all` runs them; [`Report`] is what comes out. Figures in virtual
//! time are exact on any machine; figures in processor time are ratios within one run.

pub mod backlog;
mod bare;
pub mod bulk;
pub mod connect;
pub mod cpu;
mod flow;
pub mod hard;
pub mod lifetime;
pub mod memory;
pub mod messages;
mod plain;
mod report;
pub mod roam;
pub mod signatures;
pub mod stats;
pub mod switch;
mod talk;
pub mod weather;

pub use report::{Figure, Report, Target};

use std::time::Duration;

/// Milliseconds as a number.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A runtime on which only virtual time passes.
fn virtual_time() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()
}
