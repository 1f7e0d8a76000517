//! The report as `--json` has it. The names here are promises; `docs/commands.md` §7 has them.

use std::time::Duration;

use common::traversal::nat::{Allocation, Choice, Class, Mapping};
use common::traversal::survey::Filtering;
use common::traversal::survey::lifetime::Lifetime;
use serde::Serialize;

use super::meaning;
use crate::net::netcheck::{Kind, Report, ServerReport, WayReport};
use crate::networks::{Known, KnownLifetime};

/// See the module.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct View {
    pub(super) server: Option<ServerView>,
    pub(super) network: Network,
    pub(super) stun: Vec<Stun>,
    pub(super) stun_silent: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) ipv6: Ipv6,
    pub(super) port_mapping: Vec<Protocol>,
    pub(super) meaning: Vec<String>,
    pub(super) before: Option<Before>,
}

#[derive(Debug, Serialize)]
pub(super) struct ServerView {
    pub(super) address: String,
    pub(super) key: Option<String>,
    pub(super) carrier: Option<String>,
    pub(super) ms: Option<f64>,
    pub(super) error: Option<String>,
    pub(super) ways: Vec<Way>,
}

#[derive(Debug, Serialize)]
pub(super) struct Way {
    pub(super) carrier: String,
    pub(super) port: u16,
    pub(super) proxied: bool,
    pub(super) address: Option<String>,
    pub(super) ms: Option<f64>,
    pub(super) error: Option<String>,
}

/// What happens to UDP.
#[derive(Debug, Serialize)]
pub(super) struct Network {
    pub(super) kind: &'static str,
    pub(super) udp: Option<bool>,
    pub(super) translated: Option<bool>,
    pub(super) mapping: &'static str,
    pub(super) filtering: &'static str,
    pub(super) allocation: &'static str,
    pub(super) step: Option<u16>,
    pub(super) ports: Option<[u16; 2]>,
    pub(super) hairpin: Option<bool>,
    pub(super) lifetime: Option<KnownLifetime>,
    /// Whether measuring was asked for and did not work.
    pub(super) lifetime_failed: bool,
    /// Whether it was measured at an earlier time.
    #[serde(skip)]
    pub(super) lifetime_is_old: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Stun {
    pub(super) server: String,
    pub(super) mapped: String,
    pub(super) ms: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Ipv6 {
    pub(super) address: Option<String>,
    pub(super) ms: Option<f64>,
    pub(super) filtering: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Protocol {
    pub(super) protocol: &'static str,
    pub(super) external: Option<String>,
    pub(super) error: Option<String>,
}

/// What this network was when it was looked at last.
#[derive(Debug, Serialize)]
pub(super) struct Before {
    pub(super) kind: String,
    pub(super) at: u64,
}

impl View {
    pub(super) fn of(report: &Report, lifetime: Option<KnownLifetime>, before: Option<&Known>) -> Self {
        let stun = report.udp.seen.iter().map(|seen| Stun {
            server: seen.server.to_string(),
            mapped: seen.mapped.to_string(),
            ms: ms(seen.rtt),
        });
        let protocols = report.port_mapping.iter().map(|protocol| Protocol {
            protocol: protocol.name,
            external: protocol.outcome.as_ref().ok().map(ToString::to_string),
            error: protocol.outcome.as_ref().err().cloned(),
        });
        Self {
            server: report.server.as_ref().map(ServerView::of),
            network: Network::of(report, lifetime),
            stun: stun.collect(),
            stun_silent: report.silent.clone(),
            addresses: report.own.iter().map(ToString::to_string).collect(),
            ipv6: Ipv6 {
                address: report.ipv6.address.map(|address| address.to_string()),
                ms: report.over_ipv6().map(ms),
                filtering: filtering_word(report.ipv6.filtering),
            },
            port_mapping: protocols.collect(),
            meaning: meaning::sentences(report),
            before: before.map(|before| Before { kind: before.kind.clone(), at: before.at }),
        }
    }

    /// What it comes to, in one word.
    pub(super) const fn kind(&self) -> &'static str {
        self.network.kind
    }
}

impl ServerView {
    fn of(server: &ServerReport) -> Self {
        let registered = server.outcome.as_ref().ok();
        Self {
            address: server.address.clone(),
            key: registered.map(|registered| registered.key.to_string()),
            carrier: registered.map(|registered| registered.route.carrier.to_string()),
            ms: registered.map(|registered| ms(registered.after)),
            error: server.outcome.as_ref().err().map(ToString::to_string),
            ways: server.ways.iter().map(Way::of).collect(),
        }
    }
}

impl Way {
    fn of(way: &WayReport) -> Self {
        Self {
            carrier: way.route.carrier.to_string(),
            port: way.route.port,
            proxied: way.route.is_proxied,
            address: way.address.map(|address| address.to_string()),
            ms: way.outcome.as_ref().ok().copied().map(ms),
            error: way.outcome.as_ref().err().cloned(),
        }
    }
}

impl Network {
    fn of(report: &Report, lifetime: Option<KnownLifetime>) -> Self {
        let nat = report.udp.nat;
        let kind = report.kind();
        let (allocation, step, ports) = match nat.allocation {
            Allocation::Unknown => ("unknown", None, None),
            Allocation::Preserving => ("preserving", None, None),
            Allocation::Sequential { step } => ("sequential", Some(step), None),
            Allocation::Random(range) if range.is_block() => ("block", None, Some([range.first, range.last])),
            Allocation::Random(_) => ("random", None, None),
        };
        Self {
            kind: kind_word(kind),
            udp: match kind {
                Kind::Unknown => None,
                Kind::Blocked => Some(false),
                Kind::Open | Kind::Nat(_) => Some(true),
            },
            translated: report.is_translated(),
            mapping: match nat.mapping {
                Mapping::Unknown => "unknown",
                Mapping::Independent => "endpoint_independent",
                Mapping::OneAddress => "not_port_dependent",
                Mapping::AddressDependent => "address_dependent",
                Mapping::PortDependent => "address_and_port_dependent",
            },
            filtering: filtering_word(report.udp.filtering),
            allocation,
            step,
            ports,
            hairpin: report.udp.hairpin,
            lifetime,
            lifetime_failed: report.lifetime == Some(Lifetime::Unknown),
            lifetime_is_old: !matches!(report.lifetime, Some(Lifetime::Between(..))),
        }
    }
}

const fn filtering_word(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::Unknown => "unknown",
        Filtering::Independent => "endpoint_independent",
        Filtering::NotPortDependent => "not_port_dependent",
        Filtering::AddressDependent => "address_dependent",
        Filtering::PortDependent => "address_and_port_dependent",
    }
}

/// `open`, `easy`, `doubtful`, `counter`, `block`, `random`, `blocked` or `unknown`.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown | Kind::Nat(Class::Unknown) => "unknown",
        Kind::Blocked => "blocked",
        Kind::Open => "open",
        Kind::Nat(Class::Easy) => "easy",
        Kind::Nat(Class::Doubtful(_)) => "doubtful",
        Kind::Nat(Class::Hard(Choice::Counter(_))) => "counter",
        Kind::Nat(Class::Hard(Choice::Random(range))) => {
            if range.first == 1024 && range.last == u16::MAX {
                "random"
            } else {
                "block"
            }
        }
    }
}

/// Tenths are what a measurement is good for.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
