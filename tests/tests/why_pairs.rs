//! Whether `why` names the true cause: for every ordered pair of NATs of the model what both sides' machines have learned
//! is judged, and compared with what follows from the NATs' own profiles.

use std::time::{Duration, Instant};

use common::stun::check::{KEY_LEN, Key, KeyName, Side};
use common::traversal::cause::{Access, Cause, Passes, Prospect, Whose};
use common::traversal::nat::Nat as Kind;
use common::traversal::tcp::{TcpOutlook, TcpState};
use common::traversal::{Agent, Event, Outlook, Tier};
use tests::duel::{Front, duel};
use tests::nat::{Allocation, Behavior, Flow, Nat, Profile, TcpFlags, TcpPorts, Verdict};
use tests::tcp_duel::tcp_duel;

/// A pair that is not direct by then stays on the relay.
const PATIENCE: Duration = Duration::from_secs(10);
/// What has no way is given up within this time, once both sides know the classes.
const GIVEN_UP: Duration = Duration::from_secs(1);
/// The share of causes that must be right, in percent.
const WANTED: usize = 95;

/// What stands in front of a machine; `None` for nothing.
type Place = Option<Profile>;

fn name(place: Place) -> &'static str {
    place.map_or("public", |profile| profile.name)
}

fn has_udp(place: Place) -> bool {
    place.is_none_or(|profile| profile.udp)
}

/// The cause as it follows from the profiles, without asking anything that looked at them from outside.
fn expected(mine: Place, theirs: Place) -> Cause {
    let is_hard = |profile: Profile| profile.mapping != Behavior::EndpointIndependent;
    let is_random = |place: Place| {
        place.is_some_and(|profile| {
            let random = matches!(profile.allocation, Allocation::Random | Allocation::Block { .. });
            is_hard(profile) && random && profile.udp
        })
    };
    let is_counter = |place: Place| {
        place.is_some_and(|profile| {
            is_hard(profile) && matches!(profile.allocation, Allocation::Sequential { .. })
        })
    };
    let is_web = |place: Place| place.is_some_and(|profile| profile.tcp_ports == TcpPorts::Web);
    let random = [is_random(mine), is_random(theirs)];
    if let Some(whose) = Whose::of(is_web(mine), is_web(theirs)) {
        return Cause::WebOnly(whose);
    }
    match (Whose::of(!has_udp(mine), !has_udp(theirs)), random) {
        (Some(blocked), [false, false]) => Cause::UdpBlocked(blocked),
        (Some(blocked), _) => Cause::BlockedAndRandom { blocked },
        (None, [true, true]) => Cause::BothRandom,
        (None, [true, false]) if is_counter(theirs) => Cause::CounterAndRandom { random: Whose::Mine },
        (None, [false, true]) if is_counter(mine) => Cause::CounterAndRandom { random: Whose::Theirs },
        (None, _) => Cause::Direct,
    }
}

/// What the machine learns of its NAT from the server's ports.
fn learned(place: Place) -> Kind {
    let front = Front { profile: place, ..Front::public() };
    if has_udp(place) {
        duel([front, Front::public()], 3, 0.0, PATIENCE).outlooks[0].mine
    } else {
        Kind::default()
    }
}

/// What it learns of what gets out, trying as clients do.
fn access(place: Place) -> Access {
    let syn = Flow::tcp(
        TcpFlags::SYN,
        "192.168.1.10:4000".parse().expect("an address"),
        "203.0.113.1:5000".parse().expect("an address"),
    );
    let is_out = place.is_none_or(|profile| {
        let mut nat = Nat::new(profile, vec!["198.51.100.1".parse().expect("an address")], 1);
        matches!(nat.outbound(Duration::ZERO, syn), Verdict::Forward(_))
    });
    let passes = |is_so: bool| if is_so { Passes::Yes } else { Passes::No };
    Access { udp: passes(has_udp(place)), tcp: passes(is_out) }
}

/// What two agents know when they have told each other, where there is no UDP for them to try.
#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn told(places: [Place; 2]) -> [Outlook; 2] {
    let now = Instant::now();
    let mut agents = [1, 2].map(|n| Agent::new(n, u64::from(n)));
    for (agent, place) in agents.iter_mut().zip(places) {
        agent.add_key(Key::new(KeyName(1), Side::Dialer, &[1; KEY_LEN]));
        agent.set_nat(now, learned(place), &[]);
        agent.set_access(now, access(place));
        agent.handle_connected(now, Duration::from_millis(25));
    }
    let mut said =
        agents.each_mut().map(|agent| std::iter::from_fn(|| agent.poll_event()).collect::<Vec<_>>());
    said.reverse();
    for (agent, events) in agents.iter_mut().zip(said) {
        for event in events {
            if let Event::Signal(signal) = event {
                agent.handle_signal(now, &signal);
            }
        }
    }
    agents.map(|agent| agent.outlook())
}

/// What both sides name as the cause.
fn named(places: [Place; 2]) -> [Cause; 2] {
    let with_udp = places.map(has_udp) == [true; 2];
    let fronts = places.map(|profile| Front { profile, ..Front::public() });
    let (outlooks, is_direct) = if with_udp {
        let run = duel(fronts, 5, 0.0, PATIENCE);
        (run.outlooks, run.direct.is_some())
    } else {
        (told(places), false)
    };
    if is_direct {
        return outlooks.map(|outlook| outlook.cause(Some(Tier::Public), TcpOutlook::default()));
    }
    let prospects = outlooks.map(|outlook| outlook.tcp_prospect());
    assert_eq!(prospects[0], prospects[1], "both sides hope alike");
    let tcp = tcp_duel(places[0], places[1], prospects[0]);
    if prospects[0] == Prospect::Poor {
        assert!(!tcp.connects && tcp.took < GIVEN_UP, "{}: {tcp:?}", places.map(name).join(" x "));
        assert_eq!(tcp.outlooks.map(|outlook| outlook.state), [TcpState::GivenUp; 2]);
    }
    let tier = tcp.connects.then_some(Tier::Tcp);
    let outlook = |n: usize| outlooks[n].cause(tier, tcp.outlooks[n]);
    [outlook(0), outlook(1)]
}

#[test]
fn the_true_cause_is_named_for_every_pair() {
    let places: Vec<Place> = std::iter::once(None).chain(Profile::all().into_iter().map(Some)).collect();
    let (mut right, mut wrong) = (0, Vec::new());
    for &a in &places {
        for &b in &places {
            let truth = [expected(a, b), expected(b, a)];
            let named = named([a, b]);
            if truth == named {
                right += 1;
            } else {
                wrong.push(format!("{} x {}: {named:?} instead of {truth:?}", name(a), name(b)));
            }
        }
    }
    let all = right + wrong.len();
    println!("the true cause for {right} of {all} pairs\n{}", wrong.join("\n"));
    assert!(right * 100 >= all * WANTED, "{wrong:#?}");
}

/// A judge that finds everything well would be right about the pairs that are.
#[test]
fn most_causes_are_none_of_the_good_ones() {
    let places: Vec<Place> = std::iter::once(None).chain(Profile::all().into_iter().map(Some)).collect();
    let pairs = places.iter().flat_map(|a| places.iter().map(|b| expected(*a, *b)));
    let bad = pairs.filter(|cause| *cause != Cause::Direct).count();
    assert!(bad * 3 > places.len() * places.len(), "{bad}");
}
