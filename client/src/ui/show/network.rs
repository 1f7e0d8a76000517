//! What is said of connections and of the local network.

use common::identity::PeerId;

use super::INDENT;
use crate::net::unix_ms;
use crate::ui::names::Names;
use crate::ui::news::News;
use crate::ui::ping::{Pinged, Reply, Tally};
use crate::ui::why;

/// The line, or lines, for `news`; `None` if it is of another kind or people need not see it.
pub(super) fn line(news: &News, names: &Names) -> Option<String> {
    match news {
        News::Neighbour { peer, is_here: true, is_new: true } => {
            let short = peer.short();
            Some(format!("somebody new is in this network: {short}; /nearby {short} connects"))
        }
        News::Nearby(people) => Some(nearby(people, names)),
        News::Why(it) => Some(why::lines(it, &names.shown(it.peer), unix_ms()).join(&format!("\n{INDENT}"))),
        News::Pinged { peer, pinged } => Some(one_ping(&names.shown(*peer), pinged)),
        News::Pings { peer, tally } => Some(pings(&names.shown(*peer), tally)),
        _ => None,
    }
}

fn nearby(people: &[(PeerId, bool)], names: &Names) -> String {
    if people.is_empty() {
        return "nobody else is in this network".to_owned();
    }
    let lines = people.iter().map(|(peer, is_known)| match is_known {
        true => format!("\n   {} [{}]", names.shown(*peer), peer.short()),
        false => format!("\n   {}, whom you do not know", peer.short()),
    });
    format!("in this network:{}", lines.collect::<String>())
}

fn one_ping(name: &str, pinged: &Pinged) -> String {
    let Pinged { seq, reply } = pinged;
    match reply {
        None => format!("ping {seq} to {name}: no answer"),
        Some(Reply { rtt_ms, via, remote }) => {
            let remote = remote.map_or_else(String::new, |remote| format!(" {remote}"));
            format!("ping {seq} to {name}: {rtt_ms:.1} ms, {via}{remote}")
        }
    }
}

fn pings(name: &str, tally: &Tally) -> String {
    let times = tally.times().map_or_else(String::new, |[min, avg, max]| {
        format!("; {min:.1} ms at the least, {avg:.1} on average, {max:.1} at the most")
    });
    let Tally { sent, received, .. } = tally;
    format!("{sent} pings to {name}, {received} answered, {:.1} % lost{times}", tally.loss() * 100.0)
}
