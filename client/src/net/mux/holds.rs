//! The multiplexer's part in heartbeats: how long the NATs of the networks that we have been on hold a silent mapping, as
//! the canaries show it, and paths that died of silence.

use std::collections::VecDeque;

use common::traversal::canary::{Canaries, News};
use common::traversal::hold::Hold;

use super::*;

/// Networks that are remembered.
const MAX_NETWORKS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Holds {
    pub(super) canaries: Canaries,
    /// What is known of each network, by its public address; the one that we are on comes last.
    known: VecDeque<(IpAddr, Hold)>,
    /// What applies while no network is known.
    unknown: Hold,
}

impl Default for Holds {
    fn default() -> Self {
        let canaries = Canaries::new(socket_id::CANARIES);
        Self { canaries, known: VecDeque::new(), unknown: Hold::default() }
    }
}

impl Holds {
    /// Whether we are on the network with this public address, as far as is known.
    fn is_on(&self, network: IpAddr) -> bool {
        self.known.back().is_some_and(|(known, _)| *known == network)
    }

    fn enter(&mut self, network: IpAddr) {
        let at = self.known.iter().position(|(known, _)| *known == network);
        let entry = at.and_then(|at| self.known.remove(at)).unwrap_or((network, Hold::default()));
        if self.known.len() == MAX_NETWORKS {
            self.known.pop_front();
        }
        self.known.push_back(entry);
    }

    fn current(&mut self) -> &mut Hold {
        self.known.back_mut().map_or(&mut self.unknown, |(_, hold)| hold)
    }

    pub(super) fn interval(&mut self) -> Duration {
        self.current().interval()
    }
}

impl Mux {
    /// We are behind the public address `network`. `server` answers STUN there.
    pub(super) fn enter_network(&mut self, now: Instant, seed: u64, network: IpAddr, server: SocketAddr) {
        let holds = &mut self.network.holds;
        if holds.is_on(network) {
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
                News::Began => holds.current().forget_limit(),
                News::Survived(silence) => holds.current().handle_survived(silence),
                News::Forgotten(silence) => holds.current().handle_forgotten(silence),
            }
        }
        if has_news {
            self.spread_hold();
        }
    }

    /// Our NAT has forgotten a mapping after this silence.
    pub(super) fn handle_forgotten(&mut self, silence: Duration) {
        self.network.holds.current().handle_forgotten(silence);
        self.spread_hold();
    }

    fn spread_hold(&mut self) {
        let hold = self.network.holds.interval();
        for peer in self.peers.values_mut() {
            peer.agent.set_hold(hold);
        }
    }
}
