//! Every decoder that eats bytes of strangers, as a function over bytes that must neither panic nor give more than
//! its bounds allow.
//!
//! The fuzz targets in `tests/fuzz` call these, and so does the test that replays the corpus.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::engine::echo::Echo;
use client::engine::wire::ToPeer;
use client::engine::{Link, MAX_LINK_LEN};
use client::log::wire::LogFrame;
use client::log::{Content, SignedMessage};
use common::control::{ToClient, ToServer};
use common::frame::{self, Message};
use common::names::{self, Name};
use common::relay;
use common::stream_frame;
use common::stun::binding;
use common::stun::check::{self, KEY_LEN, Key, KeyName, Side};
use common::stun::discovery::{self, Origins};
use common::traversal::nat::{Allocation, Mapping, Nat, PortRange};
use common::traversal::signal::{Aim, Counter, Signal};
use common::traversal::{Agent, Local};

/// A decoder under test.
pub type Target = fn(&[u8]);

/// All of them, with the names of their fuzz targets and folders of the corpus.
pub const TARGETS: [(&str, Target); 15] = [
    ("to_server", frames::<ToServer>),
    ("to_client", frames::<ToClient>),
    ("to_peer", frames::<ToPeer>),
    ("log_frame", frames::<LogFrame>),
    ("message", message),
    ("content", content),
    ("stun_check", stun_check),
    ("stun_binding", stun_binding),
    ("relay_frame", relay_frame),
    ("stream_frame", packets_on_a_stream),
    ("agent", agent),
    ("echo", echo),
    ("text", text),
    ("link", link),
    ("name", name),
];

/// The target of that name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target).expect("a known target")
}

/// Frames of one kind of stream, also cut into pieces at any place.
fn frames<M: Message + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let mut whole = BytesMut::from(data);
    let mut decoded = Vec::new();
    while let Ok(Some(message)) = frame::take::<M>(&mut whole) {
        decoded.push(message);
    }
    for message in &decoded {
        let bytes = message.to_bytes();
        assert_eq!(frame::take::<M>(&mut bytes.into()).ok().flatten().as_ref(), Some(message));
    }
    let mut buffer = BytesMut::new();
    let mut pieces = 0;
    'pieces: for piece in data.chunks(7) {
        buffer.extend_from_slice(piece);
        loop {
            match frame::take::<M>(&mut buffer) {
                Ok(Some(_)) => pieces += 1,
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    assert!(pieces == decoded.len(), "pieces give the same frames as the whole");
}

/// A datagram between peers: whatever is understood is exactly what is sent.
fn echo(data: &[u8]) {
    if let Some(echo) = Echo::parse(data) {
        assert_eq!(echo.to_bytes().as_ref(), data);
    }
}

/// A signed message: whatever decodes is exactly what encodes.
fn message(data: &[u8]) {
    if let Ok(signed) = SignedMessage::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(signed.bytes().as_ref(), data);
    }
}

/// What a message says, its kind first: whatever is read is written the same.
fn content(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    if let Ok(content) = Content::parse(*kind, Bytes::copy_from_slice(body)) {
        assert_eq!((content.kind(), content.body().as_slice()), (*kind, body));
    }
}

fn key() -> Key {
    Key::new(KeyName(1), Side::Dialer, &[1; KEY_LEN])
}

fn stun_check(data: &[u8]) {
    let _ = check::claim(data);
    assert!(!check::verify_request(&key(), data), "a fuzzer cannot forge an HMAC");
    assert!(check::verify_response(&key(), data).is_none(), "a fuzzer cannot forge an HMAC");
}

/// The four addresses of an answer for IPv4 (RFC 5780 §6.1), and a FINGERPRINT.
const MAX_UNPADDED: usize = 76;

fn stun_binding(data: &[u8]) {
    let from = SocketAddr::from(([192, 0, 2, 1], 1000));
    let mut answer = [0; binding::MAX_RESPONSE_LEN];
    let _ = binding::respond(data, from, &mut answer);
    let _ = binding::parse_response(data, [1; 12]);
    let place = |ip: u8, port: u16| SocketAddr::from(([203, 0, 113, ip], port));
    let [other_port, other_ip, other] = [(1, 2), (2, 1), (2, 2)].map(|(ip, port)| Some(place(ip, port)));
    let origins = Origins { asked: place(1, 1), other_port, other_ip, other };
    let mut answer = [0; discovery::MAX_RESPONSE_LEN];
    if let Some(response) = discovery::respond(data, from, &origins, &mut answer) {
        assert_eq!(response.to.ip(), from.ip(), "nobody else is answered");
        assert!(response.len <= data.len().max(MAX_UNPADDED), "no amplifier");
    }
    let _ = discovery::parse(data, [1; 12]);
    let _ = discovery::request_id(data);
}

