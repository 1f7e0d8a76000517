//! Signals of the traversal agents as frames between peers, and back (`docs/protocol.md` §6.3).

use common::traversal::Signal;
use common::traversal::cause::{Access, Passes};
use common::traversal::nat::{Allocation, Mapping, Nat, PortRange};
use common::traversal::signal::{Aim, Counter, MAX_AIMED};

use super::wire::{AccessFrame, AimFrame, CounterFrame, NatFrame, ToPeer};

/// The frame that carries `signal`.
pub(super) fn to_frame(signal: Signal) -> ToPeer {
    match signal {
        Signal::Nat(nat) => from_nat(nat).into(),
        Signal::Access(Access { udp, tcp }) => AccessFrame { udp: digit(udp), tcp: digit(tcp) }.into(),
        Signal::Aim(Aim { ports, range }) => {
            AimFrame { ports, range: range.map(|range| (range.first, range.last)) }.into()
        }
        Signal::Counter(Counter { round, port }) => CounterFrame { round, port }.into(),
    }
}

fn from_nat(nat: Nat) -> NatFrame {
    let mapping = match nat.mapping {
        Mapping::Unknown => 0,
        Mapping::Independent => 1,
        Mapping::OneAddress => 2,
        Mapping::AddressDependent => 3,
        Mapping::PortDependent => 4,
    };
    let (allocation, step, range) = match nat.allocation {
        Allocation::Unknown => (0, 0, (0, 0)),
        Allocation::Preserving => (1, 0, (0, 0)),
        Allocation::Sequential { step } => (2, step, (0, 0)),
        Allocation::Random(range) => (3, 0, (range.first, range.last)),
    };
    NatFrame { mapping, allocation, step, range, remembers: nat.remembers_refused }
}

/// What a peer says of its NAT. What is not known here, or makes no sense, is as good as not known there.
pub(super) fn nat(frame: &NatFrame) -> Signal {
    let mapping = match frame.mapping {
        1 => Mapping::Independent,
        2 => Mapping::OneAddress,
        3 => Mapping::AddressDependent,
        4 => Mapping::PortDependent,
        _ => Mapping::Unknown,
    };
    let allocation = match (frame.allocation, port_range(frame.range)) {
        (1, _) => Allocation::Preserving,
        (2, _) if frame.step > 0 => Allocation::Sequential { step: frame.step },
        (3, Some(range)) => Allocation::Random(range),
        _ => Allocation::Unknown,
    };
    Signal::Nat(Nat::new(mapping, allocation).remembering(frame.remembers))
}

const fn digit(passes: Passes) -> u8 {
    match passes {
        Passes::Unknown => 0,
        Passes::Yes => 1,
        Passes::No => 2,
    }
}

/// What a peer says of what gets out of its network.
pub(super) fn access(frame: &AccessFrame) -> Signal {
    let passes = |digit| match digit {
        1 => Passes::Yes,
        2 => Passes::No,
        _ => Passes::Unknown,
    };
    Signal::Access(Access { udp: passes(frame.udp), tcp: passes(frame.tcp) })
}

/// Where a peer wants checks.
pub(super) fn aim(frame: AimFrame) -> Signal {
    let AimFrame { mut ports, range } = frame;
    ports.truncate(MAX_AIMED);
    Signal::Aim(Aim { ports, range: range.and_then(port_range) })
}

/// Where a peer's counter stands.
pub(super) fn counter(frame: &CounterFrame) -> Signal {
    Signal::Counter(Counter { round: frame.round, port: frame.port })
}

fn port_range((first, last): (u16, u16)) -> Option<PortRange> {
    (first > 0 && first <= last).then_some(PortRange { first, last })
}

#[cfg(test)]
mod tests {
    use common::frame::{Message as _, take};

    use super::*;

    #[test]
    fn signals_arrive_as_they_were_sent() {
        let block = PortRange { first: 3072, last: 5119 };
        let mut nats = Vec::new();
        for mapping in [
            Mapping::Unknown,
            Mapping::Independent,
            Mapping::OneAddress,
            Mapping::AddressDependent,
            Mapping::PortDependent,
        ] {
            for allocation in [
                Allocation::Unknown,
                Allocation::Preserving,
                Allocation::Sequential { step: 3 },
                Allocation::Random(block),
            ] {
                let nat = Nat::new(mapping, allocation);
                nats.extend([nat, nat.remembering(true)].map(Signal::Nat));
            }
        }
        let others = [
            Signal::Aim(Aim { ports: vec![1, 2], range: None }),
            Signal::Aim(Aim { ports: Vec::new(), range: Some(block) }),
            Signal::Counter(Counter { round: 7, port: 4000 }),
            Signal::Access(Access { udp: Passes::No, tcp: Passes::Yes }),
            Signal::Access(Access { udp: Passes::Unknown, tcp: Passes::No }),
        ];
        for signal in nats.into_iter().chain(others) {
            let bytes = to_frame(signal.clone()).to_bytes();
            let back = match take(&mut bytes[..].into()).unwrap() {
                Some(ToPeer::Nat(frame)) => nat(&frame),
                Some(ToPeer::Aim(frame)) => aim(frame),
                Some(ToPeer::Counter(frame)) => counter(&frame),
                Some(ToPeer::Access(frame)) => access(&frame),
                other => panic!("{other:?}"),
            };
            assert_eq!(back, signal);
        }
    }

    #[test]
    fn nonsense_is_as_good_as_nothing() {
        let frame = NatFrame { mapping: 77, allocation: 3, step: 0, range: (9, 3), remembers: false };
        assert_eq!(nat(&frame), Signal::Nat(Nat::default()));
        assert_eq!(access(&AccessFrame { udp: 9, tcp: 255 }), Signal::Access(Access::default()));
        let many = AimFrame { ports: vec![7; 1000], range: Some((0, 0)) };
        assert_eq!(aim(many), Signal::Aim(Aim { ports: vec![7; MAX_AIMED], range: None }));
    }
}
