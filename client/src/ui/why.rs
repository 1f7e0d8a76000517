//! How somebody is connected and why not better, in words and for scripts. Pure.

use common::traversal::Outlook;
use common::traversal::cause::{Cause, Whose};
use common::traversal::method::Method;
use common::traversal::tcp::{TcpOutlook, TcpState};

use super::news::path_text;
use super::words;
use crate::engine::Why;
use crate::net::Insight;

/// The lines for `why` about `name` at `now_ms`, the first of them about the path.
pub(super) fn lines(why: &Why, name: &str, now_ms: u64) -> Vec<String> {
    let Some(insight) = &why.insight else { return absent(why, name) };
    let path = insight.path;
    let since = why
        .since_ms
        .map_or_else(String::new, |since| format!(", for {}", words::duration(now_ms.saturating_sub(since))));
    let Outlook { mine, theirs, access, .. } = insight.outlook;
    let mut lines = vec![
        format!("{name}: {}{since}", path_text(path.via, path.remote, path.rtt)),
        format!("your network: {}", words::network(mine, access[0])),
        format!("{name}'s network: {}", words::network(theirs, access[1])),
        format!("tried: {}", tried(insight)),
        cause(insight.cause, insight.tcp, name),
    ];
    let advice = advice(insight, name);
    if !advice.is_empty() {
        lines.push("what would help, one of these:".to_owned());
        lines.extend(advice.into_iter().map(|advice| format!("- {advice}")));
    }
    lines
}

fn absent(why: &Why, name: &str) -> Vec<String> {
    let state = if why.online { "online, but not connected" } else { "not connected, and not online" };
    let mut lines = vec![format!("{name}: {state}")];
    if let Some(trouble) = &why.trouble {
        lines.push(format!("the last time: {}", common::text::one_line(trouble, 200)));
    }
    lines
}

fn tried(insight: &Insight) -> String {
    let Outlook { checks, answered, method, failures, packets, .. } = insight.outlook;
    let checks = words::count(checks, "direct packet", "direct packets");
    let mut parts = vec![format!("{checks} over UDP, {answered} answered")];
    if let Some(method) = method_text(method) {
        let (tries, packets) =
            (words::count(failures, "try", "tries"), words::count(packets, "packet", "packets"));
        parts.push(format!("{method}: {tries} failed, {packets}"));
    }
    let TcpOutlook { state, failed } = insight.tcp;
    let rounds = words::count(failed, "round", "rounds");
    match state {
        TcpState::NotNeeded => {}
        TcpState::Waiting => parts.push(format!("TCP: {rounds} failed, the next one comes")),
        TcpState::Trying => parts.push(format!("TCP: {rounds} failed, one is under way")),
        TcpState::Connected => parts.push("TCP: connected".to_owned()),
        TcpState::GivenUp => parts.push(format!("TCP: {rounds} failed, given up")),
    }
    parts.join("; ")
}

const fn method_text(method: Method) -> Option<&'static str> {
    match method {
        Method::Unknown | Method::Plain | Method::Hopeless(_) => None,
        Method::Together => Some("new sockets on both sides at the same moment"),
        Method::Follow => Some("their ports foreseen or guessed"),
        Method::Lead(_) | Method::Both(_) => Some("your ports foreseen or guessed"),
        Method::Meet { .. } => Some("both ports foreseen"),
    }
}

/// The stable word for a cause, and for whose it is.
pub(super) fn word(cause: Cause) -> (&'static str, Option<Whose>) {
    match cause {
        Cause::Local => ("local", None),
        Cause::Direct => ("direct", None),
        Cause::UdpBlocked(whose) => ("udp_blocked", Some(whose)),
        Cause::BlockedAndRandom { blocked } => ("udp_blocked_and_random", Some(blocked)),
        Cause::WebOnly(whose) => ("web_only", Some(whose)),
        Cause::BothRandom => ("both_random", Some(Whose::Both)),
        Cause::CounterAndRandom { random } => ("counter_and_random", Some(random)),
        Cause::Trying => ("trying", None),
        Cause::Unknown(whose) => ("unknown", Some(whose)),
        Cause::Dropped => ("dropped", None),
    }
}

