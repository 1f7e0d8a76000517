//! What kind of NAT this machine is behind, judged from what STUN servers see of its sockets (RFC 4787 §4,
//! RFC 5780 §4.3).
//!
//! [`classify`] is a pure function of [`Sample`]s. It tells the two things that decide how to get through: on what a
//! mapping depends, and how the ports of new mappings are chosen. The next port of a counter is not among them: it is
//! stale at once, and is asked for when it is needed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The lowest port that NATs give to ordinary sockets (RFC 4787 REQ-3).
pub const FIRST_PORT: u16 = 1024;
/// The steps of a counter that are recognised.
const MAX_STEP: u16 = 64;
/// Samples of new mappings without which nothing is said about a block: that eight ports out of all lie within a
/// quarter of them by chance happens once in two thousand times.
const BLOCK_SAMPLES: usize = 8;
/// The largest range that counts as a block.
const MAX_BLOCK: u16 = 16_384;
/// The smallest aligned block that is thought of, as a power of two.
const MIN_BLOCK_BITS: u32 = 6;
/// The largest one.
const MAX_BLOCK_BITS: u32 = 14;

/// How one packet of ours looked from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The port of the socket that it left from; 0 if that is not known.
    pub local_port: u16,
    /// Tells sockets apart.
    pub socket: u32,
    /// Where it went.
    pub to: SocketAddr,
    /// Where it came from, as seen there.
    pub mapped: SocketAddr,
}

/// On what the external endpoint of a socket depends (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Not known: nobody answered.
    #[default]
    Unknown,
    /// On nothing but the socket.
    Independent,
    /// Not on the remote port; only one remote address was asked, so that it may depend on that.
    OneAddress,
    /// On the remote address.
    AddressDependent,
    /// On the remote address and port.
    PortDependent,
}

/// How the external ports of new mappings are chosen (RFC 4787 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allocation {
    /// Not known: too few samples.
    #[default]
    Unknown,
    /// The socket's own port.
    Preserving,
    /// The last one given out and `step`.
    Sequential {
        /// Distance of two ports given out one after the other.
        step: u16,
    },
    /// Anything out of a range of ports.
    Random(PortRange),
}

/// Ports from `first` to `last`, both of them included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest; not below `first`.
    pub last: u16,
}

impl PortRange {
    /// All ports that NATs give out.
    pub const ALL: Self = Self { first: FIRST_PORT, last: u16::MAX };

    /// How many there are.
    #[must_use]
    pub fn size(self) -> u32 {
        u32::from(self.last.saturating_sub(self.first)) + 1
    }

    /// Whether it is a block that was recognised, rather than all there is.
    #[must_use]
    pub fn is_block(self) -> bool {
        self.size() <= u32::from(MAX_BLOCK) * 2
    }
}

/// A NAT, as far as it matters for getting through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nat {
    /// On what a mapping depends.
    pub mapping: Mapping,
    /// How ports are chosen.
    pub allocation: Allocation,
    /// Whether it is known to remember strangers whom it has refused, and to take another port towards them.
    pub remembers_refused: bool,
    /// Whether peers say of our own NAT that it is hard, where that is in doubt. They may lie: it makes haste, and is told to nobody.
    pub said_to_be_hard: bool,
}

/// Judges `samples`, which are in the order in which they were sent, those of new mappings close together in time.
#[must_use]
pub fn classify(samples: &[Sample]) -> Nat {
    let mapping = mapping(samples);
    Nat::new(mapping, allocation(mapping, samples))
}

fn mapping(samples: &[Sample]) -> Mapping {
    let pairs = || {
        samples.iter().enumerate().flat_map(|(i, a)| {
            samples[..i].iter().filter(|b| b.socket == a.socket && b.to != a.to).map(move |b| (a, b))
        })
    };
    let differ = |(a, b): (&Sample, &Sample)| a.mapped != b.mapped;
    let same_ip = |(a, b): &(&Sample, &Sample)| a.to.ip() == b.to.ip();
    if pairs().filter(same_ip).any(differ) {
        Mapping::PortDependent
    } else if pairs().any(differ) {
        Mapping::AddressDependent
    } else if pairs().any(|pair| !same_ip(&pair)) {
        Mapping::Independent
    } else if pairs().next().is_some() {
        Mapping::OneAddress
    } else {
        Mapping::Unknown
    }
}

