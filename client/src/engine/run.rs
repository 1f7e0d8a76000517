//! The engine's task: follows the network, keeps one session per connected peer, and tells the front end.

mod alarm;
mod doors;
mod gaps;
mod introduce;
mod last_seen;
mod rooms;
mod showing;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::code;
use common::control::MAX_WATCHED;
use common::identity::{Identity, PeerId};
use common::stun::check::Side;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::contacts::{Contacts, MAX_BEFORE_STRANGERS};
use super::echo::{MAX_WISHES, Wish};
use super::introductions::Introductions;
use super::invites::LAST_SERVER;
use super::session::{self, Inbox, Labelled, Report, SessionNumber};
use super::wire::ToPeer;
use super::{Attitude, Event, Learned, Live, LivePeers};
use crate::log::exchange::ExchangeEvent;
use crate::log::{Act, Content, ConversationId, Standing};
use crate::net::{self, Door, Link, Net, Route, ServerTarget, Via};
use crate::store::{Awaited, Contact, MAX_ENDPOINTS, Meeting, MessageRow, Regard, State, Store, StoreError};
use gaps::Gaps;
use last_seen::LastSeen;
use rooms::Rooms;
pub(super) use watching::door;
use watching::stance_ends;

/// Frames that wait for a peer; what is beyond is lost, and said again or not needed.
const MAX_FRAMES: usize = 16;
/// Reports of sessions that wait.
const QUEUE_LEN: usize = 256;
/// How often somebody for whom a message waits is looked for. People are shown online only to those they know, and one
/// of two who have just met may have been killed before it noted the other.
const SEEK_INTERVAL: Duration = Duration::from_secs(60);
/// People for whom messages wait who are known at a time, and who of them are looked for at once; then it is the next
/// ones' turn.
const MAX_SOUGHT: (usize, usize) = (1024, 16);
/// Neighbours in rooms who come before contacts.
const MAX_NEIGHBOURS: usize = MAX_WATCHED / 2;
/// Messages that are read from the store at once.
const PAGE: usize = 256;

/// What the engine's parts share.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) identity: Identity,
    pub(super) store: Store,
    pub(super) net: Net,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) name: String,
    pub(super) wall_clock: fn() -> u64,
    pub(super) typing: broadcast::Sender<ConversationId>,
    pub(super) attitude: Arc<watch::Sender<Attitude>>,
}

/// How the engine begins.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) server: Option<ServerTarget>,
    /// Waits in the lobby although there are contacts.
    pub(super) meet: bool,
    /// What the network was told.
    pub(super) door: Door,
    /// What is known of networks.
    pub(super) learned: Learned,
    /// A name for the one that this machine is on now.
    pub(super) network: fn() -> Option<String>,
    /// Told whether the server answers.
    pub(super) registered: watch::Sender<bool>,
    /// Rung when there is a new link to follow.
    pub(super) knocks: Arc<Notify>,
}

struct Session {
    number: SessionNumber,
    task: AbortHandle,
    /// Whoever wants to know how long a round trip takes.
    pings: mpsc::Sender<Wish>,
    greeted: bool,
    /// They looked for us, and neither the user, the lobby nor a code for them.
    is_caller: bool,
    /// The path that the front end was told of last.
    path: Option<(Via, Option<SocketAddr>)>,
    /// What the peer is to be told.
    frames: mpsc::Sender<ToPeer>,
    /// How often they have shown a link.
    knocks: u32,
}

struct Engine {
    context: Context,
    live: watch::Sender<LivePeers>,
    server: Option<ServerTarget>,
    sessions: BTreeMap<PeerId, Session>,
    numbers: SessionNumber,
    contacts: Contacts,
    rooms: Rooms,
    /// What the network was told.
    door: Door,
    learned: Learned,
    /// A name for the network that this machine is on now.
    network: fn() -> Option<String>,
    registered: watch::Sender<bool>,
    /// How often people were looked for.
    sought: usize,
    /// With whom the lobby or a code paired us last.
    paired: Option<PeerId>,
    /// The user was told that strangers are no longer remembered.
    told_full: bool,
    names: BTreeMap<PeerId, String>,
    reports: mpsc::Sender<Labelled>,
    tasks: JoinSet<()>,
    introductions: Introductions,
    /// Arrival number of the newest message that the front end was told of.
    shown: u64,
    gaps: Gaps,
    last_seen: LastSeen,
}

