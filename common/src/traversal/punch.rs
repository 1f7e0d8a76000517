//! Hard NATs: chooses a [`method`](super::method), runs it when plain checks have found nothing, and tries again later
//! (`docs/protocol.md` §5.4). It owns no path: a hit is an authenticated request, of which the agent makes a path.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Local;
use super::birthday::{Birthday, mappings_for};
use super::cause::Access;
use super::guess::Guess;
use super::meet::Meet;
use super::method::{Method, method_between};
use super::nat::{Choice, Class, Nat};
use super::predict::Predict;
use super::renewal::Renewal;
use super::signal::{Aim, Counter, Signal};
use super::together::{self, Together};
use super::tools::{Order, Output, Tools};
use crate::stun::binding;
use crate::stun::check::TransactionId;

/// What plain checks have before anything else is tried: they need a round trip or two from the introduction on.
const HEAD_START: Duration = Duration::from_millis(200);
/// What they have if they may well be enough.
const LONG_HEAD_START: Duration = Duration::from_millis(1200);
/// Least time between two rounds that the other side begins, and between two of its wishes for many guesses.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// After a hit the new path may take this long to prove itself.
const HIT_GRACE: Duration = Duration::from_secs(2);
/// How often somebody who waits for its turn looks whether it has come.
const TURN_CHECK: Duration = Duration::from_millis(250);
/// Tries that follow each other at once: of methods that cost few packets, and of those that cost many.
const QUICK_TRIES: (u32, u32) = (4, 2);
/// Between those.
const QUICK_PAUSE: Duration = Duration::from_millis(50);
/// First wait after those, doubled with each failure: long enough that a NAT has forgotten the many mappings of a dear
/// try (RFC 4787 REQ-5).
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(150));
/// The longest such wait.
const MAX_PAUSE: Duration = Duration::from_secs(1800);

/// What is known and done to reach a peer, for people who ask why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Our NAT.
    pub mine: Nat,
    /// The peer's.
    pub theirs: Nat,
    /// What is done when plain checks find nothing.
    pub method: Method,
    /// Tries that found nothing since there was a direct path last.
    pub failures: u32,
    /// Packets that this side spent on tries.
    pub packets: u32,
    /// What gets out of our network, and out of the peer's.
    pub access: [Access; 2],
    /// Plain checks that this side has sent, and answers that it got, on all paths together.
    pub checks: u32,
    /// See `checks`.
    pub answered: u32,
    /// Whether something has not had the time to fail yet.
    pub is_trying: bool,
}

/// A method's part that this side leads.
#[derive(Debug)]
enum Work {
    None,
    Predict(Predict),
    Birthday(Birthday),
    Meet(Meet),
    Together(Together),
}

/// Whether many packets may be sent; one peer at a time may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    /// To make so many mappings; looks again then.
    Wanted {
        mappings: u32,
        look_at: Instant,
    },
    Held,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Punch {
    pub(super) tools: Tools,
    mine: Nat,
    theirs: Nat,
    /// What gets out of our network, and out of theirs.
    access: [Access; 2],
    servers: Vec<SocketAddr>,
    target: Option<SocketAddr>,
    connected: bool,
    /// One way over the relay, roughly.
    one_way: Duration,
    work: Work,
    /// What the other side has told of a round that this side has not begun, and when.
    their_ports: Option<(Instant, Vec<u16>)>,
    guess: Option<Guess>,
    renewal: Option<Renewal>,
    /// Checks that the other side wants for a renewal of its own.
    echo: Option<Guess>,
    turn: Turn,
    failures: u32,
    /// Until then it is left to plain checks.
    plain_until: Option<Instant>,
    /// When the next try may begin.
    resume_at: Option<Instant>,
    /// When the other side last had its way.
    asked_at: Option<Instant>,
    /// The round of counters that this side has got to.
    round: u32,
}

