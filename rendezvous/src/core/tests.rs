//! The core in virtual time.
#![expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]

use std::time::Duration;

use common::control::{
    Admit, Connect, End, Failed, FailedReason, InstanceId, Introduce, Lobby as LobbyFrame, MAX_WATCHED,
    Mapped, NAMES_FEATURE, Observed, Register, ToServer, Welcome,
};
use common::frame::Message;

use super::*;

/// A core, its time, and what it said.
struct World {
    core: Core,
    now: Instant,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self { core: Core::new(limits, [7; 32]), now: Instant::now() }
    }

    /// A connection whose handshake has proved key `n`.
    fn connected(&mut self, n: u8) -> ConnId {
        let arrival = Arrival::over_udp(address(n), true);
        let (verdict, conn) = self.core.handle_arrival(self.now, arrival);
        assert_eq!(verdict, Verdict::Accept);
        self.core.handle_connected(self.now, conn, peer(n));
        conn
    }

    fn registered(&mut self, n: u8) -> ConnId {
        let conn = self.connected(n);
        let said = self.tell(conn, register(n));
        assert!(said.contains(&Output::Send(conn, welcome(n))), "{said:?}");
        conn
    }

    fn tell(&mut self, conn: ConnId, message: impl Into<ToServer>) -> Vec<Output> {
        self.bytes(conn, &message.into().to_bytes())
    }

    fn bytes(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<Output> {
        self.core.handle_stream(self.now, conn, bytes);
        self.outputs()
    }

    fn datagram(&mut self, conn: ConnId, datagram: &Bytes) -> Vec<Output> {
        self.core.handle_datagram(self.now, conn, datagram.clone());
        self.outputs()
    }

    fn gone(&mut self, conn: ConnId) -> Vec<Output> {
        self.core.handle_closed(self.now, conn);
        self.outputs()
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
        }
        self.now = end;
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    /// Two registered connections with a session between them.
    fn introduced(&mut self, session: u64) -> (ConnId, ConnId) {
        let (a, b) = (self.registered(1), self.registered(2));
        let said = self.tell(a, connect(session, 2));
        assert_eq!(said.len(), 2);
        (a, b)
    }
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 1000))
}

fn register(n: u8) -> Register {
    Register {
        instance: InstanceId(n.into()),
        features: vec!["unheard-of".to_owned()],
        admit: Admit::default(),
    }
}

fn welcome(n: u8) -> ToClient {
    Welcome { observed: Some(address(n)), probes: Vec::new(), features: vec![NAMES_FEATURE.to_owned()] }
        .into()
}

fn connect(session: u64, n: u8) -> Connect {
    Connect { session: SessionId(session), peer: peer(n) }
}

fn end(session: u64) -> End {
    End { session: SessionId(session) }
}

fn lobby() -> LobbyFrame {
    LobbyFrame { waiting: true, except: Vec::new() }
}

fn packet(session: u64, len: usize) -> Bytes {
    [&[0][..], &session.to_be_bytes(), &vec![9; len]].concat().into()
}

fn closed(said: &[Output]) -> Option<(ConnId, u32)> {
    said.iter().find_map(|output| match output {
        Output::Close(conn, code, _) => Some((*conn, *code)),
        _ => None,
    })
}

fn introduction(said: &[Output], to: ConnId) -> &Introduce {
    let found = said.iter().find_map(|output| match output {
        Output::Send(conn, ToClient::Introduce(introduce)) if *conn == to => Some(introduce),
        _ => None,
    });
    found.expect("the connection is introduced")
}

#[test]
fn both_sides_are_introduced_with_one_fresh_key() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    let said = world.tell(a, connect(5, 2));
    let (at_a, at_b) = (introduction(&said, a), introduction(&said, b));
    assert_eq!((at_a.peer, at_a.instance, at_a.dial, at_a.lobby), (peer(2), InstanceId(2), true, false));
    assert_eq!((at_b.peer, at_b.instance, at_b.dial, at_b.lobby), (peer(1), InstanceId(1), false, false));
    assert_eq!((&at_a.endpoints, &at_b.endpoints), (&vec![address(2)], &vec![address(1)]));
    assert_eq!(at_a.key, at_b.key);
    let again = world.tell(b, connect(6, 1));
    assert_ne!(introduction(&again, a).key, at_a.key);
    assert_eq!(world.core.stats().introductions, 2);
}

