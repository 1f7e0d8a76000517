//! Words for what a network does, for people who do not know of NATs.

use common::traversal::cause::{Access, Passes};
use common::traversal::nat::{Allocation, Class, Mapping, Nat};

/// What a NAT does, in a few words.
pub(super) fn nat(nat: Nat) -> String {
    let mapping = match (nat.mapping, nat.allocation) {
        (Mapping::Unknown, _) => return "not known".to_owned(),
        (Mapping::Independent | Mapping::OneAddress, Allocation::Preserving) => "ports stay as they are",
        (Mapping::Independent, _) => "one public port for everybody",
        (Mapping::OneAddress, _) => "one public port for the server, perhaps another for others",
        (Mapping::AddressDependent, _) => "another public port for each machine",
        (Mapping::PortDependent, _) => "another public port for each connection",
    };
    let ports = match nat.allocation {
        Allocation::Unknown | Allocation::Preserving => "",
        Allocation::Sequential { .. } => ", one after the other",
        Allocation::Random(range) if range.is_block() => ", at random in a block",
        Allocation::Random(_) => ", at random",
    };
    format!("{} to reach, {mapping}{ports}", difficulty(nat.class()))
}

const fn difficulty(class: Class) -> &'static str {
    match class {
        Class::Unknown => "perhaps easy",
        Class::Doubtful(_) => "probably easy",
        Class::Easy => "easy",
        Class::Hard(_) => "hard",
    }
}

/// What does not get out of a network; empty if nothing is known to be kept in.
pub(super) const fn access(access: Access) -> &'static str {
    match (access.udp, access.tcp) {
        (Passes::No, Passes::No) => "UDP does not pass, TCP only to the web's ports",
        (Passes::No, _) => "UDP does not pass",
        (_, Passes::No) => "TCP passes only to the web's ports",
        _ => "",
    }
}

/// A network as a whole.
pub(super) fn network(of: Nat, what: Access) -> String {
    match (access(what), of.mapping) {
        ("", _) => nat(of),
        (kept, Mapping::Unknown) => kept.to_owned(),
        (kept, _) => format!("{}; {kept}", nat(of)),
    }
}

/// The word for a mapping, stable for scripts.
pub(super) const fn mapping(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::Unknown => "unknown",
        Mapping::Independent => "independent",
        Mapping::OneAddress => "not_by_port",
        Mapping::AddressDependent => "by_address",
        Mapping::PortDependent => "by_address_and_port",
    }
}

/// The word for how ports are chosen, stable for scripts.
pub(super) fn allocation(allocation: Allocation) -> &'static str {
    match allocation {
        Allocation::Unknown => "unknown",
        Allocation::Preserving => "kept",
        Allocation::Sequential { .. } => "counted",
        Allocation::Random(range) if range.is_block() => "random_in_block",
        Allocation::Random(_) => "random",
    }
}

/// `null`, `true` or `false` for scripts.
pub(super) const fn passes(passes: Passes) -> Option<bool> {
    match passes {
        Passes::Unknown => None,
        Passes::Yes => Some(true),
        Passes::No => Some(false),
    }
}

/// Seconds as people say them.
pub(super) fn duration(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

/// So many of something.
pub(super) fn count<T: Copy + PartialEq + From<u8> + std::fmt::Display>(
    count: T,
    one: &str,
    many: &str,
) -> String {
    let noun = if count == T::from(1) { one } else { many };
    format!("{count} {noun}")
}