/// Runs until the network ends.
pub(super) async fn run(
    context: Context,
    mut net_events: mpsc::Receiver<net::Event>,
    live: watch::Sender<LivePeers>,
    Begin { server, meet, door, learned, network, registered, knocks }: Begin,
) {
    let (reports, mut report_queue) = mpsc::channel(QUEUE_LEN);
    let mut newest = context.store.newest();
    let mut attitude = context.attitude.subscribe();
    let mut engine = Engine {
        context,
        live,
        server,
        sessions: BTreeMap::new(),
        numbers: 0,
        contacts: Contacts::default(),
        rooms: Rooms::default(),
        door,
        learned,
        network,
        registered,
        sought: 0,
        paired: None,
        told_full: false,
        names: BTreeMap::new(),
        reports,
        tasks: JoinSet::new(),
        introductions: Introductions::default(),
        shown: *newest.borrow_and_update(),
        gaps: Gaps::default(),
        last_seen: LastSeen::default(),
    };
    if let Err(error) = engine.begin(meet).await {
        engine.emit(Event::Error { message: error.to_string() }).await;
    }
    let mut seek = tokio::time::interval(SEEK_INTERVAL);
    loop {
        tokio::select! {
            event = net_events.recv() => match event {
                Some(event) => engine.handle_net(event).await,
                None => return,
            },
            Ok(()) = newest.changed() => engine.show_arrived().await,
            Ok(()) = attitude.changed() => engine.handle_attitude().await,
            () = stance_ends(&engine.context) => engine.end_stances().await,
            _ = seek.tick() => {
                engine.seek().await;
                engine.note_all_seen().await;
            }
            () = engine.gaps.alarm.rung() => engine.tell_gaps().await,
            () = engine.rooms.alarm.rung() => engine.settle_rooms(false).await,
            () = knocks.notified() => engine.look_for_inviters().await,
            Some((peer, number, report)) = report_queue.recv() => engine.handle_report(peer, number, report).await,
        }
        while engine.tasks.try_join_next().is_some() {}
    }
}

impl Engine {
    async fn emit(&self, event: Event) {
        // Without a front end there is nobody to tell.
        let _ = self.context.events.send(event).await;
    }

    /// Shows us to our contacts; who has none waits in the lobby.
    async fn begin(&mut self, meet: bool) -> Result<(), StoreError> {
        let contacts = self.context.store.contacts().await?;
        self.tell_last_seen(&contacts).await;
        self.names = contacts.iter().map(|contact| (contact.peer, contact.name())).collect();
        self.contacts = Contacts::new(contacts.into_iter().map(|contact| contact.peer).collect());
        self.rooms = Rooms::of(&self.context.store).await?;
        self.watch().await;
        // What was kept back when the last run ended.
        self.gaps.note();
        let is_expected = !self.context.store.joins().await?.is_empty();
        let may_announce = self.context.attitude.borrow().may_announce();
        let is_alone = self.contacts.is_empty() && !is_expected;
        if may_announce && self.server.is_some() && (meet || is_alone) {
            self.context.net.lobby(true, self.contacts.to_vec()).await;
            self.emit(Event::Waiting).await;
        }
        Ok(())
    }

