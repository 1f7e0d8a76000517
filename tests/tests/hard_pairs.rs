//! Pairs of NATs that plain punching does not get through, played out by agents over the NAT model in virtual time
//! (`docs/protocol.md` §5.4).

use std::time::Duration;

use common::traversal::method::{Hopeless, Method};
use tests::duel::{Front, Outcome, Weather, duel, duel_in};
use tests::nat::Profile;

/// A pair that is not direct by then counts as not direct.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries of one pair.
struct Runs(Vec<Outcome>);

impl Runs {
    fn of(fronts: [Front; 2], count: u64, loss: f64) -> Self {
        Self((0..count).map(|seed| duel(fronts, seed, loss, PATIENCE)).collect())
    }

    /// How many of a hundred went direct.
    fn share(&self) -> usize {
        self.0.iter().filter(|run| run.direct.is_some()).count() * 100 / self.0.len()
    }

    fn percentile<T: Ord + Copy>(&self, percent: usize, of: impl Fn(&Outcome) -> Option<T>) -> T {
        let mut values: Vec<_> = self.0.iter().filter_map(of).collect();
        values.sort_unstable();
        values[(values.len() * percent).div_ceil(100).max(1) - 1]
    }

    fn time(&self, percent: usize) -> Duration {
        self.percentile(percent, |run| run.direct)
    }

    fn packets(&self, percent: usize) -> u32 {
        self.percentile(percent, |run| Some(run.packets))
    }

    fn most_entries(&self) -> usize {
        self.percentile(100, |run| Some(run.entries[0].max(run.entries[1])))
    }

    fn most_sockets(&self) -> usize {
        self.percentile(100, |run| Some(run.open_sockets))
    }
}

/// Both orders: who dials should not matter.
fn both_ways(a: Front, b: Front, count: u64) -> Runs {
    let mut runs = Runs::of([a, b], count / 2, 0.0);
    runs.0.extend(Runs::of([b, a], count / 2, 0.0).0);
    runs
}

