//! The choice of an external port for a new mapping. It knows nothing of mappings: whoever asks says
//! which ports are free.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use rand::RngExt;
use rand::rngs::StdRng;

use super::flow::Transport;
use super::profile::Allocation;

/// Internal ports below 1024 get external ones below 1024 where ports are free to choose (RFC 4787 REQ-3a).
const WELL_KNOWN: RangeInclusive<u16> = 1..=1023;
/// Where the external ports of all others lie.
const DYNAMIC: RangeInclusive<u16> = 1024..=u16::MAX;
/// Random draws before the search goes through the range in order.
const RANDOM_DRAWS: usize = 32;

/// One question to the [`PortAllocator`].
#[derive(Debug, Clone, Copy)]
pub(super) struct PortRequest {
    /// Whose port space.
    pub(super) transport: Transport,
    /// For whom.
    pub(super) internal: SocketAddr,
    /// On which public address.
    pub(super) public: IpAddr,
}

/// Chooses ports by one [`Allocation`] rule and remembers what that rule needs.
#[derive(Debug, Default)]
pub(super) struct PortAllocator {
    /// The last port given out, for sequential allocation.
    last: BTreeMap<(Transport, IpAddr), u16>,
    /// The first port of each internal host's block on each public address.
    blocks: BTreeMap<(IpAddr, IpAddr), u16>,
}

impl PortAllocator {
    /// A free port, or none if the rule finds none.
    pub(super) fn choose(
        &mut self,
        rng: &mut StdRng,
        rule: Allocation,
        request: PortRequest,
        is_free: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let internal = request.internal.port();
        let range = if WELL_KNOWN.contains(&internal) { WELL_KNOWN } else { DYNAMIC };
        match rule {
            Allocation::Preserving if is_free(internal) => Some(internal),
            Allocation::Preserving | Allocation::Random => random_in(rng, range, 1, is_free),
            Allocation::Parity => {
                let first = range.start() + ((range.start() ^ internal) & 1);
                random_in(rng, first..=*range.end(), 2, is_free)
            }
            Allocation::Sequential { step } => self.next_in_sequence(rng, step, request, is_free),
            Allocation::Block { size } => {
                let first = self.block_of(rng, size, request)?;
                random_in(rng, first..=first + (size - 1), 1, is_free)
            }
        }
    }

    /// Forgets all blocks and positions.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.blocks.clear();
    }

    fn next_in_sequence(
        &mut self,
        rng: &mut StdRng,
        step: u16,
        request: PortRequest,
        is_free: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let last =
            self.last.entry((request.transport, request.public)).or_insert_with(|| rng.random_range(DYNAMIC));
        let mut port = *last;
        for _ in DYNAMIC {
            port = step_within(&DYNAMIC, port, step);
            if is_free(port) {
                *last = port;
                return Some(port);
            }
        }
        None
    }

    /// The first port of the block of this host, assigned on its first use.
    fn block_of(&mut self, rng: &mut StdRng, size: u16, request: PortRequest) -> Option<u16> {
        let key = (request.public, request.internal.ip());
        if let Some(first) = self.blocks.get(&key) {
            return Some(*first);
        }
        let taken: Vec<u16> = self
            .blocks
            .range((key.0, LOWEST_IP)..)
            .take_while(|(k, _)| k.0 == key.0)
            .map(|(_, f)| *f)
            .collect();
        let count = (DYNAMIC.end() - DYNAMIC.start()).checked_div(size)?;
        let free: Vec<u16> =
            (0..count).map(|n| DYNAMIC.start() + n * size).filter(|first| !taken.contains(first)).collect();
        if free.is_empty() {
            return None;
        }
        let first = free[rng.random_range(0..free.len())];
        self.blocks.insert(key, first);
        Some(first)
    }
}

/// Sorts before every other address.
const LOWEST_IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// `port` plus `step`, wrapped around within `range`.
fn step_within(range: &RangeInclusive<u16>, port: u16, step: u16) -> u16 {
    let width = u32::from(range.end() - range.start()) + 1;
    let offset = (u32::from(port - range.start()) + u32::from(step.max(1))) % width;
    range.start() + u16::try_from(offset).unwrap_or(0)
}

/// A free port among every `stride`th one of `range`, evenly chosen while many are free.
fn random_in(
    rng: &mut StdRng,
    range: RangeInclusive<u16>,
    stride: u16,
    is_free: impl Fn(u16) -> bool,
) -> Option<u16> {
    let steps = (range.end() - range.start()) / stride;
    let at = |n: u16| range.start() + n * stride;
    let mut start = 0;
    for _ in 0..RANDOM_DRAWS {
        start = rng.random_range(0..=steps);
        if is_free(at(start)) {
            return Some(at(start));
        }
    }
    (start..=steps).chain(0..start).map(at).find(|port| is_free(*port))
}