impl Punch {
    pub(super) fn new(tag: u32, seed: u64) -> Self {
        Self {
            tools: Tools::new(tag, seed),
            mine: Nat::default(),
            theirs: Nat::default(),
            access: [Access::default(); 2],
            servers: Vec::new(),
            target: None,
            connected: false,
            one_way: Duration::ZERO,
            work: Work::None,
            their_ports: None,
            guess: None,
            renewal: None,
            echo: None,
            turn: Turn::None,
            failures: 0,
            plain_until: None,
            resume_at: None,
            asked_at: None,
            round: 0,
        }
    }

    /// What our own NAT is, and who answers STUN.
    pub(super) fn set_nat(&mut self, now: Instant, nat: Nat, servers: &[SocketAddr]) {
        let are_first = self.servers.is_empty() && !servers.is_empty();
        servers.clone_into(&mut self.servers);
        if are_first {
            self.afresh(now);
        }
        if self.mine != nat {
            self.mine = nat;
            self.afresh(now);
            self.announce();
        }
    }

    /// What gets out of our network.
    pub(super) fn set_access(&mut self, access: Access) {
        if self.access[0] != access {
            self.access[0] = access;
            self.announce_access();
        }
    }

    /// The peer's endpoint as the server sees it.
    pub(super) fn set_target(&mut self, now: Instant, target: SocketAddr) {
        if self.target != Some(target) {
            self.target = Some(target);
            // What is under way is aimed at where the peer was.
            self.stop();
            self.leave_it_to_plain_checks(now);
        }
    }

    fn leave_it_to_plain_checks(&mut self, now: Instant) {
        self.plain_until = Some(now + HEAD_START);
        self.afresh(now);
    }

    /// Something has changed: what failed before may work.
    fn afresh(&mut self, now: Instant) {
        self.failures = 0;
        self.resume_at = Some(self.plain_until.map_or(now, |until| until.max(now)));
    }

    /// The peers' connection stands: signals pass from now on, in `one_way`.
    pub(super) fn handle_connected(&mut self, one_way: Duration) {
        self.connected = true;
        self.one_way = one_way;
        self.announce();
        self.announce_access();
    }

    fn announce_access(&mut self) {
        if self.connected && self.access[0] != Access::default() {
            self.tools.signal(Signal::Access(self.access[0]));
        }
    }

    fn announce(&mut self) {
        if self.connected && self.mine != Nat::default() {
            self.tools.signal(Signal::Nat(self.mine));
        }
    }

    /// The other side says something.
    pub(super) fn handle_signal(&mut self, now: Instant, signal: &Signal, is_relayed: bool) {
        match signal {
            Signal::Nat(nat) if *nat != self.theirs => {
                self.theirs = *nat;
                self.afresh(now);
            }
            Signal::Access(access) => self.access[1] = *access,
            Signal::Aim(aim) if is_relayed => self.handle_aim(now, aim),
            Signal::Counter(counter) if is_relayed => self.handle_counter(now, *counter),
            Signal::Nat(_) | Signal::Aim(_) | Signal::Counter(_) => {}
        }
    }

    fn handle_aim(&mut self, now: Instant, aim: &Aim) {
        let Some(target) = self.target else { return };
        if self.method() == Method::Together {
            return self.handle_ports(now, &aim.ports);
        }
        if let Some(range) = aim.range {
            if !self.may_ask(now) {
                return;
            }
            self.want_turn(now, mappings_for(range));
        }
        self.guess = Some(Guess::start(now, Local::MAIN, target.ip(), aim));
    }

    /// A guess takes no mapping of an easy NAT, but room for one more remote endpoint. It counts as much on both sides.
    fn want_turn(&mut self, now: Instant, mappings: u32) {
        if self.turn == Turn::None {
            self.turn = Turn::Wanted { mappings, look_at: now };
        }
    }

    fn may_ask(&mut self, now: Instant) -> bool {
        let may = self.asked_at.is_none_or(|at| now >= at + ASK_PAUSE);
        if may {
            self.asked_at = Some(now);
        }
        may
    }