fn easy() -> Front {
    Front::quiet(Profile::eim_apdf_random())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_counter_with_other_flows_is_predicted() {
    let runs = both_ways(easy(), Front::noisy(Profile::symmetric_sequential()), 200);
    assert!(runs.share() >= 99 && runs.time(95) <= ms(800), "{} {:?}", runs.share(), runs.time(95));
    assert!(runs.packets(100) <= 60, "{}", runs.packets(100));
}

#[test]
fn random_ports_are_hit_by_guessing() {
    for profile in [Profile::symmetric_random(), Profile::adm_apdf()] {
        let runs = both_ways(easy(), Front::quiet(profile), 100);
        assert!(runs.share() >= 99 && runs.time(99) <= ms(3000), "{} {:?}", runs.share(), runs.time(99));
        assert!(runs.packets(99) <= 1500, "{}", runs.packets(99));
        assert!(runs.most_entries() <= 256, "{}", runs.most_entries());
        assert!(runs.most_sockets() <= 4, "{} sockets stay open", runs.most_sockets());
    }
}

/// A NAT that remembers whom it refused has to send first, and says so: the other one makes its mappings once.
#[test]
fn a_nat_that_remembers_whom_it_refused_costs_no_second_try() {
    let linux = Front::quiet(Profile::linux());
    let random = both_ways(linux, Front::quiet(Profile::symmetric_random()), 40);
    assert!(random.share() >= 99 && random.time(95) <= ms(5000), "{} {:?}", random.share(), random.time(95));
    assert!(random.most_entries() <= 256, "{}", random.most_entries());
    assert!(random.packets(99) <= 2_500, "{}", random.packets(99));
    let counter = both_ways(linux, Front::noisy(Profile::symmetric_sequential()), 100);
    assert!(counter.share() >= 99 && counter.time(95) <= ms(1500), "{:?}", counter.time(95));
    assert!(counter.packets(100) <= 60, "{}", counter.packets(100));
}

/// Linux connection tracking on one side or on both: whoever sends first, some later try gets through.
#[test]
fn a_nat_that_remembers_whom_it_refused_meets_easy_ones_and_its_like() {
    let linux = Front::quiet(Profile::linux());
    for other in
        [Front::public(), Front::quiet(Profile::full_cone()), easy(), Front::quiet(Profile::cgnat()), linux]
    {
        let runs = both_ways(linux, other, 100);
        assert!(runs.share() >= 99 && runs.time(95) <= ms(1500), "{} {:?}", runs.share(), runs.time(95));
    }
}

/// The server's word reaches one side so much earlier that its packet is there before the other has sent anything: where that is
/// remembered, the pair of endpoints is spoilt.
#[test]
fn who_was_too_early_tries_again_together() {
    let weather = |server_rtt, peer_rtt, skew| Weather { peer_rtt, server_rtt, skew, ..Weather::lossy(0.0) };
    let linux = Front::quiet(Profile::linux());
    let kept = Front::quiet(Profile::eim_apdf_preserving());
    for other in [linux, kept, easy()] {
        for fronts in [[linux, other], [other, linux]] {
            for (server, peer, skew) in [(20, 3, 30), (20, 20, 60), (20, 80, 200), (300, 30, 60)] {
                let weather = weather(ms(server), ms(peer), ms(skew));
                let run = |seed| duel_in(fronts, seed, weather, PATIENCE);
                let runs = Runs((0..10).map(run).collect());
                assert_eq!(runs.share(), 100, "{fronts:?} {weather:?}");
                assert!(runs.time(100) <= ms(400 + 6 * server), "{:?} {weather:?}", runs.time(100));
                assert!(runs.packets(100) <= 60, "{}", runs.packets(100));
            }
        }
    }
}

#[test]
fn a_block_is_learned_and_guessed_in() {
    let runs = both_ways(easy(), Front::quiet(Profile::symmetric_block(2048)), 200);
    assert!(runs.share() >= 99 && runs.time(99) <= ms(1000), "{} {:?}", runs.share(), runs.time(99));
    assert!(runs.packets(99) <= 250, "{}", runs.packets(99));
}

#[test]
fn two_counters_meet() {
    let profile = Profile::symmetric_sequential();
    for (front, least) in [(Front::quiet(profile), 97), (Front::noisy(profile), 90)] {
        let runs = Runs::of([front; 2], 200, 0.0);
        assert!(runs.share() >= least && runs.time(95) <= ms(2000), "{} {:?}", runs.share(), runs.time(95));
    }
}

/// The table of pairs: `+` goes direct, `.` stays on the relay because there is no way that is worth its packets.
const TABLE: &str = "
                     publ full eadf epre eran linx cgnt adma sseq sblk sran
public                +    +    +    +    +    +    +    +    +    +    +
full_cone             +    +    +    +    +    +    +    +    +    +    +
eim_adf               +    +    +    +    +    +    +    +    +    +    +
eim_apdf_preserving   +    +    +    +    +    +    +    +    +    +    +
eim_apdf_random       +    +    +    +    +    +    +    +    +    +    +
linux                 +    +    +    +    +    +    +    +    +    +    +
cgnat                 +    +    +    +    +    +    +    +    +    +    +
adm_apdf              +    +    +    +    +    +    +    .    .    .    .
symmetric_sequential  +    +    +    +    +    +    +    .    +    .    .
symmetric_block       +    +    +    +    +    +    +    .    .    .    .
symmetric_random      +    +    +    +    +    +    +    .    .    .    .
";

#[test]
fn the_table_of_pairs() {
    let named = Profile::all().into_iter().filter(|profile| profile.udp);
    let fronts: Vec<_> = std::iter::once(Front::public()).chain(named.map(Front::quiet)).collect();
    let rows: Vec<_> = TABLE.lines().skip(2).collect();
    assert_eq!(rows.len(), fronts.len(), "the table covers every pair");
    for (row, a) in rows.iter().zip(&fronts) {
        let mut words = row.split_whitespace();
        assert_eq!(words.next(), Some(a.profile.map_or("public", |profile| profile.name)));
        for (mark, b) in words.zip(&fronts) {
            let names = [a, b].map(|front| front.profile.map_or("public", |profile| profile.name));
            let run = duel([*a, *b], 7, 0.0, PATIENCE);
            assert_eq!(run.direct.is_some(), mark == "+", "{names:?}: {run:?}");
            if mark == "." {
                // Given up as soon as both know, and without a packet.
                assert!(run.outlooks.iter().all(|o| matches!(o.method, Method::Hopeless(_))), "{names:?}");
                assert_eq!(run.packets, 0, "{names:?}");
            }
        }
    }
}

#[test]
fn why_there_is_no_way_is_known_within_a_second() {
    let (random, counter) = (Profile::symmetric_random(), Profile::symmetric_sequential());
    for (a, b, why) in [
        (random, random, Hopeless::BothRandom),
        (counter, random, Hopeless::CounterAndRandom),
        (random, counter, Hopeless::CounterAndRandom),
    ] {
        let run = duel([Front::quiet(a), Front::quiet(b)], 1, 0.0, ms(1000));
        assert_eq!(run.outlooks.map(|outlook| outlook.method), [Method::Hopeless(why); 2]);
    }
}

/// A server with one address cannot tell a NAT that looks at addresses from an easy one: both sides act as if they
/// were the hard one then, but only if plain checks have found nothing.
#[test]
fn one_address_of_the_server_is_enough() {
    let one = |profile| Front { second_address: false, ..Front::quiet(profile) };
    for other in [Profile::eim_apdf_random(), Profile::eim_apdf_preserving(), Profile::cgnat()] {
        let runs = both_ways(one(Profile::adm_apdf()), one(other), 40);
        assert_eq!(runs.share(), 100, "{}", other.name);
        assert!(runs.time(95) <= ms(4000), "{} {:?}", other.name, runs.time(95));
        let plain = both_ways(one(Profile::eim_apdf_random()), one(other), 10);
        assert_eq!((plain.share(), plain.packets(100)), (100, 0), "{}", other.name);
    }
}

#[test]
fn lost_packets_cost_time_and_no_more() {
    let counter = Front::noisy(Profile::symmetric_sequential());
    for fronts in [
        [easy(), counter],
        [Front::quiet(Profile::symmetric_random()), easy()],
        [easy(), Front::quiet(Profile::symmetric_block(2048))],
        [counter, counter],
    ] {
        let runs = Runs::of(fronts, 60, 0.1);
        assert!(runs.share() >= 98 && runs.time(95) <= ms(3000), "{} {:?}", runs.share(), runs.time(95));
    }
}

/// Other people's flows survive: a table of 1,024 entries that is half full of them loses none.
#[test]
fn a_small_table_loses_nobodys_flows() {
    for profile in [Profile::symmetric_random(), Profile::symmetric_sequential(), Profile::adm_apdf()] {
        let small = Front { flows: 512, ..Front::quiet(Profile { max_mappings: 1024, ..profile }) };
        let runs = Runs::of([easy(), small], 20, 0.0);
        assert_eq!(runs.share(), 100, "{}", profile.name);
        assert!(runs.0.iter().all(|run| run.lost_flows == 0), "{}", profile.name);
    }
}
