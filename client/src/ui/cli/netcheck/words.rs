//! The report for people, a subject a line.

use super::view::{Network, Protocol, ServerView, View, Way};
use crate::ui::time::iso;

/// Columns before what is said of a subject.
const INDENT: usize = 12;
/// Columns of a line.
const WIDTH: usize = 100;

/// Lines, each with its line break.
pub(super) fn text(view: &View) -> String {
    let mut text = String::new();
    if let Some(server) = &view.server {
        text += &line("server", &of_server(server));
        for way in &server.ways {
            text += &line("", &of_way(way));
        }
    }
    if let Some(stun) = view.stun.first() {
        let own = if view.addresses.is_empty() { "unknown".to_owned() } else { view.addresses.join(", ") };
        text += &line("seen as", &format!("{}; own addresses: {own}", stun.mapped));
        text +=
            &line("STUN", &format!("{} answered, the first in {} ms", endpoints(view.stun.len()), stun.ms));
    }
    for silent in &view.stun_silent {
        text += &line("STUN", &format!("{silent} did not answer"));
    }
    text += &of_network(&view.network);
    text += &line("IPv6", &of_ipv6(view));
    if view.port_mapping.is_empty() {
        text += &line("router", "not asked for ports: none is known, or it was not wanted");
    }
    for (n, protocol) in view.port_mapping.iter().enumerate() {
        text += &line(if n == 0 { "router" } else { "" }, &of_protocol(protocol));
    }
    if let Some(before) = &view.before
        && before.kind != view.network.kind
    {
        text += &line("before", &format!("this network was \"{}\" when it was looked at last", before.kind));
    }
    text.push('\n');
    for sentence in &view.meaning {
        text += &wrap(sentence, WIDTH, "");
    }
    text
}

fn endpoints(count: usize) -> String {
    if count == 1 { "one endpoint".to_owned() } else { format!("{count} endpoints") }
}

fn of_server(server: &ServerView) -> String {
    match (&server.carrier, server.ms, &server.key) {
        (Some(carrier), Some(ms), Some(key)) => {
            format!("{} registers a client over {carrier} within {ms} ms; its key is {key}", server.address)
        }
        _ if server.ways.iter().any(|way| way.ms.is_some()) => {
            format!("{} NOT USED: {}", server.address, server.error.as_deref().unwrap_or("it did not greet"))
        }
        _ => format!("{} NOT REACHED", server.address),
    }
}

fn of_way(way: &Way) -> String {
    let place = match &way.address {
        Some(address) => format!("at {address}"),
        None => format!("port {}", way.port),
    };
    let proxied = if way.proxied { " through the proxy" } else { "" };
    let outcome = match (way.ms, &way.error) {
        (Some(ms), _) => format!("{ms} ms"),
        (None, Some(error)) => error.clone(),
        (None, None) => "no answer".to_owned(),
    };
    format!("{:<10}{place}{proxied}: {outcome}", way.carrier)
}

fn of_network(network: &Network) -> String {
    match network.udp {
        None => return line("UDP", "nobody answered"),
        Some(false) => return line("UDP", "does not pass"),
        Some(true) => {}
    }
    let nat = if network.translated == Some(true) {
        "yes"
    } else {
        "none: packets leave with this machine's address"
    };
    let mut text = line("NAT", nat);
    text += &line("mapping", &of_mapping(network));
    text += &line("filtering", of_filtering(network));
    text += &line("ports", &of_ports(network));
    let hairpin = match network.hairpin {
        Some(true) => "yes: sockets behind it reach each other at their endpoints outside",
        Some(false) => "no: what is sent to its own outside does not come back in",
        None => "not known",
    };
    text += &line("hairpin", hairpin);
    text + &line("lifetime", &of_lifetime(network))
}

fn of_mapping(network: &Network) -> String {
    let (name, words) = match network.mapping {
        "endpoint_independent" => ("endpoint-independent", "one endpoint outside, whoever a socket sends to"),
        "not_port_dependent" => (
            "endpoint- or address-dependent",
            "one endpoint outside for all ports of the server; whether for other addresses, only a server with two tells",
        ),
        "address_dependent" => ("address-dependent", "another endpoint outside for every address"),
        "address_and_port_dependent" => {
            ("address- and port-dependent", "another endpoint outside for everybody")
        }
        _ => return "not known: too few answers".to_owned(),
    };
    format!("{words} ({name})")
}

