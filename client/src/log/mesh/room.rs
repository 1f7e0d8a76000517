//! Rooms on the sparse mesh: every member's store, with the streams of the log between neighbours, in virtual time. No
//! network below: a stream is bytes that arrive one way later.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use common::frame::{self, Message as _};
use common::identity::{Identity, PeerId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::neighbours;
use crate::log::exchange::{Exchange, WallClock, run};
use crate::log::wire::{Carry, LogFrame};
use crate::log::{Act, Content, ConversationId, Head, Message, MessageId, SignedMessage};
use crate::store::Store;

/// One way between any two.
const DELAY: Duration = Duration::from_millis(40);
/// How long a message may take to everybody: three hops, each of which is told, asked for, and brought.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two messages.
const PAUSE: Duration = Duration::from_secs(20);
/// A file system in memory, if there is one: hundreds of databases that nobody will want again.
const MEMORY: &str = "/dev/shm";

/// What passed on all streams together.
#[derive(Debug, Default)]
struct Traffic {
    /// Bytes by kind of frame.
    bytes: BTreeMap<&'static str, usize>,
    /// At how many hops from its author each member first got each message.
    hops: BTreeMap<(MessageId, PeerId), usize>,
    /// Messages that came to a member that had them already.
    doubled: usize,
}

impl Traffic {
    fn note(&mut self, from: PeerId, to: PeerId, frame: &LogFrame) {
        let kind = match frame {
            LogFrame::Message(carry) => {
                let id = MessageId::of(&carry.bytes);
                let hops = self.hops.get(&(id, from)).copied().unwrap_or(0) + 1;
                self.doubled += usize::from(self.hops.contains_key(&(id, to)));
                self.hops.entry((id, to)).or_insert(hops);
                "messages"
            }
            LogFrame::Ack(_) => "acks",
            LogFrame::Summary(_) => "summaries",
            LogFrame::News(_) => "news",
            LogFrame::Have(_) => "haves",
            _ => "other",
        };
        *self.bytes.entry(kind).or_default() += frame.to_bytes().len();
    }
}

impl Traffic {
    fn most_hops(&self, id: MessageId) -> usize {
        let hops = self.hops.iter().filter(|((message, _), _)| *message == id).map(|(_, hops)| *hops);
        hops.max().unwrap_or(0)
    }
}

/// Every member's store, and streams between those who are there.
struct Hall {
    _dir: TempDir,
    people: Vec<Identity>,
    room: ConversationId,
    stores: Vec<Store>,
    /// Who is not away, by number.
    present: Vec<usize>,
    traffic: Arc<Mutex<Traffic>>,
    tasks: JoinSet<()>,
}

/// The events by which all belong to one room.
fn events(people: &[Identity]) -> (ConversationId, Vec<SignedMessage>) {
    let room = ConversationId::room(people[0].peer_id(), 1, 1, "hall");
    let mut log: Vec<SignedMessage> = Vec::new();
    let mut say = |author: &Identity, act: Act| {
        let head =
            |last: &SignedMessage| Head { id: last.id(), depth: last.message().depth, author: last.author() };
        let heads: Vec<_> = log.last().map(head).into_iter().collect();
        log.push(Message::compose(author, room, &heads, Content::Room(act), 1, 1).unwrap());
    };
    say(&people[0], Act::Create { name: "hall".to_owned() });
    for other in &people[1..] {
        say(&people[0], Act::Add(other.peer_id()));
        say(other, Act::Accept);
    }
    (room, log)
}

/// One store with the whole room, then a copy for each member: taking in hundreds of events is done once.
async fn stores(dir: &Path, people: &[Identity], log: &[SignedMessage]) -> Vec<Store> {
    let first = dir.join("0");
    let me = people[0].peer_id();
    let store = Store::open(&first, me).await.unwrap();
    let bytes = log.iter().map(|message| message.bytes().clone()).collect();
    let taken = store.ingest(people[1].peer_id(), bytes, 1).await.unwrap();
    assert!(taken.iter().all(|taken| taken.delivered.len() == 1));
    store.close().await;
    let mut stores = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let path = dir.join(n.to_string());
        if n > 0 {
            std::fs::copy(&first, &path).unwrap();
            let conn = rusqlite::Connection::open(&path).unwrap();
            let owner = (me.to_string(), person.peer_id().to_string());
            assert_eq!(conn.execute("UPDATE settings SET value = ?2 WHERE value = ?1", owner).unwrap(), 1);
        }
        stores.push(Store::open(&path, person.peer_id()).await.unwrap());
    }
    stores
}