    async fn handle_net(&mut self, event: net::Event) {
        match event {
            net::Event::ServerUp { key, route, observed } => {
                self.registered.send_replace(true);
                self.pin(key).await;
                self.save_route(route).await;
                self.emit(Event::ServerUp { key, route, observed }).await;
                self.seek().await;
            }
            net::Event::ServerRerouted(route) => {
                self.save_route(route).await;
                self.emit(Event::ServerRerouted(route)).await;
            }
            net::Event::Holds(holds) => {
                self.learned.set_holds(holds);
                self.save_learned().await;
            }
            net::Event::ServerDown { error, retry } => {
                self.registered.send_replace(false);
                self.live.send_modify(|live| live.values_mut().for_each(|peer| peer.online = false));
                self.emit(Event::ServerDown { error, retry }).await;
            }
            net::Event::Connected(link) => self.start_session(link),
            net::Event::Closed { peer, reason } => self.end_session(peer, reason).await,
            net::Event::Path(change) => self.show_path(change.peer).await,
            net::Event::Unreachable { peer, reason } => {
                if self.contacts.contains(peer) {
                    let trouble = Some(reason.clone());
                    self.live.send_modify(|live| live.entry(peer).or_default().trouble = trouble);
                }
                self.emit(Event::Unreachable { peer, reason }).await;
            }
            net::Event::Alone { peer, is_wanted } => self.seek_through_contacts(peer, is_wanted).await,
            net::Event::Paired(peer) => {
                self.paired = Some(peer);
                self.emit(Event::Paired { peer }).await;
            }
            net::Event::Code(news) => {
                if let code::News::Met { peer, dial } = news {
                    self.paired = Some(peer);
                    self.open_door().await;
                    if dial {
                        self.context.net.dial(peer).await;
                    }
                }
                self.emit(Event::Code(news)).await;
            }
            net::Event::Nearby { peer, is_here } => {
                let is_new = !self.contacts.contains(peer);
                self.emit(Event::Nearby { peer, is_here, is_new }).await;
            }
            net::Event::Presence { peer, online } => {
                let set = |live: &mut LivePeers| {
                    let live = live.entry(peer).or_default();
                    std::mem::replace(&mut live.online, online) != online
                };
                if self.live.send_if_modified(set) {
                    self.rooms.handle_presence(peer);
                    self.emit(Event::Presence { peer, online }).await;
                }
            }
        }
    }

    /// Looks for the people for whom messages wait. In a large room others hand on what is for those who are no
    /// neighbours.
    async fn seek(&mut self) {
        self.look_for_inviters().await;
        let waiting = match self.context.store.awaited(MAX_SOUGHT.0).await {
            Ok(waiting) => waiting,
            Err(error) => return self.emit(Event::Error { message: error.to_string() }).await,
        };
        let is_sought = |awaited: &Awaited| {
            let is_ours = awaited.is_direct || self.rooms.is_sought(awaited.peer);
            is_ours && self.door.may_talk(awaited.peer) && !self.sessions.contains_key(&awaited.peer)
        };
        let away: Vec<_> = waiting.into_iter().filter(is_sought).collect();
        let first = self.sought * MAX_SOUGHT.1 % away.len().max(1);
        for awaited in away.iter().cycle().skip(first).take(MAX_SOUGHT.1.min(away.len())) {
            self.context.net.seek(awaited.peer).await;
        }
        self.sought = self.sought.wrapping_add(1);
    }

    async fn look_for_inviters(&mut self) {
        if let Err(error) = self.follow_links().await {
            self.emit(Event::Error { message: error.to_string() }).await;
        }
    }

    async fn pin(&self, key: PeerId) {
        let Some(target) = &self.server else { return };
        let last = ServerTarget { key: Some(key), ..target.clone() };
        let saved = async {
            self.context.store.set_pin(&target.address, key).await?;
            self.context.store.set_setting(LAST_SERVER, &last.to_string()).await
        };
        if let Err(error) = saved.await {
            self.emit(Event::Error { message: format!("the server's key was not saved: {error}") }).await;
        }
    }

    /// Remembers the way that works, to try it first the next time on this network.
    async fn save_route(&mut self, route: Route) {
        if let Some(target) = &self.server
            && self.learned.set_route((self.network)(), &target.address, &route.to_string())
        {
            self.save_learned().await;
        }
    }

