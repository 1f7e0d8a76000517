//! The lobby: newcomers who know nobody are paired in the order in which they came.

use std::collections::VecDeque;

use common::identity::PeerId;

use super::ConnId;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    /// The longest waiting first. No two of them match, or they would have been paired.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    conn: ConnId,
    peer: PeerId,
    /// Sorted.
    except: Vec<PeerId>,
}

impl Waiting {
    fn accepts(&self, other: &Self) -> bool {
        self.peer != other.peer && self.except.binary_search(&other.peer).is_err()
    }
}

/// Two who match; both have left the lobby.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// Who came later; it asks for the other, and dials.
    pub(super) later: ConnId,
    /// Who came earlier.
    pub(super) earlier: ConnId,
}

/// What became of a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It waits.
    Waits,
    /// It was paired with who waited the longest of those who match.
    Paired(Pair),
    /// There is no room.
    Full,
}

impl Lobby {
    /// Lets `conn` wait; if it waits already, its exceptions are replaced and it keeps its place. Only those match
    /// of whom `may` tells that the later one may ask for the earlier one.
    pub(super) fn enter(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        mut except: Vec<PeerId>,
        max: usize,
        may: impl Fn(&Pair) -> bool,
    ) -> Entered {
        except.sort_unstable();
        except.dedup();
        let newcomer = Waiting { conn, peer, except };
        let place = self.place(conn);
        if let Some(pair) = self.find(&newcomer, place.unwrap_or(self.waiting.len()), may) {
            return Entered::Paired(self.part(pair));
        }
        match place {
            Some(at) => self.waiting[at] = newcomer,
            None if self.waiting.len() >= max => return Entered::Full,
            None => self.waiting.push_back(newcomer),
        }
        Entered::Waits
    }

    /// Looks again for somebody who matches `conn`, if it waits: `may` may tell something else by now.
    pub(super) fn retry(&mut self, conn: ConnId, may: impl Fn(&Pair) -> bool) -> Option<Pair> {
        let place = self.place(conn)?;
        self.find(&self.waiting[place], place, may).map(|pair| self.part(pair))
    }

    fn place(&self, conn: ConnId) -> Option<usize> {
        self.waiting.iter().position(|w| w.conn == conn)
    }

    /// The pair of `newcomer`, whose place is or will be `place`, and who waits the longest of those who match it.
    fn find(&self, newcomer: &Waiting, place: usize, may: impl Fn(&Pair) -> bool) -> Option<Pair> {
        let matching = |(at, w): (usize, &Waiting)| {
            let (later, earlier) = if at < place { (newcomer, w) } else { (w, newcomer) };
            let pair = Pair { later: later.conn, earlier: earlier.conn };
            (newcomer.accepts(w) && w.accepts(newcomer) && may(&pair)).then_some(pair)
        };
        self.waiting.iter().enumerate().find_map(matching)
    }

    fn part(&mut self, pair: Pair) -> Pair {
        self.leave(pair.later);
        self.leave(pair.earlier);
        pair
    }

    /// Lets `conn` go, if it waits.
    pub(super) fn leave(&mut self, conn: ConnId) {
        self.waiting.retain(|w| w.conn != conn);
    }

    /// How many wait.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn enter(lobby: &mut Lobby, n: u8, except: &[u8]) -> Entered {
        lobby.enter(ConnId(n.into()), peer(n), except.iter().map(|&n| peer(n)).collect(), 3, |_| true)
    }

    fn paired(later: u64, earlier: u64) -> Entered {
        Entered::Paired(Pair { later: ConnId(later), earlier: ConnId(earlier) })
    }

    #[test]
    fn first_come_first_paired() {
        let mut lobby = Lobby::default();
        assert_eq!(enter(&mut lobby, 1, &[]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 2, &[1]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 3, &[]), paired(3, 1));
        assert_eq!(enter(&mut lobby, 4, &[]), paired(4, 2));
        assert_eq!(lobby.len(), 0);
    }

    #[test]
    fn exceptions_hold_on_both_sides_and_can_change() {
        let mut lobby = Lobby::default();
        assert_eq!(enter(&mut lobby, 1, &[2]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 2, &[]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 1, &[]), paired(2, 1), "the later word counts");
        assert_eq!(lobby.len(), 0);
    }

    #[test]
    fn bounded_and_left() {
        let mut lobby = Lobby::default();
        let all = [1, 2, 3, 4, 5];
        for n in 1..=3 {
            assert_eq!(enter(&mut lobby, n, &all), Entered::Waits);
        }
        assert_eq!(enter(&mut lobby, 2, &all), Entered::Waits, "once only");
        assert_eq!(enter(&mut lobby, 4, &all), Entered::Full);
        lobby.leave(ConnId(2));
        lobby.leave(ConnId(9));
        assert_eq!(enter(&mut lobby, 4, &all), Entered::Waits);
    }

    #[test]
    fn who_may_not_be_introduced_waits_until_it_may() {
        let mut lobby = Lobby::default();
        let never = |_: &Pair| false;
        for n in 1..=2u8 {
            assert_eq!(lobby.enter(ConnId(n.into()), peer(n), Vec::new(), 3, never), Entered::Waits);
        }
        assert_eq!(lobby.retry(ConnId(1), never), None);
        assert_eq!(lobby.retry(ConnId(3), |_| true), None);
        let pair = Pair { later: ConnId(2), earlier: ConnId(1) };
        assert_eq!(lobby.retry(ConnId(1), |_| true), Some(pair), "the order of coming holds");
        assert_eq!(lobby.len(), 0);
    }
}