impl Hall {
    /// A room of so many, of whom each `away`th one is away.
    async fn new(count: u8, away: usize) -> Self {
        let dir = if Path::new(MEMORY).is_dir() { TempDir::new_in(MEMORY) } else { TempDir::new() }.unwrap();
        let people: Vec<_> = (1..=count).map(|seed| Identity::from_seed([seed; 32])).collect();
        let (room, log) = events(&people);
        let stores = stores(dir.path(), &people, &log).await;
        let mut hall = Self {
            _dir: dir,
            people,
            room,
            stores,
            present: Vec::new(),
            traffic: Arc::default(),
            tasks: JoinSet::new(),
        };
        tokio::time::pause();
        hall.present = (0..hall.people.len()).filter(|n| (n + 1) % away != 0).collect();
        let members: Vec<_> = hall.people.iter().map(Identity::peer_id).collect();
        let is_there = |peer| hall.present.iter().any(|n| members[*n] == peer);
        let near: Vec<_> = members.iter().map(|me| neighbours(room, *me, &members, is_there)).collect();
        for a in hall.present.clone() {
            for b in hall.present.clone().into_iter().filter(|b| *b > a) {
                // One of the two is enough to connect them.
                if near[a].contains(&members[b]) || near[b].contains(&members[a]) {
                    hall.connect(a, b);
                }
            }
        }
        sleep(PAUSE).await;
        *hall.traffic.lock().unwrap() = Traffic::default();
        hall
    }

    fn connect(&mut self, a: usize, b: usize) {
        let [(near_a, far_a), (near_b, far_b)] = [duplex(1 << 20), duplex(1 << 20)];
        let ((read_a, write_a), (read_b, write_b)) = (split(far_a), split(far_b));
        let (id_a, id_b) = (self.people[a].peer_id(), self.people[b].peer_id());
        self.tasks.spawn(carry(read_a, write_b, Arc::clone(&self.traffic), [id_a, id_b]));
        self.tasks.spawn(carry(read_b, write_a, Arc::clone(&self.traffic), [id_b, id_a]));
        self.tasks.spawn(serve(self.stores[a].clone(), id_b, near_a));
        self.tasks.spawn(serve(self.stores[b].clone(), id_a, near_b));
    }

