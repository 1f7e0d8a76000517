//! One address of the peer: its schedule of checks, its measured round trip, its life and death.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Local, Way, tier};
use crate::stun::check::{KeyName, Size, TransactionId};

/// When checks to a new address are sent, counted from the one before. The first ones come fast, since both NATs
/// open within a round trip; ICE's pacing of 50 ms (RFC 8445 §14) is not needed for one flow.
const SCHEDULE_MS: [u64; 11] = [0, 30, 50, 80, 120, 200, 400, 800, 1200, 2000, 3000];
/// Checks to an address that has never answered, in all rounds together. After them it is forgotten.
pub(super) const MAX_UNANSWERED: u32 = 24;
/// Wait before another round of checks to an address that did not answer; doubled each time.
const REST: Duration = Duration::from_secs(10);
/// The longest such wait.
const MAX_REST: Duration = Duration::from_secs(120);
/// A working path that was put to rest is not woken by a check for this long, more than any round trip: the peer puts it to
/// rest as well, and both would wake each other for ever.
const UNDISTURBED: Duration = Duration::from_secs(3);
/// Between checks of a path while it carries data.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
/// How long after the last packet a path still counts as carrying data.
pub(super) const BUSY_FOR: Duration = Duration::from_millis(250);
/// A path that carries nothing is checked this long after it last proved itself: either side then knows within two
/// minutes of silence that the other is gone. Later than the longest heartbeat, whose answer is the proof.
const PROOF_INTERVAL: Duration = Duration::from_secs(115);
/// A heartbeat is no check, and wants no answer, if the path has proved itself within this time.
const FRESH: Duration = Duration::from_secs(50);
/// Between checks while an answer is overdue, or while a path that died before proves itself.
const DOUBT_INTERVAL: Duration = Duration::from_millis(50);
/// An answer is overdue after the smoothed round trip, four deviations, and at least this much.
const MIN_PATIENCE: Duration = Duration::from_millis(30);
/// Patience before anything was measured.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// Answers missed in a row before a path counts as dead.
const MAX_MISSES: u8 = 4;
/// Answers in a row that a path must give again after it died, for each time it died, up to three times.
const PROOF_PER_DEATH: u32 = 3;
/// Checks whose answers are waited for at the same time.
const MAX_OUTSTANDING: usize = 16;
/// A better round trip must be better by a fifth and by this much to be worth a switch.
const MIN_GAIN: Duration = Duration::from_millis(3);

/// Preference between kinds of paths; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// An address of the local network.
    Lan,
    /// A public address.
    Public,
    /// A TCP connection, wherever it goes: a lost packet holds up those behind it.
    Tcp,
}

/// What is to be sent on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A check of this size.
    Check(Size),
    /// A packet that needs no answer, for the NATs on the way.
    Beat,
}

/// Whether an answer is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    None,
    Some,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Checks go out on the schedule; the number is the next place in it.
    Probing(usize),
    /// The last checks were answered, but for this many.
    Alive { misses: u8 },
    /// Did not answer; another round comes later.
    Resting,
}

#[derive(Debug, Clone, Copy)]
struct Outstanding {
    id: TransactionId,
    key: KeyName,
    sent: Instant,
    missed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) way: Way,
    state: State,
    next_check: Instant,
    last_check: Option<Instant>,
    /// Newer wishes of either side for a path have higher numbers; 0 for none.
    pub(super) favour: u32,
    /// When it was put to rest although it works.
    rested: Option<Instant>,
    /// Whether the wish is ours, so that the peer is to be told.
    pub(super) is_ours: bool,
    /// How long our NAT may be left without a packet of ours.
    pub(super) hold: Duration,
    /// When the last packet of any kind was sent.
    last_out: Instant,
    /// When a check was answered, or one of the peer's came.
    last_proof: Instant,
    /// The next check waits for no heartbeat: data is under way.
    is_hurried: bool,
    /// Where the peer saw us.
    mapped: Option<SocketAddr>,
    /// The longest time for which nothing had been sent before a check, since one was answered.
    silence: Duration,
    outstanding: VecDeque<Outstanding>,
    smoothed: Option<(Duration, Duration)>,
    unanswered: u32,
    /// Checks that requests of the peer from this address have earned.
    called_for: u32,
    rounds: u32,
    deaths: u32,
    answers_in_row: u32,
}

