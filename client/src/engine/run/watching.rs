//! Who sees us and whom we see: what the user has decided, carried over to the network.

use super::*;

/// The longest wait for the end of a stance: clocks on walls are set, and machines sleep.
const MAX_WAIT: Duration = Duration::from_secs(600);

impl Engine {
    /// The user has decided something about others.
    pub(super) async fn handle_attitude(&mut self) {
        let was_hidden = !self.door.may_announce();
        self.watch().await;
        let is_hidden = !self.door.may_announce();
        if is_hidden && !was_hidden {
            self.context.net.lobby(false, Vec::new()).await;
        }
        if was_hidden && !is_hidden && self.server.is_some() && self.contacts.is_empty() {
            self.context.net.lobby(true, Vec::new()).await;
            self.emit(Event::Waiting).await;
        }
        self.seek().await;
    }

    /// Gives up stances whose time is over.
    pub(super) async fn end_stances(&self) {
        let context = &self.context;
        let ended = async {
            if context.store.drop_ended((context.wall_clock)()).await? {
                context.attitude.send_replace(Attitude::of(&context.store).await?);
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = ended.await {
            self.emit(Event::Error { message: error.to_string() }).await;
            // The store is in trouble; the next try waits for something else to happen.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Lets in whom the user wants to be found by.
    pub(super) async fn open_door(&mut self) {
        let known = known(&self.rooms, self.contacts.to_vec());
        let door = self.context.attitude.borrow().door(self.paired.into_iter().chain(known));
        if door != self.door {
            self.door = door.clone();
            self.context.net.set_door(door).await;
        }
    }

    /// Shows us to the members of our rooms and to our contacts, as far as the user wants that, and connects to neighbours
    /// and contacts.
    pub(super) async fn watch(&mut self) {
        self.open_door().await;
        let attitude = self.context.attitude.borrow().clone();
        let is_shown = |peer: &PeerId| attitude.shows_presence_to(*peer);
        // More than the server takes: those who come first matter most.
        let watched = known(&self.rooms, self.contacts.to_vec()).filter(is_shown).take(MAX_WATCHED);
        let is_wanted = |peer: &PeerId| !self.rooms.is_far(*peer);
        let (wanted, seen): (Vec<_>, Vec<_>) = watched.partition(is_wanted);
        let online: Vec<_> =
            self.live.borrow().iter().filter(|(_, live)| live.online).map(|(peer, _)| *peer).collect();
        let is_watched = |peer: &PeerId| wanted.contains(peer) || seen.contains(peer);
        // The server says nothing of those who are not watched any more.
        let unseen: Vec<_> = online.into_iter().filter(|peer| !is_watched(peer)).collect();
        self.context.net.watch(wanted, seen).await;
        for peer in unseen {
            self.live.send_modify(|live| live.entry(peer).or_default().online = false);
            self.emit(Event::Presence { peer, online: false }).await;
        }
    }
}

/// Whom this user knows, each once: neighbours, as many as leave room for others, then contacts, then other members of rooms.
fn known(rooms: &Rooms, contacts: Vec<PeerId>) -> impl Iterator<Item = PeerId> {
    let in_order: Vec<_> = rooms.near().take(MAX_NEIGHBOURS).chain(contacts).chain(rooms.members()).collect();
    let mut met = BTreeSet::new();
    in_order.into_iter().filter(move |peer| met.insert(*peer))
}

/// What the network may do before anything has happened.
pub(in crate::engine) async fn door(store: &Store, attitude: &Attitude) -> Result<Door, StoreError> {
    let contacts = store.contacts().await?.into_iter().map(|contact| contact.peer).collect();
    Ok(attitude.door(known(&Rooms::of(store).await?, contacts)))
}

/// Waits until some stance may have ended.
pub(super) async fn stance_ends(context: &Context) {
    let end = context.attitude.borrow().stances.next_end();
    let Some(end) = end else { return std::future::pending().await };
    let wait = Duration::from_millis(end.saturating_sub((context.wall_clock)()));
    tokio::time::sleep(wait.min(MAX_WAIT)).await;
}
