//! `client netcheck` in the simulated world: each kind of NAT is named as what it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use client::net::netcheck::{self, Kind, MeasureLifetime, Report};
use client::net::{self, BindExtra, Door, Net, ServerTarget, Surroundings, TcpUse};
use common::control::InstanceId;
use common::identity::Identity;
use common::traversal::nat::{Allocation, Choice, Class, Mapping, PortRange};
use common::traversal::survey::Filtering;
use common::traversal::survey::lifetime::Lifetime;
use quinn::AsyncUdpSocket;
use rendezvous::{Limits, Server};
use tests::nat::{Allocation as Rule, Behavior, Profile};
use tests::simnet::{Segment, SimNet};
use tests::world::{Access, World};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A port of the machine; those of the survey are others.
const PORT: u16 = 40_000;
/// The address of the first home without a NAT.
const PUBLIC: [u8; 4] = [198, 51, 100, 1];

async fn netcheck(access: &Access, lifetime: MeasureLifetime) -> Report {
    let mut world = World::new(7);
    world.start_square_server();
    let home = world.home(access);
    let socket = world.net.bind(home.host, PORT);
    let interfaces = match access {
        Access::Public => || vec![IpAddr::from(PUBLIC)],
        Access::Nat(_) | Access::DoubleNat(..) => || vec![IpAddr::from([192, 168, 1, 10])],
    };
    let server = ServerTarget { address: world.server_addr().to_string(), key: Some(world.server_key()) };
    let config = netcheck::Config {
        server: Some(server),
        stun: Vec::new(),
        tunnels: None,
        links: vec![socket],
        bind_extra: world.bind_extra(&home),
        interfaces,
        router: || None,
        lifetime,
        seed: 3,
    };
    netcheck::check(config).await.expect("a simulated socket works")
}

/// What a profile is to whoever knows it.
fn expected(profile: &Profile) -> (Mapping, Filtering) {
    let mapping = match profile.mapping {
        Behavior::EndpointIndependent => Mapping::Independent,
        Behavior::AddressDependent => Mapping::AddressDependent,
        Behavior::AddressAndPortDependent => Mapping::PortDependent,
    };
    let filtering = match profile.filtering {
        Behavior::EndpointIndependent => Filtering::Independent,
        Behavior::AddressDependent => Filtering::AddressDependent,
        Behavior::AddressAndPortDependent => Filtering::PortDependent,
    };
    (mapping, filtering)
}