fn of_filtering(network: &Network) -> &'static str {
    match network.filtering {
        "endpoint_independent" => "lets everybody in (endpoint-independent)",
        "not_port_dependent" => {
            "lets in all ports of an address that was sent to, perhaps everybody; only a server with two addresses tells"
        }
        "address_dependent" => "lets in addresses that something was sent to (address-dependent)",
        "address_and_port_dependent" => "lets in nobody but who was sent to (address- and port-dependent)",
        _ => {
            "not known: no server answered from elsewhere (RFC 5780); others may have to be sent to before they get in"
        }
    }
}

fn of_ports(network: &Network) -> String {
    match (network.allocation, network.step, network.ports) {
        ("preserving", ..) => "a socket's own port is kept (preserving)".to_owned(),
        ("sequential", Some(step), _) => format!("counted, {step} further each time (sequential)"),
        ("block", _, Some([first, last])) => {
            let size = u32::from(last) - u32::from(first) + 1;
            format!("at random out of a block of about {size}, from {first} to {last}")
        }
        ("random", ..) => "at random out of all".to_owned(),
        _ => "not known".to_owned(),
    }
}

fn of_lifetime(network: &Network) -> String {
    let known = match &network.lifetime {
        None if network.lifetime_failed => {
            return "could not be measured: the server gave no help, or went away".to_owned();
        }
        None => return "not measured; --lifetime does that, in minutes".to_owned(),
        Some(known) => known,
    };
    let found = match known.dead_s {
        Some(dead) => format!("a silent socket is forgotten after {:.0} to {dead:.0} s", known.alive_s),
        None => format!("a silent socket is still known after {:.0} s", known.alive_s),
    };
    if network.lifetime_is_old {
        format!("{found} (measured on this network {})", iso(known.at))
    } else {
        found
    }
}

fn of_ipv6(view: &View) -> String {
    match (&view.ipv6.address, view.ipv6.ms) {
        (_, Some(ms)) => format!("reaches the server in {ms} ms; {}", of_firewall(view.ipv6.filtering)),
        (Some(address), None) => format!("{address}; the server was not reached over it"),
        (None, None) => "none".to_owned(),
    }
}

fn of_firewall(filtering: &str) -> &'static str {
    match filtering {
        "endpoint_independent" => "no firewall: whoever knows the address gets in",
        "not_port_dependent" => {
            "the firewall, if there is one, lets in all ports of an address that was sent to; whether everybody, only a \
             server with two addresses tells"
        }
        "address_dependent" => "the firewall lets in addresses that something was sent to",
        "address_and_port_dependent" => "the firewall lets in nothing but answers",
        _ => "what the firewall lets in is not known",
    }
}

fn of_protocol(protocol: &Protocol) -> String {
    let name = match protocol.protocol {
        "pcp" => "PCP",
        "nat_pmp" => "NAT-PMP",
        "upnp" => "UPnP",
        other => other,
    };
    match (&protocol.external, &protocol.error) {
        (Some(external), _) => format!("{name} gives ports; its address outside is {external}"),
        (None, Some(error)) => format!("{name} gives none: {error}"),
        (None, None) => format!("{name} gives none"),
    }
}

fn line(subject: &str, words: &str) -> String {
    wrap(&format!("{subject:<INDENT$}{words}"), WIDTH, &" ".repeat(INDENT))
}

