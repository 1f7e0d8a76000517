//! The event `why`.

use std::net::SocketAddr;

use common::identity::PeerId;
use common::traversal::cause::{Access, Whose};
use common::traversal::nat::Nat;
use serde::Serialize;

use super::Way;
use super::event::text;
use crate::engine;
use crate::ui::{why, words};

/// How somebody is connected, and why not better.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Why<'a> {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    connected: bool,
    online: bool,
    /// Why they were not reached the last time.
    trouble: Option<&'a str>,
    #[serde(flatten)]
    way: Way,
    /// Since when packets have taken this path, in Unix time in milliseconds.
    since_ms: Option<u64>,
    #[serde(flatten)]
    insight: Option<Insight>,
}

#[derive(Debug, Serialize)]
struct Insight {
    cause: &'static str,
    /// `you`, `they`, `both`, or `null` if it is about nobody.
    whose: Option<&'static str>,
    /// The cause as a sentence.
    reason: String,
    advice: Vec<String>,
    you: Network,
    they: Network,
    /// Packets of direct checks, and how many were answered.
    checks: u32,
    answered: u32,
    /// Tries of methods against hard NATs that failed, and their packets.
    tries: u32,
    packets: u32,
    tcp: &'static str,
    /// Rounds of TCP that failed.
    tcp_rounds: usize,
    /// The port that the router gives.
    mapped: Option<SocketAddr>,
}

/// What is known of a network.
#[derive(Debug, Serialize)]
struct Network {
    /// `independent`, `not_by_port`, `by_address`, `by_address_and_port`, `unknown`.
    mapping: &'static str,
    /// `kept`, `counted`, `random_in_block`, `random`, `unknown`.
    ports: &'static str,
    /// Whether it passes to the server; `null` if that is not known.
    udp: Option<bool>,
    tcp: Option<bool>,
    words: String,
}

impl Network {
    fn of(nat: Nat, access: Access) -> Self {
        Self {
            mapping: words::mapping(nat.mapping),
            ports: words::allocation(nat.allocation),
            udp: words::passes(access.udp),
            tcp: words::passes(access.tcp),
            words: words::network(nat, access),
        }
    }
}

impl<'a> Why<'a> {
    pub(super) fn of(why: &'a engine::Why) -> Self {
        Self {
            peer: why.peer,
            connected: why.insight.is_some(),
            online: why.online || why.insight.is_some(),
            trouble: why.trouble.as_deref(),
            way: why.insight.as_ref().map_or_else(Way::default, |insight| Way::of(&insight.path)),
            since_ms: why.since_ms,
            insight: why.insight.as_ref().map(insight),
        }
    }
}

fn insight(insight: &crate::net::Insight) -> Insight {
    // Scripts know whom they asked about.
    let name = "the peer";
    let (cause, whose) = why::word(insight.cause);
    let outlook = insight.outlook;
    Insight {
        cause,
        whose: whose.map(|whose| match whose {
            Whose::Mine => "you",
            Whose::Theirs => "they",
            Whose::Both => "both",
        }),
        reason: why::cause(insight.cause, insight.tcp, name),
        advice: why::advice(insight, name),
        you: Network::of(outlook.mine, outlook.access[0]),
        they: Network::of(outlook.theirs, outlook.access[1]),
        checks: outlook.checks,
        answered: outlook.answered,
        tries: outlook.failures,
        packets: outlook.packets,
        tcp: why::tcp_word(insight.tcp.state),
        tcp_rounds: insight.tcp.failed,
        mapped: insight.mapped,
    }
}
