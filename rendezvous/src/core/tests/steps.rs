//! Whatever clients do, in any order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Arrive(u8),
    Register(u8),
    Connect(u8, u8, u64),
    End(u8, u64),
    Lobby(u8, Vec<u8>),
    Watch(u8, Vec<u8>),
    Datagram(u8, u64),
    Garbage(u8, Vec<u8>),
    Gone(u8),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (n, session) = (0u8..6, 0u64..6);
    let some = proptest::collection::vec(0u8..6, 0..4);
    prop_oneof![
        n.clone().prop_map(Step::Arrive),
        n.clone().prop_map(Step::Register),
        (n.clone(), n.clone(), session.clone()).prop_map(|(a, b, s)| Step::Connect(a, b, s)),
        (n.clone(), session.clone()).prop_map(|(a, s)| Step::End(a, s)),
        (n.clone(), some.clone()).prop_map(|(a, l)| Step::Lobby(a, l)),
        (n.clone(), some).prop_map(|(a, l)| Step::Watch(a, l)),
        (n.clone(), session).prop_map(|(a, s)| Step::Datagram(a, s)),
        (n.clone(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(a, b)| Step::Garbage(a, b)),
        n.prop_map(Step::Gone),
        (0u16..5_000).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever clients do, nothing panics, effects go to live connections only, and when all are gone nothing
    /// of them remains.
    #[test]
    fn nothing_leaks(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new(Limits { max_lobby: 2, max_sessions: 2, ..Limits::default() });
        let mut conns: Vec<Option<ConnId>> = vec![None; 6];
        for step in steps {
            let known = conns.clone();
            let conn = |n: u8| known[usize::from(n)].unwrap_or(ConnId(u64::MAX));
            let ids = |list: Vec<u8>| list.into_iter().map(peer).collect::<Vec<_>>();
            let said = match step {
                Step::Arrive(n) => {
                    if known[usize::from(n)].is_none() {
                        conns[usize::from(n)] = Some(world.connected(n));
                    }
                    Vec::new()
                }
                Step::Register(n) => world.tell(conn(n), register(n)),
                Step::Connect(a, b, s) => world.tell(conn(a), connect(s, b)),
                Step::End(n, s) => world.tell(conn(n), end(s)),
                Step::Lobby(n, list) => world.tell(conn(n), LobbyFrame { waiting: true, except: ids(list) }),
                Step::Watch(n, list) => world.tell(conn(n), Watch { peers: ids(list) }),
                Step::Datagram(n, s) => world.datagram(conn(n), &packet(s, 20)),
                Step::Garbage(n, bytes) => world.bytes(conn(n), &bytes),
                Step::Gone(n) => conns[usize::from(n)].take().map(|c| world.gone(c)).unwrap_or_default(),
                Step::Pass(ms) => world.pass(Duration::from_millis(ms.into())),
            };
            for output in said {
                let (Output::Send(to, _) | Output::Datagram(to, _) | Output::Close(to, ..)) = &output else {
                    // Goes to the disk.
                    continue;
                };
                prop_assert!(conns.contains(&Some(*to)), "{output:?}");
                if let Output::Close(to, ..) = output {
                    conns.iter_mut().filter(|c| **c == Some(to)).for_each(|c| *c = None);
                }
            }
        }
        for conn in conns.into_iter().flatten() {
            world.gone(conn);
        }
        world.pass(REGISTER_TIMEOUT);
        let stats = world.core.stats();
        prop_assert_eq!((stats.connections, stats.half_open, stats.registered), (0, 0, 0));
        prop_assert_eq!((stats.lobby, stats.lobby_outside), (0, 0));
        prop_assert_eq!((stats.sessions, world.core.poll_timeout()), (0, None));
    }
}
