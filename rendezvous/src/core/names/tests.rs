//! Names in virtual time, `docs/protocol.md` §10.
#![expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]

use std::net::SocketAddr;
use std::time::Duration;

use super::*;

/// Names on one server, and its time.
struct World {
    names: Names,
    now: Instant,
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

fn source(n: u8) -> Source {
    Source::of(SocketAddr::from(([192, 0, 2, n], 1)))
}

impl World {
    fn new() -> Self {
        let names = Names { today: 1000, ..Names::default() };
        Self { names, now: Instant::now() }
    }

    /// `n` takes a name, from an address of its own.
    fn take(&mut self, n: u8, name: &str, listed: bool) -> Result<Changes, NameVerdict> {
        self.names.take(self.now, source(n), peer(n), (&name.parse().unwrap(), listed), 6)
    }

    fn find(&mut self, text: &str, begins: bool) -> Vec<String> {
        self.now += Duration::from_secs(1);
        let find = FindName { ask: 1, text: text.to_owned(), begins };
        let found = self.names.find(self.now, source(200), peer(200), &find).unwrap();
        found.into_iter().map(|named| format!("{} {}", named.name, named.peer.as_bytes()[0])).collect()
    }
}

#[test]
fn a_name_belongs_to_who_took_it_and_so_do_those_that_look_like_it() {
    let mut world = World::new();
    assert_eq!(world.take(1, "Paypal", false).unwrap().len(), 1);
    for alike in ["paypal", "PAYPAL", "paypa1", "раураl".replace('l', "ӏ").as_str()] {
        assert_eq!(world.take(2, alike, false), Err(NameVerdict::Taken), "{alike}");
    }
    assert_eq!(world.names.give_back(peer(2), &"paypal".parse().unwrap()), Err(NameVerdict::NotYours));
    assert_eq!(world.find("paypal", false), ["paypal 1"]);
    let forget = vec![NameChange::Forget("paypal".to_owned())];
    assert_eq!(world.names.give_back(peer(1), &"PayPal".parse().unwrap()), Ok(forget));
    world.take(2, "paypa1", false).unwrap();
    assert_eq!(world.find("paypal", false), [] as [&str; 0]);
}

#[test]
fn unlisted_names_are_found_by_all_of_them_alone() {
    let mut world = World::new();
    world.take(1, "anna", false).unwrap();
    world.take(2, "annabel", true).unwrap();
    world.take(3, "annika", true).unwrap();
    assert_eq!(world.find("Anna", false), ["anna 1"]);
    assert_eq!(world.find("ann", false), [] as [&str; 0]);
    assert_eq!(world.find("ann", true), ["annabel 2", "annika 3"]);
    assert_eq!(world.find("anna", true), ["anna 1", "annabel 2"]);
    world.take(2, "annabel", false).unwrap();
    assert_eq!(world.find("ann", true), ["annika 3"]);
    let own = FindName { ask: 1, text: String::new(), begins: false };
    assert_eq!(world.names.find(world.now, source(2), peer(2), &own).unwrap()[0].name, "annabel");
    let odd = FindName { ask: 1, text: "a b".to_owned(), begins: false };
    assert_eq!(world.names.find(world.now, source(2), peer(2), &odd), Err(NameVerdict::Invalid));
}

#[test]
fn a_name_whose_owner_stays_away_is_free_and_a_visit_keeps_it() {
    let mut world = World::new();
    world.take(1, "anna", true).unwrap();
    world.take(2, "bert", true).unwrap();
    world.names.today += IDLE_DAYS;
    assert_eq!(world.names.visit(peer(2)).len(), 1);
    assert_eq!(world.names.visit(peer(2)), [], "once a day");
    assert_eq!(world.take(3, "anna", false), Err(NameVerdict::Taken));
    world.names.today += 1;
    assert_eq!(world.find("anna", true), [] as [&str; 0]);
    assert_eq!(world.find("bert", true), ["bert 2"]);
    let changes = world.take(3, "anna", false).unwrap();
    assert!(matches!(changes.as_slice(), [NameChange::Forget(_), NameChange::Keep(_)]));
    assert_eq!(world.find("anna", false), ["anna 3"]);
}

#[test]
fn keys_addresses_and_the_server_have_bounds() {
    let mut world = World::new();
    for name in ["a1", "a2", "a3"] {
        world.take(1, name, false).unwrap();
    }
    assert_eq!(world.take(1, "a4", false), Err(NameVerdict::TooMany));
    for name in ["b4", "b5", "b6"] {
        world.take(2, name, false).unwrap();
    }
    assert_eq!(world.take(3, "c1", false), Err(NameVerdict::Full));
    world.names.today += IDLE_DAYS + 1;
    world.names.visit(peer(2));
    let changes = world.take(3, "c1", false).unwrap();
    assert_eq!(changes.len(), 4, "three that nobody holds make room for one");

    let mut world = World::new();
    let mut taken = 0;
    for n in 0..40 {
        let name: Name = format!("name{n}").parse().unwrap();
        let done = world.names.take(world.now, source(9), peer(n), (&name, false), 100);
        taken += u32::from(done.is_ok());
    }
    assert_eq!(taken, 16, "of one address");
    world.now += Duration::from_secs(3600);
    let name: Name = "later".parse().unwrap();
    assert!(world.names.take(world.now, source(9), peer(100), (&name, false), 100).is_ok());
    let ask = FindName { ask: 1, text: "name1".to_owned(), begins: false };
    let mut asked = 0;
    while world.names.find(world.now, source(9), peer(1), &ask).is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 60);
}

#[test]
fn allowances_of_sources_are_forgotten_when_they_are_full_again() {
    let mut allowances = Allowances::new(Rate { per_second: 1, burst: 1 });
    let now = Instant::now();
    let source = |n: usize| {
        let [a, b, c, d] = u32::try_from(n).unwrap().to_be_bytes();
        Source::of(SocketAddr::from(([a | 1, b, c, d], 1)))
    };
    assert!((0..MAX_SOURCES).all(|n| allowances.take(now, source(n), 1)));
    assert!(!allowances.take(now, source(MAX_SOURCES), 1));
    assert!(allowances.take(now + Duration::from_secs(2), source(MAX_SOURCES), 1));
    assert_eq!(allowances.buckets.len(), 1);
}
