//! Against a browser of the test's own: it says what an mDNS daemon would.

use std::collections::BTreeMap;

use common::identity::Identity;

use super::*;

fn peer(n: u8) -> PeerId {
    Identity::from_seed([n; 32]).peer_id()
}

fn announcement(n: u8) -> Announcement {
    Announcement { me: peer(n), instance: InstanceId(u64::from(n) << 40), port: 4_000 }
}

/// What is read of an announcement with these values and addresses.
fn heard(txt: &BTreeMap<String, String>, ips: &[&str]) -> Option<Neighbour> {
    let ips = ips.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
    read(|key| txt.get(key).map(String::as_str), 4_000, ips, &["203.0.113.7".parse().unwrap()])
}

fn txt(n: u8) -> BTreeMap<String, String> {
    announcement(n).txt().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn neighbour(n: u8) -> Neighbour {
    heard(&txt(n), &["192.168.1.2"]).unwrap()
}

#[test]
fn an_announcement_says_who_and_where() {
    let heard = heard(&txt(1), &["192.168.1.2", "fd00::2", "192.168.1.2"]).unwrap();
    assert_eq!((heard.peer, heard.instance), (peer(1), InstanceId(1 << 40)));
    assert_eq!(heard.addrs, ["192.168.1.2:4000".parse().unwrap(), "[fd00::2]:4000".parse().unwrap()]);
    assert!(announcement(1).txt().iter().all(|(key, value)| key.len() + value.len() < 255), "RFC 6763 §6.1");
}

#[test]
fn nonsense_of_strangers_is_not_believed() {
    let with = |key: &str, value: &str| {
        let mut txt = txt(1);
        txt.insert(key.to_owned(), value.to_owned());
        heard(&txt, &["192.168.1.2"])
    };
    assert!(with("other", "\u{1b}[2J").is_some(), "what is not known is not looked at");
    for (key, value) in [
        ("v", "2"),
        ("v", ""),
        ("id", "somebody"),
        ("id", &"a".repeat(255)),
        ("run", "x"),
        ("run", "00000000000000001"),
        ("run", "+000000000000001"),
    ] {
        let read = with(key, value);
        assert!(read.is_none_or(|read| read.instance == InstanceId(1)), "{key}={value}");
    }
    assert_eq!(heard(&BTreeMap::new(), &["192.168.1.2"]), None);
}

#[test]
fn nobody_is_pointed_at() {
    for ip in ["8.8.8.8", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "2001:db8::1", "fe80::1"] {
        assert_eq!(heard(&txt(1), &[ip]), None, "{ip}");
    }
    for ip in ["10.0.0.1", "169.254.1.1", "203.0.113.9"] {
        assert!(heard(&txt(1), &[ip]).is_some(), "{ip}");
    }
    let many: Vec<_> = (1..200).map(|n| format!("10.0.0.{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(heard(&txt(1), &many).unwrap().addrs.len(), MAX_ADDRS);
}

#[test]
fn neighbours_come_change_and_go() {
    let (me, mut list) = (peer(9), Neighbours::default());
    assert!(list.handle_seen(me, "a", Some(neighbour(1))));
    assert!(!list.handle_seen(me, "a", Some(neighbour(1))), "it is the same");
    let restarted = Neighbour { instance: InstanceId(7), ..neighbour(1) };
    assert!(list.handle_seen(me, "a", Some(restarted.clone())));
    assert!(!list.handle_seen(me, "b", Some(neighbour(1))), "a key is announced once");
    assert!(!list.handle_seen(me, "me", Some(neighbour(9))), "this client itself");
    assert_eq!(list.list(), [restarted]);
    assert!(list.handle_seen(me, "a", None), "what it says is not understood any more");
    assert!(!list.handle_gone("a"));
    assert_eq!(list.list(), []);
}

#[test]
fn neighbours_are_bounded() {
    let (me, mut list) = (peer(99), Neighbours::default());
    for n in 0..80 {
        list.handle_seen(me, &n.to_string(), Some(neighbour(n)));
    }
    assert_eq!(list.list().len(), MAX_NEIGHBOURS);
    assert!(list.handle_gone("3") && list.handle_seen(me, "80", Some(neighbour(80))), "there is room again");
}

#[test]
fn both_make_the_same_key_and_another_with_every_run() {
    let of = |n: u8| (peer(n), announcement(n).instance);
    let (mine, theirs) = (check_key(of(1), &neighbour(2)), check_key(of(2), &neighbour(1)));
    assert_eq!(mine.name, theirs.name);
    let request = common::stun::check::request(&mine, [7; 12], common::stun::check::Size::Bare);
    assert!(common::stun::check::verify_request(&theirs, &request));
    assert!(!common::stun::check::verify_request(&mine, &request), "a reflected request is not valid");
    let again = Neighbour { instance: InstanceId(5), ..neighbour(2) };
    assert_ne!(check_key(of(1), &again).name, mine.name);
}