/// Breaks `text` between words; all lines but the first begin with `indent`.
fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    // What stands before the first word is kept as it is.
    let head = text.len() - text.trim_start().len();
    lines[0].push_str(&text[..head]);
    for word in text[head..].split_inclusive(' ') {
        let last = lines.last_mut().expect("there is a line from the beginning");
        if last.chars().count() + word.trim_end().chars().count() <= width || last.trim().is_empty() {
            last.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use common::traversal::nat::{Allocation, Mapping, Nat, PortRange};
    use common::traversal::survey::{Filtering, Findings, Seen};

    use super::*;
    use crate::net::netcheck::{Ipv6, MappingProtocol, Report, ServerReport, WayReport};
    use crate::net::{Route, ServerError};
    use crate::networks::KnownLifetime;

    fn report(mapping: Mapping, allocation: Allocation) -> Report {
        let server = SocketAddr::from(([203, 0, 113, 1], 5000));
        let seen = Seen {
            server,
            mapped: SocketAddr::from(([198, 51, 100, 1], 4000)),
            rtt: Duration::from_millis(50),
        };
        let udp = Findings {
            seen: vec![seen],
            nat: Nat::new(mapping, allocation),
            filtering: Filtering::PortDependent,
            hairpin: Some(false),
        };
        Report {
            server: None,
            udp,
            silent: vec!["stun.example.org:3478".to_owned()],
            own: vec![IpAddr::from([192, 168, 1, 10])],
            lifetime: None,
            ipv6: Ipv6::default(),
            port_mapping: vec![MappingProtocol { name: "pcp", outcome: Err("no answer".to_owned()) }],
        }
    }

    fn words(report: &Report) -> String {
        text(&View::of(report, None, None))
    }

    /// What is promised is what `traversal::method` does, for every class.
    #[test]
    fn two_people_with_this_kind_of_nat_are_told_how_they_fare() {
        let block = PortRange { first: 2048, last: 4095 };
        for (mapping, allocation, promise) in [
            (Mapping::Independent, Allocation::Preserving, "direct, within moments"),
            (Mapping::OneAddress, Allocation::Random(PortRange::ALL), "which this server cannot tell"),
            (Mapping::PortDependent, Allocation::Sequential { step: 2 }, "both counters are foretold"),
            (Mapping::PortDependent, Allocation::Random(block), "over the relay"),
            (Mapping::AddressDependent, Allocation::Random(PortRange::ALL), "over the relay"),
        ] {
            let said = words(&report(mapping, allocation)).replace('\n', " ");
            let (_, both) = said.split_once("Two people with this kind of NAT: ").expect("the sentence");
            assert!(both.split_once(". ").is_some_and(|(both, _)| both.contains(promise)), "{both}");
        }
    }

    #[test]
    fn lines_are_short_and_continue_under_their_subject() {
        let view = View {
            before: None,
            ..View::of(
                &report(Mapping::OneAddress, Allocation::Preserving),
                Some(KnownLifetime { alive_s: 118.2, dead_s: Some(120.0), at: 0 }),
                None,
            )
        };
        let said = text(&view);
        assert!(said.lines().all(|line| line.chars().count() <= WIDTH), "{said}");
        assert!(said.contains(
            "\nlifetime    a silent socket is forgotten after 118 to 120 s (measured on this network 1970"
        ));
        assert!(
            said.contains("\n            ") && said.contains("\nrouter      PCP gives none: no answer\n"),
            "{said}"
        );
    }

    /// A server that is reached over IPv6 alone.
    fn over_ipv6(filtering: Filtering) -> Report {
        let way = WayReport {
            route: Route::udp(5000),
            address: Some("[2001:db8::1]:5000".parse().unwrap()),
            outcome: Ok(Duration::from_millis(50)),
        };
        let outcome = Err(ServerError::Lost("it went".to_owned()));
        let server = ServerReport { address: "host:5000".to_owned(), outcome, ways: vec![way] };
        let ipv6 = Ipv6 { address: Some("2001:db8::2".parse().unwrap()), filtering };
        Report { server: Some(server), ipv6, ..report(Mapping::Independent, Allocation::Preserving) }
    }

    #[test]
    fn a_firewall_of_ipv6_is_told_of() {
        for (filtering, words_of_it) in [
            (Filtering::Unknown, "is not known"),
            (Filtering::Independent, "no firewall"),
            (Filtering::NotPortDependent, "if there is one"),
            (Filtering::AddressDependent, "addresses that something was sent to"),
            (Filtering::PortDependent, "nothing but answers"),
        ] {
            let said = words(&over_ipv6(filtering)).split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, said) = said.split_once("IPv6 reaches the server in 50 ms; ").expect("the line");
            assert!(said.split(" router ").next().is_some_and(|line| line.contains(words_of_it)), "{said}");
        }
    }

    #[test]
    fn without_an_answer_nothing_is_claimed() {
        let nobody = Report { udp: Findings::default(), ..report(Mapping::Unknown, Allocation::Unknown) };
        let said = words(&nobody);
        assert!(said.contains("UDP         nobody answered") && !said.contains("mapping"), "{said}");
        assert!(said.contains("STUN        stun.example.org:3478 did not answer\n"), "{said}");
    }
}
