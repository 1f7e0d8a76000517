//! Why packets to a peer take the path that they take and no better one: a pure judgement of what both sides know, for
//! people who ask.

use super::Outlook;
use super::method::{Hopeless, Method};
use super::nat::{Choice, Class, Nat};
use super::path::Tier;
use super::tcp::{TcpOutlook, TcpState};

/// Whether packets of one kind get from a machine to the server and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passes {
    /// Nobody has tried.
    #[default]
    Unknown,
    /// They do.
    Yes,
    /// They do not.
    No,
}

/// What gets out of the network that a machine is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// UDP to the server's port.
    pub udp: Passes,
    /// TCP to the same port number.
    pub tcp: Passes,
}

/// Which of two sides something is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This one.
    Mine,
    /// The peer's.
    Theirs,
    /// Both.
    Both,
}

impl Whose {
    /// The sides of which it is so; `None` for neither.
    #[must_use]
    pub const fn of(mine: bool, theirs: bool) -> Option<Self> {
        match (mine, theirs) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Mine),
            (false, true) => Some(Self::Theirs),
            (false, false) => None,
        }
    }

    /// The same as the peer sees it.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Mine => Self::Theirs,
            Self::Theirs => Self::Mine,
            Self::Both => Self::Both,
        }
    }
}

/// Why there is no better path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is none: packets stay in the local network.
    Local,
    /// There is none: packets go directly over UDP.
    Direct,
    /// UDP does not pass, so that TCP has to do; if that has failed too, so has the relay.
    UdpBlocked(Whose),
    /// UDP does not pass on one side; the other's NAT gives each connection a port that nobody can foresee.
    BlockedAndRandom {
        /// Where UDP does not pass.
        blocked: Whose,
    },
    /// Neither UDP nor TCP passes, but for the web's ports.
    WebOnly(Whose),
    /// Both NATs give each connection a port that nobody can foresee.
    BothRandom,
    /// One NAT does; the other counts its ports, but takes a new one for each guess.
    CounterAndRandom {
        /// Whose ports are random.
        random: Whose,
    },
    /// It is being tried.
    Trying,
    /// What a NAT does is not known, so that nothing but plain tries was made.
    Unknown(Whose),
    /// It should work, and has not: something between the two drops the packets.
    Dropped,
}

/// How much is to be hoped of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prospect {
    /// It may work.
    #[default]
    Fair,
    /// It works only if one side is open to everybody, which a single short try shows.
    Poor,
}

fn has_random_ports(nat: Nat) -> bool {
    matches!(nat.class(), Class::Hard(Choice::Random(_)))
}

impl Outlook {
    /// Where UDP does not reach the server.
    fn udp_blocked(&self) -> Option<Whose> {
        let [mine, theirs] = self.access;
        Whose::of(mine.udp == Passes::No, theirs.udp == Passes::No)
    }

    /// Where neither UDP nor TCP does.
    fn web_only(&self) -> Option<Whose> {
        let is_so = |access: Access| access.udp == Passes::No && access.tcp == Passes::No;
        Whose::of(is_so(self.access[0]), is_so(self.access[1]))
    }

    /// How much is to be hoped of TCP.
    #[must_use]
    pub fn tcp_prospect(&self) -> Prospect {
        let is_udp_out = self.udp_blocked().is_some() || matches!(self.method, Method::Hopeless(_));
        let is_random = has_random_ports(self.mine) || has_random_ports(self.theirs);
        let is_closed = self.access.iter().any(|access| access.tcp == Passes::No);
        if is_udp_out && (is_random || is_closed) { Prospect::Poor } else { Prospect::Fair }
    }

    /// Why packets that travel on a path of `tier`, or on the relay, have no better one.
    #[must_use]
    pub fn cause(&self, tier: Option<Tier>, tcp: TcpOutlook) -> Cause {
        match tier {
            Some(Tier::Lan) => return Cause::Local,
            Some(Tier::Public) => return Cause::Direct,
            Some(Tier::Tcp) | None => {}
        }
        let is_tcp_out = tier.is_none() && tcp.state == TcpState::GivenUp;
        if let Some(blocked) = self.udp_blocked() {
            return match self.web_only() {
                _ if tier.is_some() => Cause::UdpBlocked(blocked),
                Some(whose) => Cause::WebOnly(whose),
                None if self.is_random_towards(blocked) => Cause::BlockedAndRandom { blocked },
                None if is_tcp_out => Cause::UdpBlocked(blocked),
                None => Cause::Trying,
            };
        }
        match self.method {
            Method::Hopeless(Hopeless::BothRandom) => Cause::BothRandom,
            Method::Hopeless(Hopeless::CounterAndRandom) => {
                let random = if has_random_ports(self.mine) { Whose::Mine } else { Whose::Theirs };
                Cause::CounterAndRandom { random }
            }
            _ if self.is_trying || (tier.is_none() && !is_tcp_out) => Cause::Trying,
            Method::Unknown => {
                let is_unknown = |nat: Nat| matches!(nat.class(), Class::Unknown);
                Whose::of(is_unknown(self.mine), is_unknown(self.theirs))
                    .map_or(Cause::Dropped, Cause::Unknown)
            }
            _ => Cause::Dropped,
        }
    }