    /// Somebody writes; returns the message and the length of its frame when all who are there have it.
    async fn say(&self, author: usize, text: &str, nonce: u64) -> (MessageId, usize) {
        let content = Content::text(text);
        let row = self.stores[author]
            .compose(&self.people[author], self.room, &[], content, 1, nonce)
            .await
            .unwrap();
        let id = row.id();
        self.traffic.lock().unwrap().hops.insert((id, self.people[author].peer_id()), 0);
        let begun = now();
        for store in self.present.iter().map(|n| &self.stores[*n]) {
            while store.get(&[id]).await.unwrap().is_empty() {
                assert!(now() < begun + PATIENCE, "not everybody has it after {PATIENCE:?}");
                sleep(DELAY).await;
            }
        }
        let signed =
            self.stores[author].signed_for(self.people[1 - author.min(1)].peer_id(), vec![id]).await.unwrap();
        let frame = LogFrame::from(Carry { bytes: signed[0].bytes().to_vec() });
        (id, frame.to_bytes().len())
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's own clock, paused")]
fn now() -> Instant {
    Instant::now()
}

/// Carries bytes one way, late, and notes the frames in them.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    traffic: Arc<Mutex<Traffic>>,
    ends: [PeerId; 2],
) {
    let (sender, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let reading = async move {
        let (mut buffer, mut frames) = (vec![0; 65_536], BytesMut::new());
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            frames.extend_from_slice(&buffer[..len]);
            while let Some(frame) = frame::take::<LogFrame>(&mut frames).unwrap() {
                traffic.lock().unwrap().note(ends[0], ends[1], &frame);
            }
            sender.send((now() + DELAY, buffer[..len].to_vec())).await.unwrap();
        }
    };
    let writing = async move {
        while let Some((at, bytes)) = queue.recv().await {
            sleep_until(at).await;
            to.write_all(&bytes).await.unwrap();
        }
    };
    tokio::join!(reading, writing);
}

async fn serve(store: Store, peer: PeerId, stream: DuplexStream) {
    let (events, mut seen) = mpsc::channel(64);
    let typing = broadcast::Sender::new(1);
    let exchange = Exchange { store, peer, events, clock: WallClock(|| 1), typing };
    let (reader, writer) = split(stream);
    let drain = async { while seen.recv().await.is_some() {} };
    let _ = tokio::join!(run(exchange, reader, writer), drain);
}

/// What texts of one length came to.
struct Talk {
    /// Bytes of all frames.
    bytes: usize,
    /// The least that can be: everybody who is there but the author gets the frame with the message once.
    least: usize,
    most_hops: usize,
    /// Frames with a message that was there already.
    doubled: usize,
}

/// So many texts by different people, one after the other.
async fn talk(hall: &Hall, messages: usize, len: usize) -> Talk {
    *hall.traffic.lock().unwrap() = Traffic::default();
    let text = "x".repeat(len);
    let mut least = 0;
    let mut most_hops = 0;
    for n in 0..messages {
        let author = hall.present[n * 37 % hall.present.len()];
        let (id, frame) = hall.say(author, &text, n.try_into().unwrap()).await;
        least += frame * (hall.present.len() - 1);
        most_hops = most_hops.max(hall.traffic.lock().unwrap().most_hops(id));
        sleep(PAUSE).await;
    }
    let traffic = hall.traffic.lock().unwrap();
    let talk = Talk { bytes: traffic.bytes.values().sum(), least, most_hops, doubled: traffic.doubled };
    println!(
        "{} of {} members there, {messages} texts of {len} bytes: at most {most_hops} hops, {} came twice, {} bytes, least {least}: {:?}",
        hall.present.len(),
        hall.people.len(),
        talk.doubled,
        talk.bytes,
        traffic.bytes
    );
    talk
}

#[tokio::test]
async fn a_hundred_members_get_every_message_in_three_hops() {
    let hall = Hall::new(100, usize::MAX).await;
    for len in [40, 100, 750] {
        let Talk { bytes, least, most_hops, doubled } = talk(&hall, 5, len).await;
        assert!(most_hops <= 3, "{most_hops} hops");
        assert!(bytes <= 2 * least, "{bytes} bytes, and {least} would be the least");
        assert_eq!(doubled, 0);
    }
}

/// Branches of the tree are cut off at those who are away: the others are told of what is new, and ask.
#[tokio::test]
async fn whoever_is_there_gets_every_message_while_half_are_away() {
    let hall = Hall::new(60, 2).await;
    let Talk { bytes, least, doubled, most_hops } = talk(&hall, 5, 100).await;
    assert!(doubled <= hall.present.len() / 2, "{doubled} came twice");
    assert!(most_hops <= 3, "{most_hops} hops");
    assert!(bytes <= 2 * least, "{bytes} bytes, and {least} would be the least");
}