/// `docs/protocol.md` §4.3.
#[test]
fn a_mapped_endpoint_is_told_only_at_the_address_that_is_seen() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    let own = SocketAddr::new(address(2).ip(), 7);
    let cases = [
        (Some(own), vec![address(2), own]),
        (Some(SocketAddr::new(address(3).ip(), 7)), vec![address(2)]),
        (Some(SocketAddr::new(address(2).ip(), 0)), vec![address(2)]),
        (Some(address(2)), vec![address(2)]),
        (None, vec![address(2)]),
    ];
    for (session, (mapped, expected)) in (1..).zip(cases) {
        world.tell(b, Mapped { addr: mapped });
        let said = world.tell(a, connect(session, 2));
        assert_eq!(introduction(&said, a).endpoints, expected, "{mapped:?}");
    }
    world.tell(b, Mapped { addr: Some(own) });
    world.core.handle_observed(world.now, b, Some(address(4)));
    let said = world.tell(a, connect(99, 2));
    assert_eq!(introduction(&said, a).endpoints, [address(4)], "it has moved away from there");
}

#[test]
fn what_cannot_be_introduced_fails_with_the_reason() {
    let mut world = World::new(Limits { max_sessions: 1, ..Limits::default() });
    let (a, b) = world.introduced(1);
    let c = world.registered(3);
    for (conn, ask, reason) in [
        (a, connect(2, 9), FailedReason::Offline),
        (a, connect(1, 3), FailedReason::Invalid),
        (a, connect(2, 1), FailedReason::Invalid),
        (a, connect(2, 3), FailedReason::TooMany),
        (c, connect(2, 2), FailedReason::TooMany),
    ] {
        let failed = Failed { session: ask.session, reason };
        assert_eq!(world.tell(conn, ask), [Output::Send(conn, failed.into())]);
    }
    assert_eq!(world.tell(b, connect(2, 3)).len(), 2, "asked, yet free to ask");
}

#[test]
fn packets_pass_between_the_two_ends_only() {
    let mut world = World::new(Limits::default());
    let (a, b) = world.introduced(1);
    let c = world.registered(3);
    let frame = packet(1, 100);
    assert_eq!(world.datagram(a, &frame), [Output::Datagram(b, frame.clone())]);
    assert_eq!(world.datagram(b, &frame), [Output::Datagram(a, frame.clone())]);
    assert_eq!(world.datagram(c, &frame), []);
    assert_eq!(world.tell(c, end(1)), [], "a stranger cannot end it");
    assert_eq!(world.tell(b, end(1)), [Output::Send(a, end(1).into())]);
    assert_eq!(world.datagram(a, &frame), []);
    for garbage in [&[][..], &[0; 9], &[0xff; 40]] {
        assert_eq!(world.datagram(a, &Bytes::copy_from_slice(garbage)), []);
    }
    assert_eq!((world.core.stats().relayed, world.core.stats().sessions), (2, 0));
}

#[test]
fn a_sender_over_its_budget_is_dropped_and_recovers() {
    let mut world =
        World::new(Limits { relay_bytes_per_second: 1_000, relay_burst: 3_000, ..Limits::default() });
    let (a, b) = world.introduced(1);
    let frame = packet(1, 991);
    let passed = (0..10).filter(|_| !world.datagram(a, &frame).is_empty()).count();
    assert_eq!((passed, world.core.stats().dropped_budget), (3, 7));
    assert_eq!(world.datagram(b, &frame).len(), 1, "each end has its own");
    world.pass(Duration::from_secs(2));
    let passed = (0..10).filter(|_| !world.datagram(a, &frame).is_empty()).count();
    assert_eq!(passed, 2);
}

#[test]
fn early_packets_wait_for_their_request_and_not_for_long() {
    let mut world = World::new(Limits::default());
    let a = world.connected(1);
    let b = world.registered(2);
    let frame = packet(1, 10);
    assert_eq!(world.datagram(a, &frame), [], "even before Register");
    world.tell(a, register(1));
    let said = world.tell(a, connect(1, 2));
    assert_eq!(said.last(), Some(&Output::Datagram(b, frame)));

    for _ in 0..10 {
        world.datagram(a, &packet(2, 10));
    }
    assert_eq!(world.core.stats().dropped_unknown, 6);
    world.pass(EARLY_LIFETIME);
    assert_eq!(world.core.stats().dropped_unknown, 10);
    assert_eq!(world.tell(a, connect(2, 2)).len(), 2);
    world.datagram(a, &packet(3, 10));
    assert_eq!(world.tell(a, connect(3, 9)).len(), 1, "nothing is sent to who is not there");
}

#[test]
fn a_newer_registration_replaces_the_older() {
    let mut world = World::new(Limits::default());
    let (a, b) = world.introduced(1);
    world.tell(a, lobby());
    let newer = world.connected(1);
    let said = world.tell(newer, register(1));
    assert_eq!(closed(&said), Some((a, close::REPLACED)));
    assert!(said.contains(&Output::Send(b, end(1).into())));
    assert_eq!(world.gone(a), [], "its end means nothing any more");
    assert_eq!(world.tell(b, lobby()), [], "the older one waits no longer");
    assert_eq!(world.tell(b, connect(2, 1)).len(), 2);
    assert_eq!(world.core.stats().registered, 2);
    assert_eq!(world.core.stats().connections, 2);
}