fn allocates_so(rule: Rule, found: Allocation) -> bool {
    match (rule, found) {
        (Rule::Preserving, Allocation::Preserving) => true,
        (Rule::Sequential { step }, Allocation::Sequential { step: found }) => step == found,
        (Rule::Block { size }, Allocation::Random(range)) => {
            range.is_block() && range.size() <= 2 * u32::from(size)
        }
        (Rule::Random | Rule::Parity, Allocation::Random(range)) => range == PortRange::ALL,
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn every_profile_is_named_rightly() {
    for profile in Profile::all() {
        let report = netcheck(&Access::Nat(profile), MeasureLifetime::No).await;
        let (name, udp) = (profile.name, &report.udp);
        let server = report.server.as_ref().expect("it was asked");
        assert_eq!(server.outcome.is_ok(), profile.udp, "{name}");
        if !profile.udp {
            // There is no TCP in this world.
            assert_eq!((report.kind(), udp.seen.len()), (Kind::Unknown, 0), "{name}");
            continue;
        }
        assert_eq!((udp.nat.mapping, udp.filtering), expected(&profile), "{name}");
        assert!(allocates_so(profile.allocation, udp.nat.allocation), "{name}: {:?}", udp.nat);
        assert_eq!(udp.hairpin, Some(profile.hairpin), "{name}");
        assert_eq!(report.is_translated(), Some(true), "{name}");
        let is_easy = matches!(report.kind(), Kind::Nat(Class::Easy));
        assert_eq!(is_easy, profile.mapping == Behavior::EndpointIndependent, "{name}");
        assert!(server.ways.iter().all(|way| way.outcome.is_ok()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_a_nat_is_open() {
    let report = netcheck(&Access::Public, MeasureLifetime::No).await;
    assert_eq!((report.kind(), report.udp.filtering), (Kind::Open, Filtering::Independent));
}

#[tokio::test(start_paused = true)]
async fn of_two_nats_the_harder_one_shows() {
    let access = Access::DoubleNat(Profile::symmetric_sequential(), Profile::full_cone());
    let report = netcheck(&access, MeasureLifetime::No).await;
    assert_eq!(report.udp.nat.mapping, Mapping::PortDependent);
    assert_eq!(report.udp.filtering, Filtering::PortDependent);
    // The outer one keeps the ports that the inner one counts.
    assert_eq!(report.kind(), Kind::Nat(Class::Hard(Choice::Counter(1))));
}

#[tokio::test(start_paused = true)]
async fn the_lifetime_is_measured_when_it_is_asked_for() {
    let profile = Profile { udp_lifetime: Duration::from_secs(47), ..Profile::eim_apdf_random() };
    let report = netcheck(&Access::Nat(profile), MeasureLifetime::Yes).await;
    let Some(Lifetime::Between(alive, Some(dead))) = report.lifetime else { panic!("{report:?}") };
    assert!(alive <= profile.udp_lifetime && profile.udp_lifetime <= dead + Duration::from_millis(100));
    assert!(dead - alive <= Duration::from_secs(2), "{alive:?} {dead:?}");
}

/// What a client behind a NAT makes of it if the rendezvous has one address and the user names `stun` servers.
async fn mapping_with(rendezvous: [u8; 4], stun: Vec<String>) -> Mapping {
    let net = SimNet::new(1);
    let site = net.site();
    let ips: [IpAddr; 2] = [rendezvous.into(), [203, 0, 113, 9].into()];
    let hosts = ips.map(|ip| net.host(Segment::Core(site), ip));
    let identity = Identity::from_seed([9; 32]);
    let at = |n: usize, port| -> Arc<dyn AsyncUdpSocket> {
        net.bind_at(hosts[n], (ips[n], port).into()).expect("its own address")
    };
    let limits = Limits::default();
    let server = Server::with_probes(&identity, limits.clone(), vec![at(0, 5000)], vec![at(0, 5001)]);
    let server = server.expect("a simulated socket works");
    // Any STUN server will do.
    let other = Server::with_sockets(&Identity::from_seed([8; 32]), limits, vec![at(1, 3478)]);
    let _other = other.expect("a simulated socket works");
    let nat = net.nat(Segment::Core(site), Profile::adm_apdf(), &[[198, 51, 100, 1].into()]);
    let host = net.host(Segment::Behind(nat), [192, 168, 1, 10].into());
    let binding = net.clone();
    let config = net::Config {
        identity: Identity::from_seed([1; 32]),
        instance: InstanceId(1),
        server: Some(ServerTarget {
            address: SocketAddr::from((ips[0], 5000)).to_string(),
            key: Some(server.peer_id()),
        }),
        tunnels: None,
        routes: std::collections::BTreeMap::new(),
        links: vec![net.bind(host, PORT)],
        bind_extra: BindExtra(Arc::new(move |_: SocketAddr| Ok(binding.bind(host, 0)))),
        surroundings: Surroundings { stun, ..Surroundings::default() },
        tcp: TcpUse::Never,
        door: Door::default(),
        holds: Vec::new(),
        seed: 1,
    };
    let mut tasks = JoinSet::new();
    let (client, _events) = Net::start(config, &mut tasks).expect("a simulated socket works");
    sleep(Duration::from_secs(10)).await;
    let mapping = client.nat().mapping;
    client.shutdown().await;
    mapping
}

#[tokio::test(start_paused = true)]
async fn the_users_stun_servers_tell_a_client_what_one_address_cannot() {
    let limit = Duration::from_secs(60);
    let outside = [203, 0, 113, 1];
    let stun = || vec!["203.0.113.9:3478".to_owned()];
    let mapping =
        async |rendezvous, stun| timeout(limit, mapping_with(rendezvous, stun)).await.expect("an end");
    assert_eq!(mapping(outside, Vec::new()).await, Mapping::OneAddress);
    assert_eq!(mapping(outside, stun()).await, Mapping::AddressDependent);
    // A rendezvous within the network sees something else for another reason.
    assert_eq!(mapping([10, 0, 0, 1], stun()).await, Mapping::OneAddress);
}
