//! Writes one valid entry of each kind into the fuzz corpus: `cargo run -p tests --example seed_corpus`.

use std::net::SocketAddr;
use std::path::Path;

use bytes::BytesMut;
use client::engine::echo::Echo;
use client::engine::wire::{
    AccessFrame, AimFrame, Answer, Candidates, CounterFrame, Found, Hello, Knock, Met, NatFrame, Seek,
    Sought, ToPeer,
};
use client::engine::{Goal, Link, LinkSecret};
use client::log::wire::{Ack, Carry, Have, HeadsHash, Later, LogFrame, News, Summary, Want};
use client::log::{Act, Content, ConversationId, Message, Reaction, Role};
use common::control::{
    Admit, CheckKey, Claim, Claimed, Connect, DropName, End, Failed, FailedReason, FindName, InstanceId,
    Introduce, Lobby, Mapped, Moved, NamedPeer, Names, NoOffer, Observed, Offer, Offered, Presence, Register,
    Reply, SessionId, TakeName, ToClient, ToServer, Watch, Welcome,
};
use common::frame::Message as _;
use common::identity::{Identity, PeerId};
use common::relay::Wrapper;
use common::stream_frame;
use common::stun::binding;
use common::stun::check::{self, KEY_LEN, Key, KeyName, Side, Size};
use common::stun::discovery::{self, Origin};
use common::traversal::tcp::Offer as TcpOffer;

fn main() -> std::io::Result<()> {
    let me = Identity::from_seed([1; 32]);
    let other = Identity::from_seed([2; 32]).peer_id();
    let addr: SocketAddr = ([192, 0, 2, 1], 5000).into();
    control(&me, other, addr)?;
    peers(other, addr)?;
    links(me.peer_id(), other)?;
    conversations(&me, other)?;
    datagrams(addr)?;
    write("text", &[b"host:5000#x\x1b[2J".to_vec(), "\u{202e}a\tb\r\n👩\u{200d}🚀".as_bytes().to_vec()])
}

/// Between client and server.
fn control(me: &Identity, other: PeerId, addr: SocketAddr) -> std::io::Result<()> {
    let (session, instance) = (SessionId(7), InstanceId(9));
    let (pake, proof) = (vec![7; 33], vec![8; 32]);
    let reply = Reply { number: 4, peer: other, pake: pake.clone(), proof };
    let admit = Admit { only: true, peers: vec![other] };
    let to_server: [ToServer; 14] = [
        Register { instance, features: vec!["x".to_owned()], admit: admit.clone() }.into(),
        Connect { session, peer: other }.into(),
        End { session }.into(),
        Lobby { waiting: true, except: vec![other] }.into(),
        Watch { peers: vec![other, me.peer_id()] }.into(),
        Mapped { addr: Some(([192, 0, 2, 1], 5000).into()) }.into(),
        Offer {}.into(),
        Claim { number: 4, pake: pake.clone() }.into(),
        reply.clone().into(),
        Moved {}.into(),
        TakeName { ask: 1, name: "anna".to_owned(), listed: true }.into(),
        DropName { ask: 2, name: "anna".to_owned() }.into(),
        FindName { ask: 3, text: "ann".to_owned(), begins: true }.into(),
        admit.into(),
    ];
    write("to_server", &to_server.map(|frame| frame.to_bytes().to_vec()))?;

    let introduce = Introduce {
        session,
        peer: other,
        instance,
        endpoints: vec![addr, "[2001:db8::1]:1".parse().expect("an address")],
        key: CheckKey([3; 16]),
        dial: true,
        lobby: false,
    };
    let to_client: [ToClient; 11] = [
        Welcome { observed: Some(addr), probes: vec![addr], features: Vec::new() }.into(),
        Observed { addr: Some(addr) }.into(),
        introduce.into(),
        Failed { session, reason: FailedReason::Offline }.into(),
        End { session }.into(),
        Presence { peer: other, online: Some(instance), standing: true }.into(),
        Offered { number: 4 }.into(),
        Claimed { number: 4, peer: other, pake }.into(),
        reply.into(),
        NoOffer { number: 4 }.into(),
        Names {
            ask: 3,
            verdict: 0,
            names: vec![NamedPeer { name: "anna".to_owned(), peer: other, listed: true }],
        }
        .into(),
    ];
    write("to_client", &to_client.map(|frame| frame.to_bytes().to_vec()))
}