    async fn save_learned(&self) {
        if let Err(error) = self.learned.save(&self.context.store).await {
            self.emit(Event::Error {
                message: format!("what was learned of this network was not saved: {error}"),
            })
            .await;
        }
    }

    fn start_session(&mut self, link: Link) {
        self.numbers += 1;
        let (peer, number) = (link.peer, self.numbers);
        let is_caller = link.side == Side::Acceptor && self.paired != Some(peer);
        let (reports, mut queue) = mpsc::channel(QUEUE_LEN);
        let (frames, frame_queue) = mpsc::channel(MAX_FRAMES);
        let labelled = self.reports.clone();
        let context = self.context.clone();
        let (pings, wishes) = mpsc::channel(MAX_WISHES);
        let task = self.tasks.spawn(async move {
            let forward = async {
                while let Some(report) = queue.recv().await {
                    // The engine outlives its sessions.
                    let _ = labelled.send((peer, number, report)).await;
                }
            };
            tokio::join!(
                session::run(context, link, reports, Inbox { frames: frame_queue, pings: wishes }),
                forward
            );
        });
        let session =
            Session { number, task, pings, greeted: false, is_caller, path: None, frames, knocks: 0 };
        if let Some(old) = self.sessions.insert(peer, session) {
            old.task.abort();
        }
    }