#[test]
fn a_new_address_is_told_once_and_used() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:1000".parse().unwrap();
    world.core.handle_observed(world.now, a, Some(mapped));
    assert_eq!(world.outputs(), [], "the same, written otherwise");
    let addr = SocketAddr::from(([198, 51, 100, 1], 7));
    world.core.handle_observed(world.now, a, Some(addr));
    world.core.handle_observed(world.now, a, Some(addr));
    assert_eq!(world.outputs(), [Output::Send(a, Observed { addr: Some(addr) }.into())]);
    let said = world.tell(b, connect(1, 1));
    assert_eq!(introduction(&said, b).endpoints, [addr]);
}

#[test]
fn who_comes_through_a_tunnel_has_no_endpoint_until_it_comes_over_udp() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    world.core.handle_observed(world.now, a, None);
    assert_eq!(world.outputs(), [Output::Send(a, Observed { addr: None }.into())]);
    let said = world.tell(b, connect(1, 1));
    assert_eq!(introduction(&said, b).endpoints, []);
    world.core.handle_observed(world.now, a, Some(address(1)));
    assert_eq!(world.outputs(), [Output::Send(a, Observed { addr: Some(address(1)) }.into())]);
    let said = world.tell(b, connect(2, 1));
    assert_eq!(introduction(&said, b).endpoints, [address(1)]);
}

#[test]
fn newcomers_are_paired_and_the_later_dials() {
    let mut world = World::new(Limits { max_lobby: 1, ..Limits::default() });
    let (a, b, c) = (world.registered(1), world.registered(2), world.registered(3));
    assert_eq!(world.tell(a, lobby()), []);
    let except = LobbyFrame { waiting: true, except: vec![peer(1)] };
    assert_eq!(world.tell(b, except), [], "no place, and no reason to come again");
    assert_eq!((world.core.stats().lobby, world.core.stats().lobby_outside), (1, 1));
    let said = world.tell(c, lobby());
    let (at_a, at_c) = (introduction(&said, a), introduction(&said, c));
    assert_eq!((at_a.dial, at_c.dial, at_a.lobby, at_c.lobby), (false, true, true, true));
    assert_eq!(world.datagram(a, &packet(at_a.session.0, 5)).len(), 1);
    assert_eq!((world.core.stats().lobby, world.core.stats().lobby_outside), (1, 0), "b has the place");
    assert_eq!(world.core.stats().registered, 3);
    world.gone(b);

    world.tell(a, lobby());
    world.tell(a, LobbyFrame { waiting: false, except: Vec::new() });
    assert_eq!(world.tell(c, lobby()), []);
    world.gone(c);
    assert_eq!(world.tell(a, lobby()), [], "who is gone is not paired");
}

#[test]
fn who_has_too_many_sessions_waits_in_the_lobby_until_one_ends() {
    let mut world = World::new(Limits { max_sessions: 1, ..Limits::default() });
    let (a, _) = world.introduced(1);
    let c = world.registered(3);
    assert_eq!(world.tell(c, lobby()), []);
    assert_eq!(world.tell(a, lobby()), []);
    assert_eq!((world.core.stats().lobby, world.core.stats().sessions), (2, 1));
    let said = world.tell(a, end(1));
    assert!(introduction(&said, a).dial && introduction(&said, c).lobby);
    assert_eq!((world.core.stats().lobby, world.core.stats().paired), (0, 1));

    let (d, e) = (world.registered(4), world.registered(5));
    assert_eq!(world.tell(d, lobby()), []);
    assert_eq!(world.tell(a, lobby()), []);
    let said = world.gone(c);
    assert!(introduction(&said, a).lobby && introduction(&said, d).lobby, "an end by a loss counts too");
    assert_eq!(world.tell(e, lobby()), []);
}

#[test]
fn a_session_that_the_lobby_displaces_is_ended_at_both_ends() {
    let mut world = World::new(Limits::default());
    let (a, b) = world.introduced(1);
    for session in 2..=4 {
        world.tell(a, connect(session, 2));
    }
    world.tell(a, lobby());
    let said = world.tell(b, lobby());
    for conn in [a, b] {
        assert!(said.contains(&Output::Send(conn, end(1).into())), "{said:?}");
        assert!(introduction(&said, conn).lobby);
    }
    assert_eq!(world.core.stats().sessions, MAX_PER_PAIR);
}