/// The stable word for how far TCP is.
pub(super) const fn tcp_word(state: TcpState) -> &'static str {
    match state {
        TcpState::NotNeeded => "not_needed",
        TcpState::Waiting => "waiting",
        TcpState::Trying => "trying",
        TcpState::Connected => "connected",
        TcpState::GivenUp => "given_up",
    }
}

/// Whose it is, as a place.
fn place(whose: Whose, name: &str) -> String {
    match whose {
        Whose::Mine => "your network".to_owned(),
        Whose::Theirs => format!("{name}'s network"),
        Whose::Both => "both networks".to_owned(),
    }
}

fn other(whose: Whose, name: &str) -> String {
    place(whose.reversed(), name)
}

/// Why it is not better, in a sentence.
pub(super) fn cause(cause: Cause, tcp: TcpOutlook, name: &str) -> String {
    match cause {
        Cause::Local => "this is the best there is: packets stay in the local network".to_owned(),
        Cause::Direct => "this is the best there is: packets go straight from machine to machine".to_owned(),
        Cause::UdpBlocked(whose) => {
            let place = place(whose, name);
            let tcp = match tcp.state {
                TcpState::Connected => "so that TCP has to do",
                _ => "and TCP between the two did not get through either",
            };
            format!("why not better: UDP does not pass in {place}, {tcp}")
        }
        Cause::BlockedAndRandom { blocked } => format!(
            "why not better: UDP does not pass in {}, and the router of {} gives each connection a random port, \
             which nobody can foresee",
            place(blocked, name),
            other(blocked, name)
        ),
        Cause::WebOnly(whose) => format!(
            "why not better: {} lets nothing out but to the ports of the web, 80 and 443",
            place(whose, name)
        ),
        Cause::BothRandom => {
            "why not better: both routers give each connection a random port, which nobody can foresee"
                .to_owned()
        }
        Cause::CounterAndRandom { random } => format!(
            "why not better: the router of {} gives each connection a random port, and that of {} a new one for \
             each try",
            place(random, name),
            other(random, name)
        ),
        Cause::Trying => "a better way is being looked for".to_owned(),
        Cause::Unknown(whose) => format!(
            "why not better: direct packets got no answer, and what the router of {} does is not known, for the \
             server did not answer enough questions about it",
            place(whose, name)
        ),
        Cause::Dropped => {
            "why not better: both routers would let a direct path through, but something between the \
                           two drops the packets, a firewall most likely"
                .to_owned()
        }
    }
}

/// What the user could change.
pub(super) fn advice(insight: &Insight, name: &str) -> Vec<String> {
    let (whose, is_udp_out, is_random) = match insight.cause {
        Cause::Local | Cause::Direct | Cause::Trying => return Vec::new(),
        Cause::UdpBlocked(whose) | Cause::WebOnly(whose) => (whose, true, false),
        Cause::BlockedAndRandom { blocked } => (blocked, true, true),
        Cause::BothRandom => (Whose::Both, false, true),
        Cause::CounterAndRandom { .. } => (Whose::Both, false, true),
        Cause::Unknown(whose) => (whose, false, false),
        Cause::Dropped => (Whose::Both, false, false),
    };
    let mut advice = Vec::new();
    if is_udp_out {
        advice.push(format!("let outgoing UDP pass in the firewall of {}", place(whose, name)));
    } else if !is_random {
        advice.push("let UDP pass in the firewalls on both sides, this machine's own among them".to_owned());
    }
    if is_random {
        let at = if is_udp_out { other(whose, name) } else { "one of the two networks".to_owned() };
        let known = match (insight.asks_router, insight.mapped) {
            (_, Some(_)) => "; yours gives one already",
            (true, None) => "; yours was asked and did not give one",
            (false, None) => "; this client was told not to ask yours",
        };
        advice.push(format!("switch on port mapping (UPnP, PCP or NAT-PMP) in the router of {at}{known}"));
    }
    let six = if insight.has_ipv6 { "; you have it" } else { "; you have none" };
    advice.push(format!("IPv6 on both sides{six}"));
    advice.push("another network, such as a telephone's hotspot or a home instead of an office".to_owned());
    advice
}

#[cfg(test)]
mod tests;
