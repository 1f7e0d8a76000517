//! Two sides that look for a TCP connection through two NATs of the model, in virtual time: the real decisions
//! (`common::traversal::tcp`) with just enough of TCP between them (RFC 9293 §3.5).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::traversal::cause::Prospect;
use common::traversal::tcp::{
    Action, Observation, Offer, Reach, TcpOutlook, TcpPunch, TcpState, likely_endpoints,
};

use crate::nat::{Flow, Nat, Profile, Proto, Rejection, TcpFlags, Verdict};

/// One way between the two, directly and over the server.
const ONE_WAY: Duration = Duration::from_millis(50);
/// How long a pair may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between attempts to connect to an endpoint that refused.
const RETRY: Duration = Duration::from_millis(100);
/// After this long a SYN is sent again.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// A host behind its NAT, with one port of a round.
struct Side {
    nat: Option<Nat>,
    local: SocketAddr,
    punch: TcpPunch,
    /// Where it has sent a SYN to.
    calling: BTreeSet<SocketAddr>,
    connected: bool,
}

/// What happens next.
enum Input {
    Offer(Offer),
    Segment(Flow),
    /// A SYN is sent to there, for the first time or again.
    Call(SocketAddr),
}

struct Pair {
    begin: Instant,
    now: Duration,
    sides: [Side; 2],
    inputs: Vec<(Duration, usize, Input)>,
}

impl Side {
    fn new(profile: Option<Profile>, n: u8, now: Instant) -> Self {
        let public = SocketAddr::from(([198, 51, 100, n], 0)).ip();
        let local = profile.map_or(public, |_| SocketAddr::from(([192, 168, n, 10], 0)).ip());
        let nat = profile.map(|profile| Nat::new(profile, vec![public], u64::from(n)));
        let mut punch = TcpPunch::new(ONE_WAY * 2, u64::from(n));
        punch.handle_reach(now, Reach::Relay);
        Self { nat, local: SocketAddr::new(local, 0), punch, calling: BTreeSet::new(), connected: false }
    }

    /// A segment on its way out.
    fn out(&mut self, now: Duration, flow: Flow) -> Option<Flow> {
        let Some(nat) = &mut self.nat else { return Some(flow) };
        match nat.outbound(now, flow) {
            Verdict::Forward(flow) => Some(flow),
            Verdict::Drop(_) | Verdict::Reject(_) | Verdict::Hairpin(_) => None,
        }
    }

    /// What a server sees of a connection from `port`.
    fn observe(&mut self, now: Duration, port: u16) -> Option<Observation> {
        let local = SocketAddr::new(self.local.ip(), port);
        let server = SocketAddr::from(([203, 0, 113, 1], 5000));
        let public = self.out(now, Flow::tcp(TcpFlags::SYN, local, server))?.src;
        Some(Observation { local_port: port, public })
    }
}

impl Pair {
    fn act(&mut self, me: usize) {
        let (now, at) = (self.now, self.begin + self.now);
        let side = &mut self.sides[me];
        while let Some(action) = side.punch.poll_action() {
            match action {
                Action::Prepare(round) => {
                    let port = 40_000 + u16::try_from(round).expect("few rounds");
                    side.local.set_port(port);
                    let addrs = side.observe(now, port).map_or_else(Vec::new, |first| {
                        let second = (!first.is_preserved()).then(|| side.observe(now, port + 100)).flatten();
                        likely_endpoints(first, second)
                    });
                    side.punch.handle_prepared(at, round, addrs);
                }
                Action::Tell(offer) => self.inputs.push((now + ONE_WAY, 1 - me, Input::Offer(offer))),
                Action::Connect(addrs) => {
                    let calls = addrs.into_iter().map(|to| (now, me, Input::Call(to)));
                    self.inputs.extend(calls);
                }
                Action::Close | Action::Leave => {
                    side.calling.clear();
                    self.inputs.retain(|(_, of, input)| *of != me || !matches!(input, Input::Call(_)));
                }
            }
        }
    }

    fn send(&mut self, me: usize, flags: TcpFlags, to: SocketAddr) {
        let flow = Flow::tcp(flags, self.sides[me].local, to);
        if let Some(flow) = self.sides[me].out(self.now, flow) {
            self.inputs.push((self.now + ONE_WAY, 1 - me, Input::Segment(flow)));
        }
    }