fn allocation(mapping: Mapping, samples: &[Sample]) -> Allocation {
    let ports = new_ports(samples);
    let kept = |sample: &Sample| sample.local_port == sample.mapped.port();
    let may_keep = matches!(mapping, Mapping::Independent | Mapping::OneAddress);
    if may_keep && !samples.is_empty() && samples.iter().all(kept) {
        Allocation::Preserving
    } else if let Some(step) = step(&ports) {
        Allocation::Sequential { step }
    } else if ports.len() >= BLOCK_SAMPLES {
        Allocation::Random(block(&ports).unwrap_or(PortRange::ALL))
    } else {
        Allocation::Unknown
    }
}

/// The external ports in the order in which they were given out, each once.
fn new_ports(samples: &[Sample]) -> Vec<u16> {
    let mut ports = Vec::new();
    for sample in samples {
        if !ports.contains(&sample.mapped.port()) {
            ports.push(sample.mapped.port());
        }
    }
    ports
}

/// The step of a counter: the distance that most neighbours have. Other flows make some distances larger, and once the
/// counter may begin anew; three small equal distances out of five happen in no other way.
fn step(ports: &[u16]) -> Option<u16> {
    let mut counts = BTreeMap::<u16, usize>::new();
    let distances = ports.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    for distance in distances.filter(|distance| (1..=MAX_STEP).contains(distance)) {
        *counts.entry(distance).or_default() += 1;
    }
    let (step, count) = counts.into_iter().max_by_key(|(step, count)| (*count, u16::MAX - step))?;
    (count >= 3 && 2 * count >= ports.len() - 1).then_some(step)
}

/// The block that `ports` come from, if they lie as close together as ports of a block do.
fn block(ports: &[u16]) -> Option<PortRange> {
    let (low, high) = (*ports.iter().min()?, *ports.iter().max()?);
    let spread = high - low;
    if spread > MAX_BLOCK {
        return None;
    }
    // Carriers cut the ports from 0 or from 1024 on into equal powers of two. The smallest such piece that holds all
    // samples is too small only if they all lie in one half of the true one: once in a thousand times for eleven.
    let aligned = (MIN_BLOCK_BITS..=MAX_BLOCK_BITS).find_map(|bits| piece(bits, low, high));
    let is_close = |piece: &PortRange| piece.size() <= 4 * u32::from(spread).max(1 << MIN_BLOCK_BITS);
    // A block that is cut in another way sticks out on both sides of the samples, by less than half of their spread.
    let margin = spread / 2;
    let plain =
        PortRange { first: low.saturating_sub(margin).max(FIRST_PORT), last: high.saturating_add(margin) };
    Some(aligned.filter(is_close).unwrap_or(plain))
}

/// The piece of 2^`bits` ports, counted from 0 or from 1024, that holds both `low` and `high`.
fn piece(bits: u32, low: u16, high: u16) -> Option<PortRange> {
    [0, FIRST_PORT].into_iter().find_map(|offset| {
        let first = (low.checked_sub(offset)? >> bits << bits) + offset;
        let last = u16::try_from(u32::from(first) + (1 << bits) - 1).unwrap_or(u16::MAX);
        (high <= last).then_some(PortRange { first: first.max(FIRST_PORT), last })
    })
}

/// What [`method`](super::method::method) distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing is known.
    Unknown,
    /// The endpoint that the server sees is the one that everybody can use.
    Easy,
    /// Perhaps easy; if not, the ports of other mappings are chosen like this.
    Doubtful(Choice),
    /// Every peer sees another endpoint.
    Hard(Choice),
}

/// How a hard NAT chooses ports, as far as that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// By a counter with this step.
    Counter(u16),
    /// At random among these.
    Random(PortRange),
}

impl Nat {
    /// One that maps and chooses ports like this; nothing else is known of it.
    #[must_use]
    pub const fn new(mapping: Mapping, allocation: Allocation) -> Self {
        Self { mapping, allocation, remembers_refused: false, said_to_be_hard: false }
    }

    /// What it comes to.
    #[must_use]
    pub fn class(self) -> Class {
        let choice = match self.allocation {
            Allocation::Sequential { step } => Choice::Counter(step),
            Allocation::Random(range) => Choice::Random(range),
            Allocation::Unknown | Allocation::Preserving => Choice::Random(PortRange::ALL),
        };
        match (self.mapping, self.allocation) {
            (Mapping::Unknown, _) => Class::Unknown,
            // A NAT that keeps ports keeps them for everybody.
            (Mapping::Independent, _) | (Mapping::OneAddress, Allocation::Preserving) => Class::Easy,
            (Mapping::OneAddress, _) => Class::Doubtful(choice),
            (Mapping::AddressDependent | Mapping::PortDependent, _) => Class::Hard(choice),
        }
    }

