//! Goes through states.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::world::{Step, World};

/// Steps of one random way: more than any takes that comes to rest.
const MAX_WALK: usize = 20_000;

/// How much may go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    /// Crashes.
    pub(super) crashes: u8,
    /// Streams that are cut for a while, one at a time.
    pub(super) cuts: u8,
    /// In which order things arrive.
    pub(super) order: Order,
}

/// In which order what is on its way on several streams arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// In any.
    #[default]
    Any,
    /// In one, and so many writings, crashes, cuts and their ends may fall among it before it is quiet again; the rest comes
    /// when it is.
    One {
        /// How many.
        among: u8,
    },
}

/// A state on the way that is being looked at.
struct Stop {
    world: World,
    steps: Vec<Step>,
    next: usize,
    fingerprint: u64,
}

impl Stop {
    fn new(world: World, fingerprint: u64) -> Self {
        Self { steps: world.steps(), world, next: 0, fingerprint }
    }

    /// The step that was taken last.
    fn taken(&self) -> Step {
        self.steps[self.next - 1]
    }
}

/// Visits every state that can be reached, each once; returns how many there are.
///
/// # Panics
/// If something does not hold in one of them, or a way leads back to where it was.
pub(super) fn explore(start: World) -> usize {
    // Whether all that follows has been seen.
    let mut seen: HashMap<u64, bool> = HashMap::new();
    let fingerprint = start.fingerprint();
    seen.insert(fingerprint, false);
    let mut way = vec![Stop::new(start, fingerprint)];
    while let Some(stop) = way.last_mut() {
        if stop.next == stop.steps.len() {
            seen.insert(stop.fingerprint, true);
            way.pop();
            continue;
        }
        stop.next += 1;
        let mut world = stop.world.clone();
        let step = stop.taken();
        let went = catch_unwind(AssertUnwindSafe(|| world.take(step)));
        let fingerprint = world.fingerprint();
        let is_known = seen.get(&fingerprint).copied();
        let went = went.and_then(|()| match is_known {
            Some(true) => Ok(()),
            Some(false) => catch_unwind(|| panic!("this goes on for ever")),
            None => catch_unwind(AssertUnwindSafe(|| world.check())),
        });
        if went.is_err() {
            let steps: Vec<_> = way.iter().map(Stop::taken).collect();
            panic!("after {steps:?}");
        }
        if is_known.is_none() {
            seen.insert(fingerprint, false);
            way.push(Stop::new(world, fingerprint));
        }
    }
    seen.len()
}

/// Goes one way to where nothing can come next, by chance; returns how many steps that took.
///
/// # Panics
/// If something does not hold on it, or it does not end.
pub(super) fn walk(mut world: World, seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    for count in 0..MAX_WALK {
        let steps = world.steps();
        if steps.is_empty() {
            return count;
        }
        world.take(steps[rng.random_range(0..steps.len())]);
        world.check();
    }
    panic!("seed {seed} goes on for ever");
}