    fn handle(&mut self, me: usize, input: Input) {
        match input {
            Input::Offer(offer) => self.sides[me].punch.handle_offer(self.begin + self.now, offer),
            Input::Call(to) => {
                self.sides[me].calling.insert(to);
                self.send(me, TcpFlags::SYN, to);
                self.inputs.push((self.now + SYN_AGAIN, me, Input::Call(to)));
            }
            Input::Segment(flow) => self.arrive(me, flow),
        }
    }

    /// A segment reaches the NAT of `me`.
    fn arrive(&mut self, me: usize, flow: Flow) {
        let side = &mut self.sides[me];
        let admitted = match &mut side.nat {
            Some(nat) => nat.inbound(self.now, flow),
            None => Verdict::Forward(flow),
        };
        match admitted {
            Verdict::Forward(inner) if inner.dst == side.local => {
                let Proto::Tcp(flags) = inner.proto else { return };
                if flags.rst {
                    // Refused: tried again soon, from the same port.
                    if side.calling.remove(&inner.src) {
                        self.inputs.push((self.now + RETRY, me, Input::Call(inner.src)));
                    }
                } else if flags.ack {
                    side.connected |= side.calling.contains(&inner.src);
                } else {
                    // The listener takes it, or the two SYNs have crossed: the answer is the same.
                    side.calling.insert(inner.src);
                    self.send(me, TcpFlags::SYN_ACK, inner.src);
                }
            }
            Verdict::Reject(Rejection::TcpReset) => {
                let reset = Flow::tcp(TcpFlags::RST, flow.dst, flow.src);
                self.inputs.push((self.now + ONE_WAY, 1 - me, Input::Segment(reset)));
            }
            Verdict::Forward(_) | Verdict::Drop(_) | Verdict::Reject(_) | Verdict::Hairpin(_) => {}
        }
    }

    /// Plays until a connection stands, which is when one side has had its SYN answered, or both have given up.
    fn play(mut self) -> Outcome {
        while self.now < PATIENCE {
            (0..2).for_each(|me| self.act(me));
            let outlooks = self.sides.each_ref().map(|side| side.punch.outlook());
            let connects = self.sides.iter().any(|side| side.connected);
            if connects || outlooks.iter().all(|outlook| outlook.state == TcpState::GivenUp) {
                return Outcome { connects, took: self.now, outlooks };
            }
            let timers = self.sides.iter().filter_map(|side| side.punch.poll_timeout());
            let timers = timers.map(|at| at.saturating_duration_since(self.begin));
            let next = timers.chain(self.inputs.iter().map(|(at, ..)| *at)).min();
            self.now = self.now.max(next.expect("rounds go on for longer than this"));
            let (due, later) =
                std::mem::take(&mut self.inputs).into_iter().partition(|(at, ..)| *at <= self.now);
            self.inputs = later;
            let due: Vec<_> = due;
            due.into_iter().for_each(|(_, me, input)| self.handle(me, input));
            let at = self.begin + self.now;
            self.sides.iter_mut().for_each(|side| side.punch.handle_timeout(at));
        }
        let outlooks = self.sides.each_ref().map(|side| side.punch.outlook());
        Outcome { connects: false, took: self.now, outlooks }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Whether there is a connection.
    pub connects: bool,
    /// How long it took, until then or until both had given up.
    pub took: Duration,
    /// What both sides make of it.
    pub outlooks: [TcpOutlook; 2],
}

/// Lets two sides behind these NATs, `None` for a public address, look for a connection at once, with as much hope as
/// `prospect` says.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
pub fn tcp_duel(a: Option<Profile>, b: Option<Profile>, prospect: Prospect) -> Outcome {
    let begin = Instant::now();
    let mut sides = [Side::new(a, 1, begin), Side::new(b, 2, begin)];
    if prospect == Prospect::Poor {
        for side in &mut sides {
            side.punch.set_prospect(begin, prospect);
            side.punch.hurry(begin);
        }
    }
    Pair { begin, now: Duration::ZERO, sides, inputs: Vec::new() }.play()
}
