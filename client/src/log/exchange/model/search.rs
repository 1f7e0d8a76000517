//! Goes through states.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::world::{Left, Step, World};

/// Steps of one random way: more than any takes that comes to rest.
const MAX_WALK: usize = 20_000;
/// A bound that is none.
pub(super) const ANY: u8 = u8::MAX;

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Messages that are written, by whomever.
    pub(super) messages: u8,
    /// Crashes.
    pub(super) crashes: u8,
    /// Streams that are cut for a while, one at a time.
    pub(super) cuts: u8,
    /// So many writings, crashes, cuts and their ends may fall among what is under way, before it is quiet again; the rest
    /// comes when it is.
    pub(super) among: u8,
    /// So often something may come before what would be next, until it is quiet again: what is on its way on
    /// several streams, and who tells of news. With [`ANY`] all of it comes in any order.
    pub(super) overtaken: u8,
    /// Whether a message is handed on by those to whom its author brings it.
    pub(super) branches: Branches,
}

/// To whom a message is handed on by those who have it from its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branches {
    /// To nobody: all are connected with the author.
    None,
    /// To all others, so that it comes to them by several ways.
    All,
}

/// How a state was come to.
struct Trail {
    step: Step,
    before: Option<Rc<Self>>,
}

impl Trail {
    fn steps(trail: Option<&Rc<Self>>) -> Vec<Step> {
        let mut steps: Vec<_> =
            std::iter::successors(trail, |trail| trail.before.as_ref()).map(|trail| trail.step).collect();
        steps.reverse();
        steps
    }
}

/// A state on the way that is being looked at.
struct Stop {
    world: World,
    trail: Option<Rc<Trail>>,
    steps: Vec<Step>,
    key: Key,
}

/// A state, and how much may still happen.
type Key = (u64, Left);

/// States that were seen.
#[derive(Default)]
struct Search {
    /// By what they are: how much was left each time, and whether all that follows without more than moves has been seen.
    seen: HashMap<u64, Vec<(Left, bool)>>,
    /// What waits for its turn.
    put_off: HashSet<Key>,
}

impl Search {
    /// Whether a state was seen in which at least as much may still happen: what follows is the same and more.
    fn covers(&self, (fingerprint, left): Key) -> bool {
        let is_more = |more: &Left| more.iter().zip(left).all(|(more, left)| *more >= left);
        self.seen.get(&fingerprint).is_some_and(|seen| seen.iter().any(|(more, _)| is_more(more)))
    }

    /// Whether the way to where we are leads through it.
    fn is_on_way(&self, (fingerprint, left): Key) -> bool {
        self.seen.get(&fingerprint).is_some_and(|seen| seen.contains(&(left, false)))
    }

    fn note(&mut self, (fingerprint, left): Key, is_done: bool) {
        let seen = self.seen.entry(fingerprint).or_default();
        seen.retain(|(other, _)| *other != left);
        seen.push((left, is_done));
    }

    /// Visits what follows from a state while as much is left; puts everything else that follows into `later`.
    fn visit(&mut self, start: Stop, later: &mut Vec<Stop>) {
        let left = start.key.1;
        let mut way = vec![start];
        while let Some(stop) = way.last_mut() {
            let Some(step) = stop.steps.pop() else {
                self.note(stop.key, true);
                way.pop();
                continue;
            };
            let mut world = stop.world.clone();
            let trail = Rc::new(Trail { step, before: stop.trail.clone() });
            let went = catch_unwind(AssertUnwindSafe(|| world.take(step)));
            let key = (world.fingerprint(), world.left());
            let is_known = self.covers(key);
            let is_again = key.1 == left && self.is_on_way(key);
            let went = went.and_then(|()| match is_known {
                _ if is_again => catch_unwind(|| panic!("this goes on for ever")),
                true => Ok(()),
                false => catch_unwind(AssertUnwindSafe(|| world.check())),
            });
            if went.is_err() {
                panic!("after {:?}", Trail::steps(Some(&trail)));
            }
            if is_known {
                continue;
            }
            let next = Stop { steps: world.steps(), world, trail: Some(trail), key };
            if key.1 == left {
                self.note(key, false);
                way.push(next);
            } else if self.put_off.insert(key) {
                later.push(next);
            }
        }
    }
}

/// Visits every state that can be reached, each once unless more may happen in it the second time; returns how many there
/// are. Those in which more may still happen come first.
///
/// # Panics
/// If something does not hold in one of them, or a way leads back to where it was.
pub(super) fn explore(start: World) -> usize {
    let mut search = Search::default();
    let (steps, key) = (start.steps(), (start.fingerprint(), start.left()));
    let mut layers = BTreeMap::from([(key.1, vec![Stop { steps, world: start, trail: None, key }])]);
    while let Some((_, layer)) = layers.pop_last() {
        for stop in layer {
            if search.covers(stop.key) {
                continue;
            }
            search.note(stop.key, false);
            let mut later = Vec::new();
            search.visit(stop, &mut later);
            for stop in later {
                layers.entry(stop.key.1).or_default().push(stop);
            }
        }
    }
    search.seen.len()
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