    fn handle_counter(&mut self, now: Instant, counter: Counter) {
        if self.round < counter.round
            && let Method::Meet { theirs, .. } = self.method()
            && self.may_ask(now)
        {
            self.round = counter.round;
            self.start_meet(now, theirs);
        }
        if let Work::Meet(meet) = &mut self.work
            && meet.round() == counter.round
        {
            meet.handle_counter(now, &mut self.tools, counter.port);
        }
    }

    /// The other side has told the ports of a round, of this one or of the next.
    fn handle_ports(&mut self, now: Instant, ports: &[u16]) {
        if let Work::Together(together) = &mut self.work
            && together.handle_ports(now, now, ports)
        {
            return;
        }
        if self.may_ask(now) {
            self.their_ports = Some((now, ports.to_vec()));
            self.resume_at = Some(self.resume_at.map_or(now, |at| at.min(now)));
        }
    }

    fn start_together(&mut self, now: Instant) {
        let (Some(target), Some(server)) = (self.target, self.servers.first()) else { return };
        let mut together = Together::start(now, &mut self.tools, target, *server, self.one_way);
        if let Some((heard, ports)) =
            self.their_ports.take().filter(|(heard, _)| now < *heard + together::EXCHANGE)
        {
            together.handle_ports(now, heard, &ports);
        }
        self.work = Work::Together(together);
    }

    fn start_meet(&mut self, now: Instant, step: u16) {
        if let (Some(target), Some(server)) = (self.target, self.servers.first()) {
            let meet = Meet::start(now, &mut self.tools, self.round, target.ip(), step, *server);
            self.work = Work::Meet(meet);
        }
    }

    /// Takes in the answer of a STUN server; returns whether it was one that was waited for.
    pub(super) fn handle_sample(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: TransactionId,
        datagram: &[u8],
    ) -> bool {
        if !self.servers.contains(&from) {
            return false;
        }
        let Some(mapped) = binding::parse_response(datagram, id) else { return false };
        if let Some(renewal) = &mut self.renewal {
            renewal.handle_sample(&mut self.tools, self.mine.class(), id, mapped.port());
        }
        match &mut self.work {
            Work::Predict(predict) => predict.handle_sample(now, &mut self.tools, id, mapped.port()),
            Work::Meet(meet) => meet.handle_sample(now, &mut self.tools, id, mapped.port()),
            Work::Together(together) => together.handle_sample(now, &mut self.tools, id, mapped),
            Work::None | Work::Birthday(_) => return self.renewal.is_some(),
        }
        true
    }

    /// The peer was heard, which is what all of this is for: everything ends at once, and goes on later if it leads to
    /// no path.
    pub(super) fn handle_hit(&mut self, now: Instant) {
        if let Work::Together(together) = &mut self.work {
            together.handle_hit();
        } else if self.is_at_work() {
            self.stop();
            self.resume_at = Some(now + HIT_GRACE);
        }
    }

    /// There is a direct path.
    pub(super) fn handle_direct(&mut self, now: Instant) {
        self.stop();
        self.afresh(now);
    }

    /// The direct path is lost.
    pub(super) fn handle_lost(&mut self, now: Instant) {
        self.leave_it_to_plain_checks(now);
    }

    fn stop(&mut self) {
        self.work = Work::None;
        self.guess = None;
        self.turn = Turn::None;
    }

    fn is_at_work(&self) -> bool {
        self.guess.is_some() || !matches!(self.work, Work::None)
    }

    /// How many mappings this peer wants to make, if it waits for its turn.
    pub(super) const fn wants_turn(&self) -> Option<u32> {
        if let Turn::Wanted { mappings, .. } = self.turn { Some(mappings) } else { None }
    }

    /// Whether it is sending them.
    pub(super) fn has_turn(&self) -> bool {
        self.turn == Turn::Held
    }

