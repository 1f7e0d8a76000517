//! The lobby: newcomers who know nobody are paired in the order in which they came.

use std::collections::VecDeque;

use common::identity::PeerId;

use super::ConnId;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    /// The longest waiting first. No two of them are compatible, or they would have been paired.
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

/// What became of a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It waits.
    Waits,
    /// It was paired with the connection that waited the longest of those who match; both have left.
    Paired(ConnId),
    /// There is no room.
    Full,
}

impl Lobby {
    /// Lets `conn` wait; if it waits already, its exceptions are replaced and it keeps its place.
    pub(super) fn enter(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        mut except: Vec<PeerId>,
        max: usize,
    ) -> Entered {
        except.sort_unstable();
        except.dedup();
        let newcomer = Waiting { conn, peer, except };
        let place = self.waiting.iter().position(|w| w.conn == conn);
        let partner = self.waiting.iter().position(|w| newcomer.accepts(w) && w.accepts(&newcomer));
        if let Some(partner) = partner.and_then(|at| self.waiting.remove(at)) {
            self.leave(conn);
            return Entered::Paired(partner.conn);
        }
        match place {
            Some(at) => self.waiting[at] = newcomer,
            None if self.waiting.len() >= max => return Entered::Full,
            None => self.waiting.push_back(newcomer),
        }
        Entered::Waits
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
        lobby.enter(ConnId(n.into()), peer(n), except.iter().map(|&n| peer(n)).collect(), 3)
    }

    #[test]
    fn first_come_first_paired() {
        let mut lobby = Lobby::default();
        assert_eq!(enter(&mut lobby, 1, &[]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 2, &[1]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 3, &[]), Entered::Paired(ConnId(1)));
        assert_eq!(enter(&mut lobby, 4, &[]), Entered::Paired(ConnId(2)));
        assert_eq!(lobby.len(), 0);
    }

    #[test]
    fn exceptions_hold_on_both_sides_and_can_change() {
        let mut lobby = Lobby::default();
        assert_eq!(enter(&mut lobby, 1, &[2]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 2, &[]), Entered::Waits);
        assert_eq!(enter(&mut lobby, 1, &[]), Entered::Paired(ConnId(2)), "the later word counts");
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
}