/// Between peers, but for what they say.
fn peers(other: PeerId, addr: SocketAddr) -> std::io::Result<()> {
    let to_peer: [ToPeer; 13] = [
        Hello { name: "Zoë".to_owned(), features: Vec::new() }.into(),
        Candidates { addrs: vec![addr] }.into(),
        NatFrame { mapping: 4, allocation: 3, step: 0, range: (1024, 2047), remembers: false }.into(),
        AimFrame { ports: vec![1, 2], range: Some((1024, 2047)) }.into(),
        CounterFrame { round: 1, port: 5000 }.into(),
        AccessFrame { udp: 2, tcp: 1 }.into(),
        TcpOffer { round: 1, addrs: vec![addr] }.into(),
        Knock { secret: vec![1; 16] }.into(),
        Answer { secret: vec![1; 16], verdict: 0, room: Some(ConversationId::from_bytes([2; 32])) }.into(),
        Seek { session: SessionId(7), tag: vec![3; 16], endpoints: vec![addr] }.into(),
        Sought { session: SessionId(7), peer: other, endpoints: vec![addr], key: CheckKey([4; 16]) }.into(),
        Found { session: SessionId(7), endpoints: vec![addr] }.into(),
        Met { session: SessionId(7), peer: other, endpoints: vec![addr], key: CheckKey([4; 16]) }.into(),
    ];
    write("echo", &[Echo::Request(7), Echo::Answer(7)].map(|echo| echo.to_bytes().to_vec()))?;
    write("to_peer", &to_peer.map(|frame| frame.to_bytes().to_vec()))
}

/// What people paste and type.
fn links(server: PeerId, inviter: PeerId) -> std::io::Result<()> {
    let link = Link {
        address: "example.org:5000".to_owned(),
        server,
        inviter,
        goal: Goal::Room,
        expires_ms: 1_800_000_000_000,
        secret: LinkSecret::from_bytes([7; 16]),
    };
    write("link", &[link.to_string().into_bytes(), b"<hobnob:[::1]:1/AQ#\n>".to_vec()])?;
    write("name", &[b"anna".to_vec(), "Zoe\u{308}-1".as_bytes().to_vec(), "сосо".as_bytes().to_vec()])
}

/// What they say.
fn conversations(me: &Identity, other: PeerId) -> std::io::Result<()> {
    let conversation = ConversationId::direct(me.peer_id(), other);
    let message = Message::compose(me, conversation, &[], Content::text("hello"), 1, 2)
        .expect("a small message")
        .bytes()
        .to_vec();
    write("message", std::slice::from_ref(&message))?;
    let ids = vec![client::log::MessageId::of(&message)];
    let contents = [
        Content::text("hello"),
        Content::Edit { target: ids[0], text: "hello!".to_owned() },
        Content::React { target: ids[0], sign: "+".to_owned(), reaction: Reaction::Add },
        Content::Room(Act::Create { name: "room".to_owned() }),
        Content::Room(Act::Appoint(other, Role::Owner)),
    ];
    write("content", &contents.map(|content| [&[content.kind()], content.body().as_slice()].concat()))?;
    let log: [LogFrame; 7] = [
        Carry { bytes: message }.into(),
        Ack { ids: ids.clone() }.into(),
        Want { ids: ids.clone() }.into(),
        Summary { conversations: vec![(conversation, HeadsHash::of(ids.clone()))] }.into(),
        Have { conversation, ids: ids.clone() }.into(),
        Later { conversation }.into(),
        News(0, HeadsHash::of(ids)).into(),
    ];
    write("log_frame", &log.map(|frame| frame.to_bytes().to_vec()))
}

/// Below the streams.
fn datagrams(addr: SocketAddr) -> std::io::Result<()> {
    let key = Key::new(KeyName(1), Side::Acceptor, &[9; KEY_LEN]);
    let request = check::request(&key, [4; 12], Size::Bare);
    let response = check::response(&key, [4; 12], addr);
    write("stun_check", &[request.clone(), response.clone()])?;
    write("agent", &[request.clone(), [request, response.clone()].concat()])?;
    let changed = discovery::request([1; 12], Origin::Other, Some(4000));
    write("stun_binding", &[binding::request([1; 12]).to_vec(), response, changed])?;

    let frames: Vec<u8> = Wrapper::default().wrap(SessionId(7), 1, &[0x40; 80], 60).flatten().collect();
    write("relay_frame", &[frames, vec![0; 10]])?;
    let mut stream = BytesMut::new();
    stream_frame::put(&mut stream, &[0x40; 1]);
    stream_frame::put(&mut stream, &[0xc0; 90]);
    write("stream_frame", &[stream.to_vec()])
}

fn write(target: &str, entries: &[Vec<u8>]) -> std::io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&dir)?;
    for (i, entry) in entries.iter().enumerate() {
        std::fs::write(dir.join(format!("valid-{i}")), entry)?;
    }
    Ok(())
}
