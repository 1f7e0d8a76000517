//! Which way packets take, and which paths are kept besides.

use std::time::Instant;

use super::path::{Miss, Path};
use super::{Agent, Event, Tier, Way, tier};

/// How packets for the peer should travel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through the server.
    Relay,
    /// Directly.
    Direct(Way),
    /// Directly and through the server: the direct path has missed an answer.
    Both(Way),
}

impl Route {
    /// The direct path in use, if any.
    #[must_use]
    pub const fn direct(self) -> Option<Way> {
        match self {
            Self::Relay => None,
            Self::Direct(way) | Self::Both(way) => Some(way),
        }
    }
}

impl Agent {
    /// Chooses the route anew: the best path by tier and round trip, with hysteresis; the relay beside a path
    /// that has missed an answer; the relay alone when nothing answers.
    pub(super) fn reroute(&mut self, now: Instant) {
        let current = self.route.direct();
        let sound = |path: &&Path| path.miss() == Miss::None && path.is_proven();
        let active = self.paths.iter().find(|path| Some(path.way) == current && path.is_alive());
        let best = self.paths.iter().filter(sound).min_by_key(|path| path.rank());
        let route = match (active, best) {
            (Some(active), Some(best)) if best.beats(active) => Route::Direct(best.way),
            (Some(active), _) if active.miss() == Miss::None => Route::Direct(active.way),
            (Some(active), _) => Route::Both(active.way),
            (None, Some(best)) => Route::Direct(best.way),
            (None, None) => Route::Relay,
        };
        if route != self.route {
            let had_udp = self.has_udp();
            self.route = route;
            match route {
                // TCP is no reason to stop looking for something better.
                Route::Direct(_) if self.has_udp() => self.punch.handle_direct(now),
                Route::Direct(_) if had_udp => self.punch.handle_lost(now),
                Route::Relay => self.punch.handle_lost(now),
                Route::Direct(_) | Route::Both(_) => {}
            }
            self.events.push_back(Event::Routed(route));
        }
    }

    /// Whether packets go directly over UDP.
    pub(super) fn has_udp(&self) -> bool {
        self.route.direct().is_some_and(|way| tier(way.remote) != Tier::Tcp)
    }

    /// Keeps the path in use and one spare under measurement, unless nothing is said anyway; the others rest.
    pub(super) fn rest_others(&mut self, now: Instant) {
        let Route::Direct(current) = self.route else { return };
        let spares = usize::from(!self.is_idle(now));
        let mut others: Vec<_> =
            self.paths.iter_mut().filter(|path| path.is_alive() && path.way != current).collect();
        others.sort_by_key(|path| path.rank());
        for path in others.into_iter().skip(spares) {
            path.rest(now);
        }
    }
}
