//! Many seeds at once.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::plan::Plan;
use super::run::{self, Summary};

/// How long, in real time, all seeds together may show nothing before one counts as stuck.
const STUCK: Duration = Duration::from_secs(180);
/// Threads for the store of one world. With one, its work is done in the order in which it was asked for.
const BLOCKING_THREADS: usize = 1;

/// A seed and what came of it.
pub type Outcome = (u64, Result<Summary, String>);

/// Runs one seed in this thread.
///
/// # Errors
/// What is wrong with the outcome, with the plan.
pub fn run_seed(seed: u64, verbose: bool) -> Result<Summary, String> {
    let plan = Plan::new(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .expect("a runtime without sockets can always be made");
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run::run(&plan, verbose))));
    let result = result.unwrap_or_else(|panic| Err(message_of(&*panic)));
    result.map_err(|error| format!("seed {seed}: {error}\n{plan:#?}"))
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Runs the seeds of a range on all processors and shows each outcome to `see`.
///
/// # Panics
/// If nothing happens for three minutes of real time.
pub fn run_many(seeds: std::ops::Range<u64>, mut see: impl FnMut(Outcome)) {
    let next = Arc::new(AtomicU64::new(seeds.start));
    let (sender, outcomes) = mpsc::channel();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..workers {
        let (next, sender) = (Arc::clone(&next), sender.clone());
        let end = seeds.end;
        thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end || sender.send((seed, run_seed(seed, false))).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut missing: std::collections::BTreeSet<_> = seeds.collect();
    while !missing.is_empty() {
        match outcomes.recv_timeout(STUCK) {
            Ok(outcome) => {
                missing.remove(&outcome.0);
                see(outcome);
            }
            Err(error) => {
                let first: Vec<_> = missing.iter().take(workers).collect();
                panic!(
                    "{error}: one of these seeds is stuck, or a thread of its own has panicked: {first:?}"
                );
            }
        }
    }
}
