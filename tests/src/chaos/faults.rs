//! A store that dies at a chosen step, and stays dead, or whose disk is full for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use client::store::{Faults, Point};
use tokio::sync::Notify;

/// Lets one run of a client die once it is told where.
#[derive(Debug, Default)]
pub struct Deadly {
    state: Mutex<State>,
    is_disk_full: AtomicBool,
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Alive,
    /// Dies at this point, after passing it so many times.
    Doomed(Point, usize),
    Dead,
}

impl Deadly {
    /// Alive. `bell` rings at its death.
    #[must_use]
    pub fn new(bell: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), is_disk_full: AtomicBool::new(false), bell }
    }

    /// Dies at `point` once it has been passed `passes` times.
    pub fn doom(&self, point: Point, passes: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Dead) {
            *state = State::Doomed(point, passes);
        }
    }

    /// Takes back a sentence that was not carried out yet.
    pub fn spare(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Doomed(..)) {
            *state = State::Alive;
        }
    }

    /// Its disk is full from now on, or has room again.
    pub fn fill_disk(&self, is_full: bool) {
        self.is_disk_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether it has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Dead)
    }
}

impl Faults for Deadly {
    fn is_disk_full(&self) -> bool {
        self.is_disk_full.load(Ordering::Relaxed)
    }

    fn dies(&self, point: Point) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Alive => false,
            State::Dead => true,
            State::Doomed(at, passes) if *at == point => {
                if *passes > 0 {
                    *passes -= 1;
                    return false;
                }
                *state = State::Dead;
                self.bell.notify_one();
                true
            }
            State::Doomed(..) => false,
        }
    }
}
