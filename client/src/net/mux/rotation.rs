//! Whether mappings of our NAT end at a certain age however busy they are, and when paths are to leave theirs.
//!
//! The main socket's mapping, which the connection to the server keeps busy, shows it. Until it is old enough to say that
//! there is no need, paths leave it once: it goes on as the canary that is older than they are.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::traversal::Rotation;
use common::traversal::nat::{Allocation, Mapping, Nat};

/// The age at which the main mapping is left while nothing is known: many such NATs have a minute.
const FIRST: Duration = Duration::from_secs(42);
/// A main mapping that has become so old shows that there is no need.
const OLD: Duration = Duration::from_secs(600);
/// That the main mapping has changed is seen with the next packet to the server, which may be so late.
const LATE: Duration = Duration::from_secs(12);
/// The shortest life that is renewed: below, more would be spent on that than is gained.
const MIN_LIFETIME: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rotations {
    /// Where the server sees the main socket, and since when.
    observed: Option<(SocketAddr, Instant)>,
    /// The shortest life of a mapping that was seen.
    lifetime: Option<Duration>,
}

impl Rotations {
    /// The server sees the main socket at `observed`.
    pub(super) fn handle_observed(&mut self, now: Instant, observed: SocketAddr) {
        match self.observed {
            Some((before, _)) if before == observed => return,
            Some((before, since)) if before.ip() == observed.ip() => {
                let age = now.saturating_duration_since(since).saturating_sub(LATE);
                // One that lived for longer says that the last one died of something else.
                let is_other = self.lifetime.is_some_and(|lifetime| age > lifetime * 2);
                self.lifetime =
                    if is_other { Some(age) } else { Some(self.lifetime.map_or(age, |l| l.min(age))) };
            }
            Some(_) => self.lifetime = None,
            None => {}
        }
        self.observed = Some((observed, now));
    }

    /// When mappings are to be left.
    pub(super) fn rotation(&self, nat: Nat) -> Option<Rotation> {
        let (_, main_born) = self.observed?;
        // The same port comes back by itself, and a random one for each remote endpoint cannot be named.
        let is_of_use = match nat.allocation {
            Allocation::Preserving => false,
            Allocation::Sequential { .. } => true,
            Allocation::Unknown | Allocation::Random(_) => {
                matches!(nat.mapping, Mapping::Independent | Mapping::OneAddress)
            }
        };
        let rotation = match self.lifetime {
            Some(lifetime) if lifetime < OLD => {
                Rotation { after: lifetime.max(MIN_LIFETIME) * 3 / 4, main_born, until: None }
            }
            _ => Rotation { after: FIRST, main_born, until: Some(main_born + OLD) },
        };
        is_of_use.then_some(rotation)
    }
}

#[cfg(test)]
mod tests {
    use common::traversal::nat::PortRange;

    use super::*;

    #[test]
    fn a_life_is_learned_from_the_main_mapping_and_forgotten_when_it_lives_longer() {
        let start = crate::net::clock::now();
        let at = |secs| start + Duration::from_secs(secs);
        let addr = |port| SocketAddr::from(([198, 51, 100, 1], port));
        let nat = Nat::new(Mapping::Independent, Allocation::Random(PortRange::ALL));
        let mut rotations = Rotations::default();
        assert_eq!(rotations.rotation(nat), None);
        rotations.handle_observed(start, addr(1));
        let first = rotations.rotation(nat).unwrap();
        assert_eq!((first.after, first.until), (FIRST, Some(at(600))));
        assert_eq!(rotations.rotation(Nat { allocation: Allocation::Preserving, ..nat }), None);
        rotations.handle_observed(at(72), addr(2));
        let known = rotations.rotation(nat).unwrap();
        assert_eq!((known.after, known.main_born, known.until), (Duration::from_secs(45), at(72), None));
        rotations.handle_observed(at(72 + 3_600), addr(3));
        assert_eq!(rotations.rotation(nat).unwrap().after, FIRST, "it was something else");
    }
}