    /// Whether the side on which UDP does pass has random ports.
    fn is_random_towards(&self, blocked: Whose) -> bool {
        match blocked {
            Whose::Mine => has_random_ports(self.theirs),
            Whose::Theirs => has_random_ports(self.mine),
            Whose::Both => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traversal::nat::{Allocation, Mapping, PortRange};

    const EASY: Nat = Nat::new(Mapping::Independent, Allocation::Preserving);
    const RANDOM: Nat = Nat::new(Mapping::PortDependent, Allocation::Random(PortRange::ALL));
    const COUNTER: Nat = Nat::new(Mapping::PortDependent, Allocation::Sequential { step: 1 });
    const GIVEN_UP: TcpOutlook = TcpOutlook { state: TcpState::GivenUp, failed: 1 };
    const NO_UDP: Access = Access { udp: Passes::No, tcp: Passes::Yes };
    const NOTHING: Access = Access { udp: Passes::No, tcp: Passes::No };

    fn outlook(mine: Nat, theirs: Nat, access: [Access; 2]) -> Outlook {
        Outlook {
            mine,
            theirs,
            access,
            method: crate::traversal::method::method(mine.class(), theirs.class()),
            failures: 0,
            packets: 0,
            checks: 0,
            answered: 0,
            is_trying: false,
        }
    }

    fn cause(mine: Nat, theirs: Nat, access: [Access; 2], tier: Option<Tier>) -> Cause {
        outlook(mine, theirs, access).cause(tier, GIVEN_UP)
    }

    #[test]
    fn what_is_best_has_no_cause() {
        assert_eq!(cause(RANDOM, RANDOM, [NOTHING; 2], Some(Tier::Lan)), Cause::Local);
        assert_eq!(cause(RANDOM, RANDOM, [NOTHING; 2], Some(Tier::Public)), Cause::Direct);
    }

    #[test]
    fn the_obstacle_is_named_and_whose_it_is() {
        let (open, unknown) = (Access::default(), Nat::default());
        let blocked = Cause::BlockedAndRandom { blocked: Whose::Mine };
        for (mine, theirs, access, tier, expected) in [
            (RANDOM, RANDOM, [open; 2], None, Cause::BothRandom),
            (COUNTER, RANDOM, [open; 2], None, Cause::CounterAndRandom { random: Whose::Theirs }),
            (unknown, EASY, [NO_UDP, open], Some(Tier::Tcp), Cause::UdpBlocked(Whose::Mine)),
            (unknown, unknown, [NO_UDP; 2], Some(Tier::Tcp), Cause::UdpBlocked(Whose::Both)),
            (unknown, RANDOM, [NO_UDP, open], None, blocked),
            (EASY, unknown, [open, NOTHING], None, Cause::WebOnly(Whose::Theirs)),
            (unknown, unknown, [NO_UDP, NOTHING], None, Cause::WebOnly(Whose::Theirs)),
            (unknown, EASY, [NO_UDP, open], None, Cause::UdpBlocked(Whose::Mine)),
            (EASY, EASY, [open; 2], None, Cause::Dropped),
            (EASY, EASY, [open; 2], Some(Tier::Tcp), Cause::Dropped),
            (EASY, unknown, [open; 2], None, Cause::Unknown(Whose::Theirs)),
        ] {
            assert_eq!(cause(mine, theirs, access, tier), expected);
            let seen_there = cause(theirs, mine, [access[1], access[0]], tier);
            let reversed = match expected {
                Cause::UdpBlocked(whose) => Cause::UdpBlocked(whose.reversed()),
                Cause::WebOnly(whose) => Cause::WebOnly(whose.reversed()),
                Cause::Unknown(whose) => Cause::Unknown(whose.reversed()),
                Cause::BlockedAndRandom { blocked } => {
                    Cause::BlockedAndRandom { blocked: blocked.reversed() }
                }
                Cause::CounterAndRandom { random } => Cause::CounterAndRandom { random: random.reversed() },
                other => other,
            };
            assert_eq!(seen_there, reversed, "both sides tell the same");
        }
    }

    #[test]
    fn nothing_is_blamed_while_it_is_tried() {
        let waiting = TcpOutlook { state: TcpState::Waiting, failed: 0 };
        let fair = outlook(EASY, EASY, [Access::default(); 2]);
        assert_eq!(fair.cause(None, waiting), Cause::Trying);
        assert_eq!(Outlook { is_trying: true, ..fair }.cause(None, GIVEN_UP), Cause::Trying);
    }

    #[test]
    fn tcp_is_given_up_only_where_nothing_else_is_left_and_ports_cannot_be_foreseen() {
        let prospect = |mine, theirs, access| outlook(mine, theirs, access).tcp_prospect();
        let (open, unknown) = (Access::default(), Nat::default());
        assert_eq!(prospect(RANDOM, EASY, [open; 2]), Prospect::Fair, "UDP may work");
        assert_eq!(prospect(RANDOM, RANDOM, [open; 2]), Prospect::Poor);
        assert_eq!(prospect(RANDOM, unknown, [open, NO_UDP]), Prospect::Poor);
        assert_eq!(prospect(COUNTER, unknown, [open, NO_UDP]), Prospect::Fair);
        assert_eq!(prospect(unknown, EASY, [NOTHING, open]), Prospect::Poor);
        assert_eq!(prospect(EASY, EASY, [Access { tcp: Passes::No, ..open }, open]), Prospect::Fair);
    }
}