#[test]
fn who_waits_for_a_place_in_the_lobby_gets_it_when_somebody_is_lost() {
    let mut world = World::new(Limits { max_lobby: 1, ..Limits::default() });
    let [a, b, c] = [1, 2, 3].map(|n| world.registered(n));
    for conn in [a, b] {
        assert_eq!(world.tell(conn, LobbyFrame { waiting: true, except: vec![peer(1), peer(2)] }), []);
    }
    assert_eq!(world.core.stats().lobby_outside, 1);
    assert_eq!(world.gone(a), []);
    assert_eq!((world.core.stats().lobby, world.core.stats().lobby_outside), (1, 0));
    assert!(introduction(&world.tell(c, lobby()), b).lobby);
}

#[test]
fn presence_follows_registration() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    world.tell(a, Watch { peers: vec![peer(2)] });
    assert_eq!(world.tell(b, Watch { peers: vec![peer(1)] }).len(), 2);
    let news = Presence { peer: peer(1), online: None, standing: false };
    assert_eq!(world.gone(a), [Output::Send(b, news.into())]);
    let a = world.registered(1);
    let said = world.tell(a, Watch { peers: vec![peer(2)] });
    assert_eq!(said.len(), 2);
    let long = Watch { peers: vec![peer(3); MAX_WATCHED + 1] };
    assert_eq!(closed(&world.tell(b, long)), Some((b, close::PROTOCOL)));
}

#[test]
fn who_breaks_the_protocol_is_closed_with_a_reason() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("too long", &[1, 0xff, 0xff, 0xff], "longer than"),
        ("a wrong body", &[1, 0, 0, 1, 0xc1], "does not decode"),
        ("before Register", &ToServer::from(lobby()).to_bytes(), "Register"),
        ("nonsense", b"GET / HTTP/1.1\r\n\r\n", "longer than"),
    ];
    for (what, bytes, expected) in cases {
        let mut world = World::new(Limits::default());
        let conn = world.connected(1);
        let said = world.bytes(conn, bytes);
        let [Output::Close(closed, close::PROTOCOL, reason)] = &said[..] else { panic!("{what}: {said:?}") };
        assert!(*closed == conn && reason.contains(expected), "{what}: {reason}");
        assert_eq!(world.bytes(conn, bytes), [], "nothing more of it is read");
        assert_eq!(world.core.stats().connections, 0);
    }
    let mut world = World::new(Limits::default());
    let conn = world.registered(1);
    assert_eq!(closed(&world.tell(conn, register(1))), Some((conn, close::PROTOCOL)));
    assert_eq!(world.core.stats().registered, 0);
}

#[test]
fn frames_may_come_in_any_pieces_and_of_unknown_types() {
    let mut world = World::new(Limits::default());
    let conn = world.connected(1);
    let mut bytes = vec![200, 0, 0, 3, 1, 2, 3];
    bytes.extend_from_slice(&ToServer::from(register(1)).to_bytes());
    let said: Vec<_> = bytes.iter().flat_map(|byte| world.bytes(conn, &[*byte])).collect();
    assert_eq!(said, [Output::Send(conn, welcome(1))]);
}

#[test]
fn floods_of_frames_and_bytes_end_the_connection() {
    let mut world = World::new(Limits::default());
    let conn = world.registered(1);
    let said: Vec<_> = (0..200).flat_map(|n| world.tell(conn, end(n))).collect();
    assert_eq!(closed(&said), Some((conn, close::PROTOCOL)));

    let conn = world.registered(2);
    let unknown = [&[99, 0, 0x10, 0][..], &[0; 0x1000]].concat();
    let said: Vec<_> = (0..100).flat_map(|_| world.bytes(conn, &unknown)).collect();
    assert_eq!(closed(&said), Some((conn, close::PROTOCOL)));

    let conn = world.registered(3);
    for n in 0..500 {
        world.pass(Duration::from_millis(60));
        assert_eq!(world.tell(conn, end(n)), [], "a steady pace is no flood");
    }
}

#[test]
fn who_does_not_register_in_time_is_closed() {
    let mut world = World::new(Limits::default());
    let mute = world.connected(1);
    let in_handshake = world.core.handle_arrival(world.now, Arrival::over_udp(address(2), false)).1;
    let registered = world.registered(3);
    assert_eq!(world.pass(REGISTER_TIMEOUT - Duration::from_millis(1)), []);
    let said = world.pass(Duration::from_millis(1));
    let closed: Vec<_> = said.iter().filter_map(|o| closed(std::slice::from_ref(o))).collect();
    assert_eq!(closed, [(mute, close::PROTOCOL), (in_handshake, close::PROTOCOL)]);
    assert_eq!(world.core.stats().half_open, 0);
    assert_eq!(world.tell(registered, lobby()), []);
    assert_eq!(world.core.poll_timeout(), None);
}

mod codes;
mod door;
mod steps;