    async fn end_session(&mut self, peer: PeerId, reason: String) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        self.last_seen.remove(&peer);
        session.task.abort();
        let is_contact = self.contacts.contains(peer);
        self.live.send_modify(|live| {
            let entry = live.entry(peer).or_default();
            let trouble = is_contact.then(|| reason.clone());
            *entry = Live { online: entry.online, trouble, ..Live::default() };
            if !is_contact && !entry.online {
                live.remove(&peer);
            }
        });
        if !is_contact {
            self.names.remove(&peer);
        }
        if session.greeted {
            // If it cannot be noted, the last one that was stands.
            let _ = self.context.store.see(peer, (self.context.wall_clock)()).await;
            self.emit(Event::Disconnected { peer, reason }).await;
        }
    }

    async fn handle_report(&mut self, peer: PeerId, number: SessionNumber, report: Report) {
        match report {
            Report::Greeted { name, words } => {
                let Some(session) = self.sessions.get_mut(&peer).filter(|s| s.number == number) else {
                    return;
                };
                let is_caller = session.is_caller;
                let pings = session.pings.clone();
                self.live.send_modify(|live| live.entry(peer).or_default().pings = Some(pings));
                if !std::mem::replace(&mut session.greeted, true)
                    && let Err(error) = self.handle_greeted(peer, is_caller, name, words).await
                {
                    self.emit(Event::Error { message: error.to_string() }).await;
                }
            }
            Report::Told(frame) => {
                if let Err(error) = self.handle_told(peer, number, frame).await {
                    self.emit(Event::Error { message: error.to_string() }).await;
                }
            }
            // What the log reports has happened, whatever became of the session.
            Report::Log(event) => self.handle_log(peer, event).await,
        }
    }

    async fn handle_greeted(
        &mut self,
        peer: PeerId,
        is_caller: bool,
        given_name: String,
        words: String,
    ) -> Result<(), StoreError> {
        let is_new = !self.contacts.contains(peer);
        let is_too_many = is_new && is_caller && !self.contacts.has_room_for_strangers();
        let name = if is_too_many && !self.awaits(peer).await? {
            self.tell_full().await;
            let name = if given_name.is_empty() { peer.short() } else { given_name };
            self.names.insert(peer, name.clone());
            name
        } else {
            let now_ms = (self.context.wall_clock)();
            match self.remember(Meeting { peer, given_name, now_ms }).await {
                Ok(name) => {
                    if self.contacts.meet(peer) {
                        self.watch().await;
                    }
                    name
                }
                // It will be remembered the next time; they can talk all the same.
                Err(error) => {
                    self.emit(Event::Error { message: error.to_string() }).await;
                    self.name_of(peer)
                }
            }
        };
        self.live.send_modify(|live| live.entry(peer).or_default().words = Some(words.clone()));
        self.warn_of_impostor(peer, &name).await?;
        self.emit(Event::Connected { peer, name, words, is_new }).await;
        self.show_path(peer).await;
        self.knock_at(peer).await
    }

    /// Whether `peer` is a member of a room, or something that the user wrote waits for it: then it is no stranger,
    /// whoever calls.
    async fn awaits(&self, peer: PeerId) -> Result<bool, StoreError> {
        Ok(self.rooms.is_member(peer) || self.context.store.awaits(peer).await?)
    }

    /// Says once that strangers are no longer remembered.
    async fn tell_full(&mut self) {
        if !std::mem::replace(&mut self.told_full, true) {
            let message = format!(
                "there are {MAX_BEFORE_STRANGERS} contacts: people who come by themselves are no longer remembered"
            );
            self.emit(Event::Error { message }).await;
        }
    }

    /// Tells how packets to a greeted peer travel now, unless that was told already. News of paths may be older than
    /// what is so by now.
    async fn show_path(&mut self, peer: PeerId) {
        let Some(path) = self.context.net.path(peer) else { return };
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.greeted) else { return };
        if session.path.replace((path.via, path.remote)) != Some((path.via, path.remote)) {
            let now_ms = (self.context.wall_clock)();
            self.live.send_modify(|live| live.entry(peer).or_default().since_ms = Some(now_ms));
            self.emit(Event::Path(path)).await;
            self.note_seen(peer).await;
        }
    }

    /// Stores a meeting; returns the name under which the peer is shown.
    async fn remember(&mut self, meeting: Meeting) -> Result<String, StoreError> {
        let peer = meeting.peer;
        self.context.store.meet(meeting).await?;
        let contacts = self.context.store.contacts().await?;
        let name = contacts.iter().find(|contact| contact.peer == peer).map(Contact::name);
        let name = name.unwrap_or_else(|| peer.short());
        self.names.insert(peer, name.clone());
        Ok(name)
    }

    async fn handle_log(&mut self, peer: PeerId, event: ExchangeEvent) {
        match event {
            // Shown by `show_arrived`, whichever way they came.
            ExchangeEvent::Message(_) => {}
            ExchangeEvent::State { id, state, .. } => self.emit(Event::State { id, peer, state }).await,
            ExchangeEvent::Refused { id, reason, .. } => {
                self.emit(Event::State { id, peer, state: State::Refused }).await;
                let message = format!("{} does not take the message {id}: {reason}", self.name_of(peer));
                self.emit(Event::Error { message }).await;
            }
            ExchangeEvent::Typing { conversation, .. } => self.handle_typing(conversation, peer).await,
            ExchangeEvent::Postponed { quota, .. } => {
                let message = format!("more of {} is not taken now: {quota}", self.name_of(peer));
                self.emit(Event::Error { message }).await;
            }
            ExchangeEvent::Gap { .. } => self.gaps.note(),
            ExchangeEvent::Invalid { id, invalid, .. } => {
                let message = format!("{} sent an invalid message {id}: {invalid}", self.name_of(peer));
                self.emit(Event::Error { message }).await;
            }
        }
    }

    fn name_of(&self, peer: PeerId) -> String {
        self.names.get(&peer).cloned().unwrap_or_else(|| peer.short())
    }

    /// Only members type.
    async fn handle_typing(&self, conversation: ConversationId, peer: PeerId) {
        let found = self.context.store.conversation(conversation).await;
        if let Ok(Some(found)) = found
            && found.members.iter().any(|(member, _)| *member == peer)
        {
            self.emit(Event::Typing { conversation, peer }).await;
        }
    }
}

mod watching;
