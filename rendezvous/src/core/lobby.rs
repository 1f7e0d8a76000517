//! The lobby: newcomers who know nobody are paired in the order in which they came.
//!
//! Each arrival is compared with all who wait, so their number is bounded. Who comes when the lobby is full is
//! compared all the same; without a match it waits outside, where nobody is compared with it, until a place gets
//! free. Each connection waits at most once, so there are no more wishes than connections.

use std::collections::{BTreeMap, HashMap, VecDeque};

use common::identity::PeerId;

use super::ConnId;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    /// The longest waiting first. No two of them match, or they would have been paired.
    waiting: VecDeque<Waiting>,
    /// Who waits for a place, by ticket. Empty while there is one.
    outside: BTreeMap<u64, Waiting>,
    /// The tickets of those outside.
    tickets: HashMap<ConnId, u64>,
    /// Tickets given out so far.
    given: u64,
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

impl Lobby {
    /// Pairs `conn` with who waits the longest of those who match, or lets it wait; if it waits already, its
    /// exceptions are replaced and it keeps its place. Only those match of whom `may` tells that the later one may
    /// ask for the earlier one. At most `max` wait inside; [`Lobby::admit`] has to follow.
    pub(super) fn enter(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        mut except: Vec<PeerId>,
        max: usize,
        may: impl Fn(&Pair) -> bool,
    ) -> Option<Pair> {
        except.sort_unstable();
        except.dedup();
        let newcomer = Waiting { conn, peer, except };
        let place = self.place(conn);
        if let Some(pair) = self.find(&newcomer, place.unwrap_or(self.waiting.len()), may) {
            return Some(self.part(pair));
        }
        match place {
            Some(at) => self.waiting[at] = newcomer,
            None if self.waiting.len() < max => self.waiting.push_back(newcomer),
            None => {
                let ticket = *self.tickets.entry(conn).or_insert(self.given);
                self.given += u64::from(ticket == self.given);
                self.outside.insert(ticket, newcomer);
            }
        }
        None
    }

    /// Lets those outside in, the first first, while there are places, up to one who matches; to be called until
    /// there is no pair, whenever somebody may have left.
    pub(super) fn admit(&mut self, max: usize, may: impl Fn(&Pair) -> bool) -> Option<Pair> {
        while self.waiting.len() < max {
            let (_, newcomer) = self.outside.pop_first()?;
            self.tickets.remove(&newcomer.conn);
            if let Some(pair) = self.find(&newcomer, self.waiting.len(), &may) {
                return Some(self.part(pair));
            }
            self.waiting.push_back(newcomer);
        }
        None
    }

    /// Looks again for somebody who matches `conn`, if it waits: `may` may tell something else by now.
    pub(super) fn retry(&mut self, conn: ConnId, may: impl Fn(&Pair) -> bool) -> Option<Pair> {
        let (waiting, place) = match self.place(conn) {
            Some(place) => (&self.waiting[place], place),
            None => (self.outside.get(self.tickets.get(&conn)?)?, self.waiting.len()),
        };
        self.find(waiting, place, may).map(|pair| self.part(pair))
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
        if let Some(ticket) = self.tickets.remove(&conn) {
            self.outside.remove(&ticket);
        } else {
            self.waiting.retain(|w| w.conn != conn);
        }
    }

    /// How many wait inside, and how many outside.
    #[must_use]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.outside.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn enter(lobby: &mut Lobby, n: u8, except: &[u8]) -> Option<Pair> {
        lobby.enter(ConnId(n.into()), peer(n), except.iter().map(|&n| peer(n)).collect(), 3, |_| true)
    }

    fn paired(later: u64, earlier: u64) -> Option<Pair> {
        Some(Pair { later: ConnId(later), earlier: ConnId(earlier) })
    }

    #[test]
    fn first_come_first_paired() {
        let mut lobby = Lobby::default();
        assert_eq!(enter(&mut lobby, 1, &[]), None);
        assert_eq!(enter(&mut lobby, 2, &[1]), None);
        assert_eq!(enter(&mut lobby, 3, &[]), paired(3, 1));
        assert_eq!(enter(&mut lobby, 4, &[]), paired(4, 2));
        assert_eq!(lobby.counts(), (0, 0));
    }

    #[test]
    fn exceptions_hold_on_both_sides_and_can_change() {
        let mut lobby = Lobby::default();
        assert_eq!(enter(&mut lobby, 1, &[2]), None);
        assert_eq!(enter(&mut lobby, 2, &[]), None);
        assert_eq!(enter(&mut lobby, 1, &[]), paired(2, 1), "the later word counts");
        assert_eq!(lobby.counts(), (0, 0));
    }

    #[test]
    fn who_finds_it_full_waits_outside_for_a_place() {
        let mut lobby = Lobby::default();
        let all = [1, 2, 3, 4, 5, 6];
        let admit = |lobby: &mut Lobby| lobby.admit(3, |_| true);
        for n in 1..=6 {
            assert_eq!(enter(&mut lobby, n, &all), None);
        }
        assert_eq!(enter(&mut lobby, 2, &all), None, "once only");
        assert_eq!(enter(&mut lobby, 4, &all), None, "once only, outside too");
        assert_eq!((lobby.counts(), admit(&mut lobby)), ((3, 3), None));

        lobby.leave(ConnId(5));
        lobby.leave(ConnId(2));
        lobby.leave(ConnId(9));
        assert_eq!(
            (admit(&mut lobby), lobby.counts()),
            (None, (3, 1)),
            "the first of those outside has its place"
        );
        assert_eq!(lobby.place(ConnId(4)), Some(2));

        assert_eq!(enter(&mut lobby, 4, &[]), None);
        assert_eq!(enter(&mut lobby, 6, &[]), paired(6, 4), "compared although it is full");
        assert_eq!((admit(&mut lobby), lobby.counts()), (None, (2, 0)));
        assert!(lobby.tickets.is_empty());
    }

    #[test]
    fn who_is_let_in_is_paired_at_once() {
        let mut lobby = Lobby::default();
        for (n, except) in [(1, &[2, 3, 4, 5][..]), (2, &[3, 4, 5]), (3, &[4, 5]), (4, &[]), (5, &[])] {
            assert_eq!(enter(&mut lobby, n, except), None);
        }
        lobby.leave(ConnId(1));
        assert_eq!(lobby.admit(3, |_| true), None);
        lobby.leave(ConnId(2));
        assert_eq!(lobby.admit(3, |_| true), paired(5, 4));
        assert_eq!((lobby.admit(3, |_| true), lobby.counts()), (None, (1, 0)));
    }

    #[test]
    fn who_may_not_be_introduced_waits_until_it_may() {
        let mut lobby = Lobby::default();
        let never = |_: &Pair| false;
        for n in 1..=2u8 {
            assert_eq!(lobby.enter(ConnId(n.into()), peer(n), Vec::new(), 3, never), None);
        }
        assert_eq!(lobby.retry(ConnId(1), never), None);
        assert_eq!(lobby.retry(ConnId(3), |_| true), None);
        let pair = Pair { later: ConnId(2), earlier: ConnId(1) };
        assert_eq!(lobby.retry(ConnId(1), |_| true), Some(pair), "the order of coming holds");
        assert_eq!(lobby.counts(), (0, 0));
    }
}
