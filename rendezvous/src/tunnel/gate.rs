//! How many may be inside at once, in all and from one source.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::Source;

/// A counter with bounds.
#[derive(Debug)]
pub(super) struct Gate {
    max: usize,
    max_per_source: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_source: HashMap<Source, usize>,
}

/// Leave to be inside, for as long as it lives.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    source: Source,
}

impl Gate {
    /// Lets in `max` in all, and `max_per_source` from one IPv4 address or IPv6 /64.
    pub(super) fn new(max: usize, max_per_source: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_source, inside: Mutex::default() })
    }

    /// Lets somebody from `addr` in; `None` when it is full.
    pub(super) fn enter(self: &Arc<Self>, addr: SocketAddr) -> Option<Pass> {
        let source = Source::of(addr);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let same = inside.by_source.get(&source).copied().unwrap_or(0);
        if inside.total >= self.max || same >= self.max_per_source {
            return None;
        }
        inside.total += 1;
        inside.by_source.insert(source, same + 1);
        Some(Pass { gate: Arc::clone(self), source })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        if let Some(count) = inside.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                inside.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_in_all_and_per_source_and_forgets_who_left() {
        let gate = Gate::new(3, 2);
        let addr = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        let first = gate.enter(addr("192.0.2.1")).unwrap();
        let _second = gate.enter(addr("192.0.2.1")).unwrap();
        assert!(gate.enter(addr("192.0.2.1")).is_none());
        let _third = gate.enter(addr("192.0.2.2")).unwrap();
        assert!(gate.enter(addr("192.0.2.3")).is_none(), "full");
        drop(first);
        let fourth = gate.enter(addr("2001:db8::1")).unwrap();
        drop(fourth);
        assert_eq!(gate.inside.lock().unwrap().by_source.len(), 2);
    }
}