/// Relay frames, several of them cut out of the data, so that halves meet.
fn relay_frame(data: &[u8]) {
    let mut unwrapper = relay::Unwrapper::default();
    for frame in data.chunks(64) {
        if let Some(unwrapped) = unwrapper.unwrap(&Bytes::copy_from_slice(frame)) {
            assert!(unwrapped.packet.len() <= data.len());
            assert_eq!(relay::session(frame), Some(unwrapped.session));
        }
    }
}

/// Packets on a byte stream, also cut into pieces at any place: the same packets, each within its bounds.
fn packets_on_a_stream(data: &[u8]) {
    let read = |piece: usize| {
        let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
        for bytes in data.chunks(piece) {
            buffer.extend_from_slice(bytes);
            loop {
                match stream_frame::take(&mut buffer) {
                    Ok(Some(packet)) => packets.push(packet),
                    Ok(None) => break,
                    Err(_) => return packets,
                }
            }
        }
        packets
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(7), whole);
    let mut again = BytesMut::new();
    assert!(whole.iter().all(|packet| stream_frame::put(&mut again, packet)));
    assert!(data.starts_with(&again));
}

/// A traversal agent under datagrams and candidates of a stranger, in virtual time.
fn agent(data: &[u8]) {
    let start = origin();
    let mut agent = Agent::new(1, 1);
    agent.add_key(key());
    agent.introduce(start, SocketAddr::from(([203, 0, 113, 9], 9)));
    agent.handle_connected(start, Duration::from_millis(50));
    let mine = Nat::new(Mapping::PortDependent, Allocation::Sequential { step: 1 });
    agent.set_nat(start, mine, &[SocketAddr::from(([203, 0, 113, 1], 1))]);
    let mut sent = std::collections::BTreeMap::<SocketAddr, u32>::new();
    for (i, datagram) in data.chunks(40).enumerate() {
        let now = start + Duration::from_millis(20 * i as u64);
        let port = u16::from(datagram[0]) + 1;
        let from = SocketAddr::from(([203, 0, 113, 9], port));
        agent.handle_datagram(now, Local(u32::from(datagram[0] & 1)), from, datagram);
        agent.add_candidate(now, from);
        agent.handle_signal(now, &signal(datagram));
        if agent.wants_turn().is_some() {
            agent.grant_turn(now);
        }
        agent.handle_timeout(now);
        while let Some(transmit) = agent.poll_transmit() {
            *sent.entry(transmit.to).or_default() += 1;
        }
    }
    assert!(agent.remotes().count() <= common::traversal::MAX_PATHS);
    assert!(agent.outlook().packets <= common::traversal::PUNCH_BURST);
}

/// What a peer may say, picked by the data.
fn signal(data: &[u8]) -> Signal {
    let number = |at: usize| u16::from_be_bytes([0, 1].map(|i| data.get(at + i).copied().unwrap_or(0)));
    let [a, b] = [number(1), number(3)];
    let range = PortRange { first: a.min(b), last: a.max(b) };
    match data[0] % 5 {
        0 => Signal::Counter(Counter { round: a.into(), port: b }),
        1 => Signal::Aim(Aim { ports: vec![a, b], range: None }),
        2 => Signal::Aim(Aim { ports: Vec::new(), range: Some(range) }),
        3 => Signal::Nat(Nat::new(Mapping::PortDependent, Allocation::Random(range))),
        _ => Signal::Nat(Nat::new(Mapping::PortDependent, Allocation::Sequential { step: a.max(1) })),
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn origin() -> std::time::Instant {
    std::time::Instant::now()
}

/// A link: whatever is read is written the same, and stays within its bounds.
fn link(data: &[u8]) {
    if let Ok(link) = String::from_utf8_lossy(data).parse::<Link>() {
        let text = link.to_string();
        assert!(text.len() <= MAX_LINK_LEN && !text.contains(char::is_control));
        assert_eq!(text.parse(), Ok(link));
    }
}

/// A name on a server: its normal form is itself, and whatever looks like it is found.
fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = names::likeness(&text);
    if let Ok(name) = text.parse::<Name>() {
        assert!(name.as_str().len() <= names::MAX_BYTES && !name.as_str().contains(char::is_whitespace));
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        assert_eq!(name.likeness(), names::likeness(&text));
    }
}

/// Text of others on its way to a terminal, and text of the user on its way in.
fn text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let line = common::text::one_line(&text, 40);
    assert!(line.chars().count() <= 40 && !line.chars().any(char::is_control));
    assert!(!common::text::lines(&text).chars().any(|c| c.is_control() && c != '\n'));
    let _ = text.parse::<client::net::ServerTarget>();
    let _ = text.parse::<common::identity::PeerId>();
}
