//! The multiplexer's part in heartbeats: how long the NATs of the networks that we have been on hold a silent mapping, as
//! the canaries show it, and paths that died of silence.

use std::collections::VecDeque;

use common::traversal::canary::{Canaries, News};
use common::traversal::hold::Hold;

use super::*;

/// Networks that are remembered, the one that we are on among them.
const MAX_NETWORKS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Holds {
    pub(super) canaries: Canaries,
    /// The public address of the network that we are on, as far as it is known.
    network: Option<IpAddr>,
    /// What is known of it.
    current: Hold,
    /// What is known of others, by their public addresses, the newest last.
    others: VecDeque<(IpAddr, Hold)>,
    /// Something was learned that nobody was told.
    has_news: bool,
}

impl Default for Holds {
    fn default() -> Self {
        let canaries = Canaries::new(socket_id::CANARIES);
        Self { canaries, network: None, current: Hold::default(), others: VecDeque::new(), has_news: false }
    }
}

impl Holds {
    fn enter(&mut self, network: IpAddr) {
        let at = self.others.iter().position(|(other, _)| *other == network);
        let entered = at.and_then(|at| self.others.remove(at)).map(|(_, hold)| hold).unwrap_or_default();
        let before = std::mem::replace(&mut self.current, entered);
        if let Some(left) = self.network.replace(network) {
            self.remember(left, before);
        }
    }

    fn remember(&mut self, network: IpAddr, hold: Hold) {
        if self.others.len() == MAX_NETWORKS - 1 {
            self.others.pop_front();
        }
        self.others.push_back((network, hold));
    }

    pub(super) fn interval(&self) -> Duration {
        self.current.interval()
    }

    pub(super) const fn have_news(&self) -> bool {
        self.has_news
    }
}

impl Mux {
    /// What was learned of networks in earlier runs, by their public addresses, the newest last.
    pub(crate) fn set_holds(&mut self, known: Vec<(IpAddr, Hold)>) {
        for (network, hold) in known {
            self.network.holds.remember(network, hold);
        }
    }

    /// What is known of networks, like [`Mux::set_holds`], if something was learned since this was asked last.
    pub(crate) fn take_holds(&mut self) -> Option<Vec<(IpAddr, Hold)>> {
        let holds = &mut self.network.holds;
        let current = holds.network.map(|network| (network, holds.current));
        std::mem::take(&mut holds.has_news).then(|| holds.others.iter().copied().chain(current).collect())
    }

    /// We are behind the public address `network`. `server` answers STUN there.
    pub(super) fn enter_network(&mut self, now: Instant, seed: u64, network: IpAddr, server: SocketAddr) {
        let holds = &mut self.network.holds;
        if holds.network == Some(network) {
            return;
        }
        holds.enter(network);
        holds.canaries.start(now, seed, server);
        self.settle_canaries();
        self.spread_hold();
    }

    /// Carries out what the canaries want after an input.
    pub(super) fn settle_canaries(&mut self) {
        let holds = &mut self.network.holds;
        while let Some(transmit) = holds.canaries.poll_transmit() {
            let socket = SocketId::of(socket_id::CANARIES, transmit.local);
            self.outgoing.push(Outgoing::Datagram(socket, transmit.to, transmit.bytes));
        }
        while let Some(local) = holds.canaries.poll_released() {
            self.outgoing.push(Outgoing::Close(SocketId::of(socket_id::CANARIES, local)));
        }
        let mut has_news = false;
        while let Some(news) = holds.canaries.poll_news() {
            has_news = true;
            match news {
                News::Began => holds.current.forget_limit(),
                News::Survived(silence) => holds.current.handle_survived(silence),
                News::Forgotten(silence) => holds.current.handle_forgotten(silence),
            }
        }
        if has_news {
            self.handle_learned();
        }
    }

    /// Our NAT has forgotten a mapping after this silence.
    pub(super) fn handle_forgotten(&mut self, silence: Duration) {
        self.network.holds.current.handle_forgotten(silence);
        self.handle_learned();
    }

    fn handle_learned(&mut self) {
        self.network.holds.has_news = true;
        self.spread_hold();
    }

    fn spread_hold(&mut self) {
        let hold = self.network.holds.interval();
        for peer in self.peers.values_mut() {
            peer.agent.set_hold(hold);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_runs_have_learned_counts_on_its_network_alone() {
        let [home, elsewhere] = [1, 2].map(|n| IpAddr::from([198, 51, 100, n]));
        let mut hold = Hold::default();
        hold.handle_survived(Duration::from_secs(88));
        let mut holds = Holds::default();
        holds.remember(home, hold);
        assert_eq!(holds.interval(), Hold::default().interval(), "it is not known yet where we are");
        holds.enter(home);
        assert_eq!(holds.interval(), hold.interval());
        holds.enter(elsewhere);
        assert_eq!(holds.interval(), Hold::default().interval());
        holds.enter(home);
        assert_eq!(holds.interval(), hold.interval());
        for n in 0..=255 {
            holds.enter([203, 0, 113, n].into());
        }
        assert_eq!(holds.others.len(), MAX_NETWORKS - 1);
        let (oldest, hold) = holds.others[0];
        holds.others[0].1.handle_survived(Duration::from_secs(88));
        assert_eq!(hold, Hold::default());
        holds.enter(oldest);
        assert_ne!(holds.current, Hold::default(), "the oldest is not forgotten by going there");
    }
}