    /// It may.
    pub(super) fn grant_turn(&mut self, now: Instant) {
        if self.wants_turn().is_some() {
            self.turn = Turn::Held;
            // Whatever waits for it goes on now.
            self.resume_at = self.resume_at.map(|at| at.min(now));
        }
    }

    fn method(&self) -> Method {
        method_between(self.mine, self.theirs)
    }

    /// Makes a new mapping towards the peer's endpoint `target`, unless one is being made.
    pub(super) fn renew(&mut self, now: Instant, target: SocketAddr) {
        if self.renewal.is_none() && self.connected {
            self.renewal = Renewal::start(now, &mut self.tools, target, &self.servers);
        }
    }

    /// The socket of the renewal under way.
    pub(super) fn renewed(&self) -> Option<Local> {
        self.renewal.as_ref().map(Renewal::local)
    }

    /// It has led to a path.
    pub(super) fn end_renewal(&mut self) {
        self.renewal = None;
    }

    /// The other side renews the path that goes from our socket `local` to `remote`, and names its new ports.
    pub(super) fn handle_renewal(&mut self, now: Instant, (local, remote): (Local, SocketAddr), aim: &Aim) {
        if aim.range.is_none() && self.may_ask(now) {
            self.echo = Some(Guess::start(now, local, remote.ip(), aim));
        }
    }

    /// Lets time pass for what is done beside a path that works.
    pub(super) fn handle_renewal_timeout(&mut self, now: Instant) {
        if self.renewal.as_mut().is_some_and(|renewal| !renewal.handle_timeout(now, &mut self.tools)) {
            self.renewal = None;
        }
        if self.echo.as_mut().is_some_and(|echo| !echo.handle_timeout(now, &mut self.tools)) {
            self.echo = None;
        }
    }

    /// When that wants to be called.
    pub(super) fn renewal_timeout(&self) -> Option<Instant> {
        let echo = self.echo.as_ref().map(Guess::timeout);
        self.renewal.as_ref().map(Renewal::timeout).into_iter().chain(echo).min()
    }

