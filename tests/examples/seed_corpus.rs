//! Writes one valid entry of each kind into the fuzz corpus: `cargo run -p tests --example seed_corpus`.

use std::net::SocketAddr;
use std::path::Path;

use client::engine::wire::{Candidates, Hello, ToPeer};
use client::log::wire::{Ack, Carry, LogFrame, Want};
use client::log::{Content, ConversationId, Message};
use common::control::{
    CheckKey, Connect, End, Failed, FailedReason, InstanceId, Introduce, Lobby, Observed, Presence, Register,
    SessionId, ToClient, ToServer, Watch, Welcome,
};
use common::frame::Message as _;
use common::identity::Identity;
use common::relay::Wrapper;
use common::stun::binding;
use common::stun::check::{self, KEY_LEN, Key, KeyName, Side, Size};

fn main() -> std::io::Result<()> {
    let me = Identity::from_seed([1; 32]);
    let other = Identity::from_seed([2; 32]).peer_id();
    let addr: SocketAddr = ([192, 0, 2, 1], 5000).into();
    let session = SessionId(7);
    let instance = InstanceId(9);

    let to_server: [ToServer; 5] = [
        Register { instance, features: vec!["x".to_owned()] }.into(),
        Connect { session, peer: other }.into(),
        End { session }.into(),
        Lobby { waiting: true, except: vec![other] }.into(),
        Watch { peers: vec![other, me.peer_id()] }.into(),
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
    let to_client: [ToClient; 6] = [
        Welcome { observed: addr, features: Vec::new() }.into(),
        Observed { addr }.into(),
        introduce.into(),
        Failed { session, reason: FailedReason::Offline }.into(),
        End { session }.into(),
        Presence { peer: other, online: Some(instance), standing: true }.into(),
    ];
    write("to_client", &to_client.map(|frame| frame.to_bytes().to_vec()))?;

    let to_peer: [ToPeer; 2] = [
        Hello { name: "Zoë".to_owned(), features: Vec::new() }.into(),
        Candidates { addrs: vec![addr] }.into(),
    ];
    write("to_peer", &to_peer.map(|frame| frame.to_bytes().to_vec()))?;

    let conversation = ConversationId::direct(me.peer_id(), other);
    let message = Message::compose(&me, conversation, &[], Content::Text("hello".to_owned()), 1, 2)
        .expect("a small message")
        .bytes()
        .to_vec();
    write("message", std::slice::from_ref(&message))?;
    let ids = vec![client::log::MessageId::of(&message)];
    let log: [LogFrame; 3] =
        [Carry { bytes: message }.into(), Ack { ids: ids.clone() }.into(), Want { ids }.into()];
    write("log_frame", &log.map(|frame| frame.to_bytes().to_vec()))?;

    let key = Key::new(KeyName(1), Side::Acceptor, &[9; KEY_LEN]);
    let request = check::request(&key, [4; 12], Size::Bare);
    let response = check::response(&key, [4; 12], addr);
    write("stun_check", &[request.clone(), response.clone()])?;
    write("agent", &[request.clone(), [request, response.clone()].concat()])?;
    write("stun_binding", &[binding::request([1; 12]).to_vec(), response])?;

    let frames: Vec<u8> = Wrapper::default().wrap(session, 1, &[0x40; 80], 60).flatten().collect();
    write("relay_frame", &[frames, vec![0; 10]])?;
    write("text", &[b"host:5000#x\x1b[2J".to_vec(), "\u{202e}a\tb\r\n👩\u{200d}🚀".as_bytes().to_vec()])
}

fn write(target: &str, entries: &[Vec<u8>]) -> std::io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&dir)?;
    for (i, entry) in entries.iter().enumerate() {
        std::fs::write(dir.join(format!("valid-{i}")), entry)?;
    }
    Ok(())
}
