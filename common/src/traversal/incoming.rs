//! What comes in: checks of the peer, which are answered and show where it is, and answers to ours.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Agent, Event, Local, MAX_ANSWERS_PER_SECOND, MIN_SILENCE, Tier, Transmit, Way, tier};
use crate::stun::check::{self, Claim, KeyName, TransactionId};

impl Agent {
    /// Takes in a STUN datagram that came to the socket `local`. Returns whether it was a valid check of this peer or
    /// an answer of a STUN server that was waited for.
    pub fn handle_datagram(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) -> bool {
        if local != Local::MAIN && !self.sockets.contains_key(&local) {
            // It was let go of while this was under way.
            return false;
        }
        let way = Way { local, remote: from };
        let valid = match check::claim(datagram) {
            Some(Claim::Request(name, id)) => self.handle_request(now, way, name, id, datagram),
            Some(Claim::Response(id)) => {
                self.handle_response(now, way, id, datagram)
                    || self.punch.handle_sample(now, from, id, datagram)
            }
            None => false,
        };
        if valid {
            self.reroute(now);
            self.rest_others(now);
            self.carry_out(now);
        }
        valid
    }

    fn handle_request(
        &mut self,
        now: Instant,
        way: Way,
        name: KeyName,
        id: TransactionId,
        datagram: &[u8],
    ) -> bool {
        if !self.answers_left(now) {
            return false;
        }
        let Some(key) = self.keys.iter().find(|key| key.name == name) else { return false };
        if !check::verify_request(key, datagram) {
            return false;
        }
        let is_wished = check::is_nomination(key, datagram);
        let Way { local, remote } = way;
        self.transmits.push_back(Transmit { local, to: remote, bytes: check::response(key, id, remote) });
        self.events.push_back(Event::Heard(remote));
        // RFC 8445 §7.3.1.3–4: an unknown source is a peer-reflexive candidate, and gets a triggered check.
        self.confirm_suspicion(now);
        match self.paths.iter_mut().find(|path| path.way == way) {
            Some(path) => path.trigger(now),
            None => self.insert(now, way),
        }
        if let Some(path) = self.paths.iter_mut().find(|path| path.way == way) {
            path.handle_heard(now);
        }
        let is_idle = self.is_idle(now) && datagram.len() < check::PADDED_LEN;
        let is_followed = is_idle && self.follows() && self.has_udp() && self.route.direct() != Some(way);
        if (is_wished || is_followed)
            && let Some(path) = self.paths.iter_mut().find(|path| path.way == way)
            && (path.favour == 0 || is_followed)
            && Some(tier(remote)) == self.route.direct().map(|way| tier(way.remote))
        {
            self.favours += 1;
            path.set_favour(now, self.favours, false);
        }
        self.punch.handle_hit(now);
        self.handle_timeout(now);
        true
    }

    fn answers_left(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.answers;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        *count <= MAX_ANSWERS_PER_SECOND
    }

    fn handle_response(&mut self, now: Instant, way: Way, id: TransactionId, datagram: &[u8]) -> bool {
        // RFC 8445 §7.2.5.2.1: the answer must come from where the request went.
        let Some(path) = self.paths.iter_mut().find(|path| path.way == way) else { return false };
        let Some(name) = path.key_of(id) else { return false };
        let Some(key) = self.keys.iter().find(|key| key.name == name) else { return false };
        let Some(mapped) = check::verify_response(key, datagram) else { return false };
        let last_sent = self.last_sent.filter(|_| self.route.direct() == Some(way));
        let is_news = path.mapped() != Some(mapped);
        let forgotten = path.handle_answer(now, id, mapped, last_sent);
        self.answered = self.answered.saturating_add(1);
        if self.punch.renewed() == Some(way.local) {
            self.punch.end_renewal();
            self.renewals = 0;
            self.favours += 1;
            path.set_favour(now, self.favours, true);
        }
        let remote = way.remote;
        if is_news && way.local == Local::MAIN && tier(remote) == Tier::Public {
            self.events.push_back(Event::Seen { remote, mapped });
        }
        self.events.extend(forgotten.filter(|silence| *silence >= MIN_SILENCE).map(Event::Forgotten));
        self.events.push_back(Event::Answered(way.remote));
        true
    }
}