    /// Lets time pass. Without `is_relayed` there is a direct path, and nothing to do.
    pub(super) fn handle_timeout(&mut self, now: Instant, is_relayed: bool) {
        if !is_relayed {
            return;
        }
        if let Turn::Wanted { look_at, .. } = &mut self.turn
            && *look_at <= now
        {
            *look_at = now + TURN_CHECK;
        }
        if matches!(self.work, Work::None) && self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = self.begin(now);
        }
        if self.may_guess()
            && let Some(guess) = &mut self.guess
            && !guess.handle_timeout(now, &mut self.tools)
        {
            self.guess = None;
        }
        let goes_on = match &mut self.work {
            Work::None => true,
            Work::Predict(predict) => predict.handle_timeout(now, &mut self.tools),
            Work::Birthday(birthday) => birthday.handle_timeout(now, &mut self.tools),
            Work::Meet(meet) => meet.handle_timeout(now, &mut self.tools),
            Work::Together(together) => together.handle_timeout(now, &mut self.tools),
        };
        if !goes_on {
            self.handle_failure(now);
        }
        if self.turn == Turn::Held && self.guess.is_none() && !self.is_dear() {
            self.turn = Turn::None;
        }
    }

    /// Whether the work under way makes many mappings.
    const fn is_dear(&self) -> bool {
        matches!(self.work, Work::Birthday(_) | Work::Together(_))
    }

    fn may_guess(&self) -> bool {
        self.turn == Turn::Held || self.guess.as_ref().is_some_and(|guess| !guess.is_heavy())
    }

    fn handle_failure(&mut self, now: Instant) {
        let (quick_tries, pause) = match self.work {
            Work::Birthday(_) => (QUICK_TRIES.1, PAUSE.1),
            Work::None | Work::Predict(_) | Work::Meet(_) | Work::Together(_) => (QUICK_TRIES.0, PAUSE.0),
        };
        self.work = Work::None;
        self.failures += 1;
        let wait = match self.failures.checked_sub(quick_tries) {
            None => QUICK_PAUSE,
            Some(doublings) => (pause * 2u32.pow(doublings.min(10))).min(MAX_PAUSE),
        };
        // The other side may have begun its next try while this one came to its end.
        let is_asked = matches!(&self.their_ports, Some((heard, _)) if now < *heard + together::EXCHANGE);
        self.resume_at = Some(if is_asked { now } else { now + wait });
    }

    /// Begins a try, if this side has one to begin. Returns when to come again.
    fn begin(&mut self, now: Instant) -> Option<Instant> {
        let target = self.target.filter(|_| self.connected)?;
        match self.method() {
            Method::Lead(choice) if matches!(self.mine.class(), Class::Hard(_)) => {
                self.lead(now, target, choice)
            }
            Method::Lead(choice) | Method::Both(choice) => {
                let more =
                    if self.mine.said_to_be_hard { Duration::ZERO } else { LONG_HEAD_START - HEAD_START };
                let until = self.plain_until? + more;
                if until > now { Some(until) } else { self.lead(now, target, choice) }
            }
            Method::Meet { theirs, .. } => {
                self.round += 1;
                self.start_meet(now, theirs);
                None
            }
            Method::Together if self.turn == Turn::Held => {
                self.start_together(now);
                None
            }
            Method::Together => {
                self.want_turn(now, together::MAPPINGS);
                Some(now + TURN_CHECK)
            }
            Method::Unknown | Method::Plain | Method::Follow | Method::Hopeless(_) => None,
        }
    }

    fn lead(&mut self, now: Instant, target: SocketAddr, choice: Choice) -> Option<Instant> {
        // What has failed is not simply done again. A NAT that remembers whom it has refused must send first.
        let is_hard_first = self.failures.is_multiple_of(2) != self.theirs.remembers_refused;
        let order = if is_hard_first { Order::HardFirst } else { Order::EasyFirst };
        match choice {
            Choice::Counter(step) => {
                let predict = Predict::start(now, &mut self.tools, target, step, order, &self.servers);
                self.work = predict.map_or(Work::None, Work::Predict);
                None
            }
            Choice::Random(range) if self.turn == Turn::Held => {
                self.work = Work::Birthday(Birthday::start(now, &mut self.tools, target, range, order));
                None
            }
            Choice::Random(range) => {
                self.want_turn(now, mappings_for(range));
                Some(now + TURN_CHECK)
            }
        }
    }

    /// When [`Punch::handle_timeout`] wants to be called.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let guess = self.guess.as_ref().filter(|_| self.may_guess()).map(Guess::timeout);
        let turn = if let Turn::Wanted { look_at, .. } = self.turn { Some(look_at) } else { None };
        let work = match &self.work {
            Work::None => self.resume_at,
            Work::Predict(predict) => Some(predict.timeout()),
            Work::Birthday(birthday) => Some(birthday.timeout()),
            Work::Meet(meet) => Some(meet.timeout()),
            Work::Together(together) => Some(together.timeout()),
        };
        [guess, turn, work].into_iter().flatten().min()
    }

    /// Whether the socket is needed.
    pub(super) fn owns(&self, local: Local) -> bool {
        if self.renewed() == Some(local) {
            return true;
        }
        match &self.work {
            Work::None => false,
            Work::Predict(predict) => predict.owns(local),
            Work::Birthday(birthday) => birthday.owns(local),
            Work::Meet(meet) => meet.owns(local),
            Work::Together(together) => together.owns(local),
        }
    }

    /// The next thing to be done.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.tools.out.pop_front()
    }

    pub(super) fn outlook(&self) -> Outlook {
        Outlook {
            mine: self.mine,
            theirs: self.theirs,
            method: self.method(),
            failures: self.failures,
            packets: self.tools.packets,
            access: self.access,
            checks: 0,
            answered: 0,
            is_trying: self.is_at_work() || self.wants_turn().is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