    /// The same NAT, which is known to remember whom it has refused or not.
    #[must_use]
    pub const fn remembering(self, remembers_refused: bool) -> Self {
        Self { remembers_refused, ..self }
    }

    /// Whether everybody may see the same endpoint.
    #[must_use]
    pub const fn may_be_easy(self) -> bool {
        matches!(self.mapping, Mapping::Independent | Mapping::OneAddress)
    }

    /// Whether samples of new mappings would tell more.
    #[must_use]
    pub fn wants_ports(self) -> bool {
        matches!(self.class(), Class::Hard(_) | Class::Doubtful(_)) && self.allocation == Allocation::Unknown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(socket: u32, to: &str, port: u16) -> Sample {
        let mapped = SocketAddr::from(([198, 51, 100, 1], port));
        Sample { local_port: 5000, socket, to: to.parse().unwrap(), mapped }
    }

    const A1: &str = "203.0.113.1:1";
    const A2: &str = "203.0.113.1:2";
    const B1: &str = "203.0.113.2:1";

    fn new_mappings(ports: &[u16]) -> Vec<Sample> {
        (0..).zip(ports).map(|(socket, port)| sample(socket, A1, *port)).collect()
    }

    /// RFC 5780 §4.3.
    #[test]
    fn mappings_are_told_apart() {
        let of = |samples: &[Sample]| classify(samples).mapping;
        assert_eq!(of(&[]), Mapping::Unknown);
        assert_eq!(of(&[sample(0, A1, 7)]), Mapping::Unknown);
        assert_eq!(of(&[sample(0, A1, 7), sample(0, A2, 7)]), Mapping::OneAddress);
        assert_eq!(of(&[sample(0, A1, 7), sample(0, B1, 7)]), Mapping::Independent);
        assert_eq!(of(&[sample(0, A1, 7), sample(0, A2, 7), sample(0, B1, 8)]), Mapping::AddressDependent);
        assert_eq!(of(&[sample(0, A1, 7), sample(0, A2, 9), sample(0, B1, 8)]), Mapping::PortDependent);
        assert_eq!(of(&[sample(0, A1, 7), sample(1, A2, 8)]), Mapping::Unknown, "two sockets");
    }

    #[test]
    fn kept_ports_make_a_nat_easy_even_if_one_address_was_asked() {
        let kept = classify(&[sample(0, A1, 5000), sample(0, A2, 5000)]);
        assert_eq!((kept.allocation, kept.class()), (Allocation::Preserving, Class::Easy));
        let changed = classify(&[sample(0, A1, 5001), sample(0, A2, 5001)]);
        assert_eq!(changed.class(), Class::Doubtful(Choice::Random(PortRange::ALL)));
        assert!(changed.wants_ports() && !kept.wants_ports());
    }

    #[test]
    fn counters_show_through_other_flows_and_their_own_end() {
        let of = |ports: &[u16]| classify(&new_mappings(ports)).allocation;
        assert_eq!(of(&[100, 101, 102, 103]), Allocation::Sequential { step: 1 });
        assert_eq!(of(&[100, 104, 106, 108, 114, 116]), Allocation::Sequential { step: 2 });
        assert_eq!(of(&[65_533, 65_534, 65_535, 1024, 1025]), Allocation::Sequential { step: 1 });
        assert_eq!(of(&[100, 101, 103]), Allocation::Unknown, "too little to tell");
    }

    proptest! {
        #[test]
        fn blocks_are_found(block in 0u16..31, draws in proptest::collection::vec(0u16..2048, 11)) {
            let first = FIRST_PORT + block * 2048;
            let ports: Vec<_> = draws.iter().map(|draw| first + draw).collect();
            let Allocation::Random(found) = classify(&new_mappings(&ports)).allocation else {
                // Some draws came twice, or in a row.
                return Ok(());
            };
            prop_assert!(found.is_block());
            prop_assert!(ports.iter().all(|port| (found.first..=found.last).contains(port)));
            let spread = ports.iter().max().unwrap() - ports.iter().min().unwrap();
            if spread > 1024 {
                prop_assert_eq!(found, PortRange { first, last: first + 2047 });
            }
        }

        #[test]
        fn no_samples_panic(ports in proptest::collection::vec(any::<u16>(), 0..20)) {
            let nat = classify(&new_mappings(&ports));
            if let Allocation::Random(range) = nat.allocation {
                prop_assert!(range.first <= range.last);
            }
        }
    }
}
