//! Which way two NATs are got through: a pure function of what both are, so that both sides choose the same.

use super::nat::{Choice, Class, Nat};

/// What to do when plain checks to the observed endpoints find nothing (`docs/protocol.md` §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Nothing but plain checks: one of the two NATs is not known.
    Unknown,
    /// Nothing but plain checks: they should get through.
    Plain,
    /// Plain checks, unless one was too early and is held against its sender: then both send from new sockets at the same moment.
    Together,
    /// The other side leads, being the hard one: it says which of its ports to send to.
    Follow,
    /// This side is the hard one and makes mappings towards the other's one endpoint: one whose port can be told from a
    /// counter, or so many that a guess hits one of them.
    Lead(Choice),
    /// Each side may be the hard one: both lead.
    Both(Choice),
    /// Both ports come from counters: each sends to where the other's will soon be.
    Meet {
        /// The step of our counter.
        mine: u16,
        /// The step of theirs.
        theirs: u16,
    },
    /// There is no way that is worth its packets.
    Hopeless(Hopeless),
}

/// Why two NATs cannot be got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hopeless {
    /// Both choose a random port for every remote endpoint. With n mappings on each side, in ranges of a and b ports,
    /// n²/ab of them meet: one in a million for 64 each, and no more than one in 64 for 256 each in blocks of 2,048.
    BothRandom,
    /// One chooses random ports, the other a new one for every packet to another port: of n mappings on the random
    /// side, in a range of b ports, n/b meet. One in 250 for 256 of them, one in eight in a block of 2,048.
    CounterAndRandom,
}

/// What a side behind `mine` does to reach one behind `theirs`, with all that is known of both.
#[must_use]
pub fn method_between(mine: Nat, theirs: Nat) -> Method {
    match method(mine.class(), theirs.class()) {
        Method::Plain if mine.remembers_refused || theirs.remembers_refused => Method::Together,
        other => other,
    }
}

/// What a side behind `mine` does to reach one behind `theirs`.
#[must_use]
pub const fn method(mine: Class, theirs: Class) -> Method {
    use Choice::{Counter, Random};
    use Class::{Doubtful, Easy, Hard, Unknown};
    match (mine, theirs) {
        (Unknown, _) | (_, Unknown) => Method::Unknown,
        (Easy, Easy) => Method::Plain,
        (Easy, Hard(_) | Doubtful(_)) | (Doubtful(_), Hard(_)) => Method::Follow,
        (Hard(choice), Easy | Doubtful(_)) | (Doubtful(choice), Easy) => Method::Lead(choice),
        (Doubtful(choice), Doubtful(_)) => Method::Both(choice),
        (Hard(Counter(mine)), Hard(Counter(theirs))) => Method::Meet { mine, theirs },
        (Hard(Random(_)), Hard(Random(_))) => Method::Hopeless(Hopeless::BothRandom),
        (Hard(Counter(_)), Hard(Random(_))) | (Hard(Random(_)), Hard(Counter(_))) => {
            Method::Hopeless(Hopeless::CounterAndRandom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traversal::nat::PortRange;

    /// Whoever leads is followed, and nobody follows somebody who does not lead.
    #[test]
    fn both_sides_choose_what_fits_together() {
        let choices = [Choice::Counter(2), Choice::Random(PortRange::ALL)];
        let classes: Vec<_> = [Class::Unknown, Class::Easy]
            .into_iter()
            .chain(choices.into_iter().flat_map(|choice| [Class::Doubtful(choice), Class::Hard(choice)]))
            .collect();
        for &a in &classes {
            for &b in &classes {
                let fit = match (method(a, b), method(b, a)) {
                    (Method::Lead(_), other) => other == Method::Follow,
                    (other, Method::Lead(_)) => other == Method::Follow,
                    (Method::Both(_), Method::Both(_)) => true,
                    (Method::Meet { mine, theirs }, Method::Meet { mine: b, theirs: a }) => {
                        (mine, theirs) == (a, b)
                    }
                    (a, b) => a == b && a != Method::Follow,
                };
                assert!(fit, "{a:?} {b:?}: {:?} {:?}", method(a, b), method(b, a));
            }
        }
    }
}
