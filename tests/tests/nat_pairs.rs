//! Which pairs of NATs can punch, found by playing it out over the model: a check of the model against what
//! is known of NATs (RFC 5128 §3.3, and the tables of STUN behaviour discovery).
//!
//! Both sides ask a server for their public endpoint, learn the other's, and send to it, each three times in
//! turn; a side that hears from the other answers where it heard from. A pair punches if in the end both have
//! heard the other. Nothing is predicted and no port is probed: that is what hard NATs need on top.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tests::nat::{Flow, Nat, Profile, Verdict};

/// How often both sides send.
const ROUNDS: u64 = 3;

/// A host behind its NAT.
struct Side {
    nat: Nat,
    internal: SocketAddr,
    /// Where it sends to: first what the server said, then where it heard from.
    target: SocketAddr,
    heard: bool,
}

impl Side {
    fn new(profile: Profile, n: u8) -> Self {
        let public = [198, 51, 100, n].into();
        let internal = SocketAddr::from(([192, 168, n, 10], 5000));
        Self { nat: Nat::new(profile, vec![public], u64::from(n)), internal, target: internal, heard: false }
    }

    /// The public endpoint that a server sees, if UDP passes.
    fn observed(&mut self) -> Option<SocketAddr> {
        let server = SocketAddr::from(([203, 0, 113, 1], 3478));
        match self.nat.outbound(Duration::ZERO, Flow::udp(self.internal, server)) {
            Verdict::Forward(flow) => Some(flow.src),
            Verdict::Drop(_) | Verdict::Reject(_) | Verdict::Hairpin(_) => None,
        }
    }

    /// Sends one packet to the other side, who notes where it came from.
    fn send(&mut self, now: Duration, other: &mut Self) {
        let Verdict::Forward(sent) = self.nat.outbound(now, Flow::udp(self.internal, self.target)) else {
            return;
        };
        if let Verdict::Forward(received) = other.nat.inbound(now, sent) {
            assert_eq!(received.dst, other.internal);
            other.heard = true;
            other.target = received.src;
        }
    }
}

fn punches(a: Profile, b: Profile) -> bool {
    let (mut a, mut b) = (Side::new(a, 1), Side::new(b, 2));
    let (Some(public_a), Some(public_b)) = (a.observed(), b.observed()) else { return false };
    (a.target, b.target) = (public_b, public_a);
    for round in 1..=ROUNDS {
        let now = Duration::from_millis(round * 100);
        a.send(now, &mut b);
        b.send(now, &mut a);
    }
    a.heard && b.heard
}

/// Rows and columns: who starts, who follows. `+` punches, `.` does not.
///
/// Two kinds deserve a word. Where mappings are endpoint-independent and both send first, filtering never
/// matters. A hard NAT reaches a filter that looks at addresses only, since its address is known; it never
/// reaches one that looks at ports. `linux` refuses whom it does not know yet and then spoils its own port, so
/// it punches as the one who starts, and as the one who follows only towards a filter that ignores ports.
const TABLE: &str = "
                     full eadf epre eran linx cgnt adma sseq sblk sran udpb webo
full_cone             +    +    +    +    +    +    +    +    +    +    .    .
eim_adf               +    +    +    +    +    +    +    +    +    +    .    .
eim_apdf_preserving   +    +    +    +    .    +    .    .    .    .    .    .
eim_apdf_random       +    +    +    +    .    +    .    .    .    .    .    .
linux                 +    +    +    +    .    +    .    .    .    .    .    .
cgnat                 +    +    +    +    .    +    .    .    .    .    .    .
adm_apdf              +    +    .    .    .    .    .    .    .    .    .    .
symmetric_sequential  +    +    .    .    .    .    .    .    .    .    .    .
symmetric_block       +    +    .    .    .    .    .    .    .    .    .    .
symmetric_random      +    +    .    .    .    .    .    .    .    .    .    .
udp_blocked           .    .    .    .    .    .    .    .    .    .    .    .
web_only              .    .    .    .    .    .    .    .    .    .    .    .
";

#[test]
fn the_table_of_pairs() {
    let names: Vec<&str> = Profile::all().iter().map(|profile| profile.name).collect();
    let mut expected = BTreeMap::new();
    for line in TABLE.lines().skip(2) {
        let mut words = line.split_whitespace();
        let row = words.next().unwrap();
        for (column, mark) in names.iter().zip(words) {
            expected.insert((row.to_owned(), (*column).to_owned()), mark == "+");
        }
    }
    assert_eq!(expected.len(), names.len() * names.len(), "the table covers every pair");
    let found: BTreeMap<_, _> = Profile::all()
        .into_iter()
        .flat_map(|a| Profile::all().into_iter().map(move |b| (a, b)))
        .map(|(a, b)| ((a.name.to_owned(), b.name.to_owned()), punches(a, b)))
        .collect();
    let wrong: Vec<_> = found.iter().filter(|(pair, punched)| expected[*pair] != **punched).collect();
    assert!(wrong.is_empty(), "differ from the table: {wrong:?}");
}

/// Whoever starts, an easy pair punches; only what keeps state of refused packets cares about the order.
#[test]
fn the_order_matters_only_to_linux() {
    for a in Profile::all() {
        for b in Profile::all() {
            if a.name != "linux" && b.name != "linux" {
                assert_eq!(punches(a, b), punches(b, a), "{} and {}", a.name, b.name);
            }
        }
    }
}