impl Path {
    pub(super) fn new(now: Instant, way: Way, hold: Duration) -> Self {
        Self {
            way,
            state: State::Probing(0),
            next_check: now,
            last_check: None,
            favour: 0,
            rested: None,
            is_ours: false,
            hold,
            last_out: now,
            last_proof: now,
            is_hurried: false,
            mapped: None,
            silence: Duration::ZERO,
            outstanding: VecDeque::new(),
            smoothed: None,
            unanswered: 0,
            called_for: 0,
            rounds: 0,
            deaths: 0,
            answers_in_row: 0,
        }
    }

    /// Tries again at once if the path was resting.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.state == State::Resting {
            self.probe(now);
        }
    }

    /// The peer was heard from here: checks that did not get through may get through now.
    pub(super) fn trigger(&mut self, now: Instant) {
        match self.state {
            State::Resting if self.rested.is_some_and(|rested| now < rested + UNDISTURBED) => {}
            State::Resting => self.probe(now),
            State::Probing(_) if self.last_check.is_none_or(|last| now >= last + DOUBT_INTERVAL) => {
                self.next_check = now;
            }
            State::Probing(_) | State::Alive { .. } => {}
        }
    }

    /// The network changed: an alive path has to answer again, the others are tried afresh.
    pub(super) fn doubt(&mut self, now: Instant) {
        match &mut self.state {
            State::Alive { misses } => {
                *misses = (*misses).max(1);
                self.next_check = now;
            }
            State::Probing(_) | State::Resting => self.probe(now),
        }
    }

    /// Data is under way: the next check must not wait for the idle interval.
    pub(super) fn hurry(&mut self, now: Instant) {
        let due = self.last_check.map_or(now, |last| last + BUSY_INTERVAL);
        self.next_check = self.next_check.min(due.max(now));
        self.is_hurried = true;
    }

    /// A packet of another kind than checks was sent here.
    pub(super) const fn handle_sent(&mut self, now: Instant) {
        self.last_out = now;
    }

    /// Whether somebody who has the key has sent at least as much from here as goes there now.
    pub(super) const fn is_called_for(&self) -> bool {
        self.called_for > 0
    }

    /// The peer was heard here, and an answer was sent.
    pub(super) fn handle_heard(&mut self, now: Instant) {
        self.called_for = (self.called_for + 1).min(MAX_UNANSWERED);
        self.last_out = now;
        if self.is_alive() {
            self.last_proof = now;
        }
    }

    /// How long our NAT may be left without a packet of ours from now on.
    pub(super) fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
        if self.is_alive() && !self.is_hurried {
            self.next_check = self.next_check.min(self.idle_due());
        }
    }

    fn idle_due(&self) -> Instant {
        (self.last_out + self.hold).min(self.last_proof + PROOF_INTERVAL)
    }

    /// Waits with the next check.
    pub(super) fn defer(&mut self, until: Instant) {
        self.next_check = until;
    }

    /// Stops measuring for a while.
    pub(super) fn rest(&mut self, now: Instant) {
        self.state = State::Resting;
        self.rested = Some(now);
        self.outstanding.clear();
        self.next_check = now + MAX_REST;
    }

    fn probe(&mut self, now: Instant) {
        self.state = State::Probing(0);
        self.rested = None;
        self.next_check = now;
    }

    /// Notes answers that are overdue and moves between states.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let patience = self.patience();
        let mut missed = 0u8;
        for check in self.outstanding.iter_mut().filter(|c| !c.missed && c.sent + patience <= now) {
            check.missed = true;
            missed = missed.saturating_add(1);
        }
        match &mut self.state {
            State::Alive { misses } if missed > 0 => {
                *misses = misses.saturating_add(missed);
                self.answers_in_row = 0;
                if *misses >= MAX_MISSES {
                    self.deaths += 1;
                    self.rounds = 0;
                    self.probe(now);
                } else {
                    self.next_check = now.max(self.last_check.map_or(now, |last| last + DOUBT_INTERVAL));
                }
            }
            State::Probing(place) if *place >= SCHEDULE_MS.len() && self.next_check <= now => {
                let factor = 1u32 << self.rounds.min(5);
                self.rounds += 1;
                self.state = State::Resting;
                self.next_check = now + (REST * factor).min(MAX_REST);
            }
            State::Resting if self.next_check <= now => self.probe(now),
            State::Alive { .. } | State::Probing(_) | State::Resting => {}
        }
    }

    /// What is due, if anything.
    pub(super) fn take_due(&mut self, now: Instant, last_sent: Option<Instant>) -> Option<Due> {
        if self.next_check > now {
            return None;
        }
        match self.state {
            State::Resting => None,
            State::Probing(_) => Some(Due::Check(Size::Padded)),
            State::Alive { misses: 0 } if !self.is_hurried && self.is_idle(now, last_sent) => {
                let due = self.idle_due();
                if due > now {
                    self.next_check = due;
                    return None;
                }
                let is_fresh = now.saturating_duration_since(self.last_proof) < FRESH;
                Some(if is_fresh { Due::Beat } else { Due::Check(Size::Bare) })
            }
            State::Alive { .. } => Some(Due::Check(Size::Bare)),
        }
    }

    /// A heartbeat was sent.
    pub(super) fn handle_beat(&mut self, now: Instant) {
        self.last_out = now;
        self.next_check = self.idle_due();
    }

    /// A check was sent.
    pub(super) fn handle_check(
        &mut self,
        now: Instant,
        id: TransactionId,
        key: KeyName,
        last_sent: Option<Instant>,
    ) {
        self.last_check = Some(now);
        self.silence = self.silence.max(now.saturating_duration_since(self.last_out));
        self.last_out = now;
        self.is_hurried = false;
        if self.outstanding.len() == MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Outstanding { id, key, sent: now, missed: false });
        self.called_for = self.called_for.saturating_sub(1);
        if !self.has_answered() {
            self.unanswered += 1;
        }
        self.next_check = match &mut self.state {
            State::Probing(place) => {
                *place += 1;
                // After the last one, its answer is given the time that the last step took.
                let step = SCHEDULE_MS.get(*place).unwrap_or(&SCHEDULE_MS[SCHEDULE_MS.len() - 1]);
                now + Duration::from_millis(*step)
            }
            State::Alive { misses: 1.. } => now + DOUBT_INTERVAL,
            State::Alive { .. } | State::Resting => self.next_after(now, now, last_sent),
        };
    }

    /// Whether the path has nothing to prove and nothing to carry.
    fn is_idle(&self, now: Instant, last_sent: Option<Instant>) -> bool {
        let busy = last_sent.is_some_and(|sent| now.saturating_duration_since(sent) < BUSY_FOR);
        self.is_proven() && !busy
    }

    /// When the check after the one at `last` is due.
    fn next_after(&self, now: Instant, last: Instant, last_sent: Option<Instant>) -> Instant {
        if !self.is_proven() {
            last + DOUBT_INTERVAL
        } else if self.is_idle(now, last_sent) {
            self.idle_due().max(last + BUSY_INTERVAL)
        } else {
            last + BUSY_INTERVAL
        }
    }

    /// The key of the request `id`, if its answer is waited for.
    pub(super) fn key_of(&self, id: TransactionId) -> Option<KeyName> {
        self.outstanding.iter().find(|check| check.id == id).map(|check| check.key)
    }

    /// The request `id` was answered by a peer that saw us at `mapped`. Returns how long the path had been silent if our
    /// NAT has forgotten its mapping over it.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        id: TransactionId,
        mapped: SocketAddr,
        last_sent: Option<Instant>,
    ) -> Option<Duration> {
        let at = self.outstanding.iter().position(|check| check.id == id)?;
        let sent = self.outstanding[at].sent;
        // What was sent before the answered one counts neither as missed nor as waited for any more.
        self.outstanding.drain(..=at);
        self.measure(now.saturating_duration_since(sent));
        self.unanswered = 0;
        self.rounds = 0;
        self.answers_in_row += 1;
        self.state = State::Alive { misses: 0 };
        self.last_proof = now;
        let last = self.last_check.unwrap_or(now);
        self.next_check = self.next_after(now, last, last_sent).max(now);
        let is_new = self.mapped.replace(mapped).is_some_and(|before| before != mapped);
        let silence = std::mem::take(&mut self.silence);
        is_new.then_some(silence)
    }

    /// Where the peer sees us.
    pub(super) const fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// How long nothing had been sent here before the check that has remained unanswered.
    pub(super) const fn silence(&self) -> Duration {
        self.silence
    }

    /// RFC 6298 §2, with its constants.
    fn measure(&mut self, sample: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => (sample, sample / 2),
            Some((mean, deviation)) => {
                (mean * 7 / 8 + sample / 8, deviation * 3 / 4 + mean.abs_diff(sample) / 4)
            }
        });
    }

    fn patience(&self) -> Duration {
        self.smoothed.map_or(FIRST_PATIENCE, |(mean, deviation)| {
            mean + (deviation * 4).clamp(MIN_PATIENCE, mean / 2 + MIN_PATIENCE)
        })
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.smoothed.map(|(mean, _)| mean)
    }

    pub(super) const fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive { .. })
    }

    pub(super) const fn miss(&self) -> Miss {
        match self.state {
            State::Alive { misses: 0 } => Miss::None,
            _ => Miss::Some,
        }
    }

    /// Whether the path has shown again that it works since it died last.
    pub(super) const fn is_proven(&self) -> bool {
        let deaths = if self.deaths < 3 { self.deaths } else { 3 };
        self.answers_in_row > deaths * PROOF_PER_DEATH || self.deaths == 0
    }

    /// Whether it is in its first round of checks, which nothing has answered yet.
    pub(super) fn is_new(&self) -> bool {
        !self.has_answered() && self.rounds == 0 && matches!(self.state, State::Probing(_))
    }

    pub(super) const fn has_answered(&self) -> bool {
        self.smoothed.is_some()
    }

    /// One of the two sides wants this path rather than those with lower numbers.
    pub(super) const fn set_favour(&mut self, now: Instant, favour: u32, is_ours: bool) {
        self.favour = favour;
        self.is_ours = is_ours;
        if is_ours {
            self.next_check = now;
            self.is_hurried = true;
        }
    }

    /// Whether the path need not be remembered: it never worked, or it had a mapping of its own, which nothing keeps
    /// alive once it rests, or it has died after a newer one took its place.
    pub(super) fn is_hopeless(&self, newest_favour: u32) -> bool {
        if self.deaths > 0 && !self.is_alive() && self.favour < newest_favour {
            return true;
        }
        let is_cold = self.way.local != Local::MAIN && self.state == State::Resting;
        is_cold || (!self.has_answered() && self.unanswered >= MAX_UNANSWERED)
    }

    /// Smaller is better.
    pub(super) fn rank(&self) -> (Tier, Reverse<u32>, Duration) {
        (tier(self.way.remote), Reverse(self.favour), self.rtt().unwrap_or(Duration::MAX))
    }

    /// Whether this path is so much better than `active` that packets should change over.
    pub(super) fn beats(&self, active: &Self) -> bool {
        if self.way == active.way {
            return false;
        }
        let (tier, favour, rtt) = self.rank();
        let (active_tier, active_favour, active_rtt) = active.rank();
        active.miss() != Miss::None
            || (tier, favour) < (active_tier, active_favour)
            || ((tier, favour) == (active_tier, active_favour) && rtt + MIN_GAIN < active_rtt * 4 / 5)
    }

    /// When [`Path::handle_timeout`] or a check is due.
    pub(super) fn timeout(&self) -> Instant {
        let patience = self.patience();
        let overdue = self.outstanding.iter().find(|check| !check.missed).map(|check| check.sent + patience);
        match (self.state, overdue) {
            (State::Alive { .. }, Some(overdue)) => overdue.min(self.next_check),
            _ => self.next_check,
        }
    }
}
