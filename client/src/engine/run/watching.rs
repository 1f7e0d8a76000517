//! Who sees us and whom we see: what the user has decided, carried over to the network.

use super::*;
use crate::log::mesh;

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
        let known = self.paired.into_iter().chain(self.neighbours.iter().copied());
        let door = self.context.attitude.borrow().door(known.chain(self.contacts.to_vec()));
        if door != self.door {
            self.door = door.clone();
            self.context.net.set_door(door).await;
        }
    }

    /// Shows us to the members of our rooms and to our contacts, as far as the user wants that.
    pub(super) async fn watch(&mut self) {
        self.open_door().await;
        let attitude = self.context.attitude.borrow().clone();
        let is_shown = |peer: &PeerId| attitude.shows_presence_to(*peer);
        let members = self.neighbours.iter().copied().filter(is_shown).take(MAX_NEIGHBOURS);
        let mut watched: Vec<_> = members.collect();
        let contacts = self.contacts.to_vec().into_iter().filter(|peer| !self.neighbours.contains(peer));
        watched.extend(contacts.filter(is_shown));
        let unseen: Vec<_> =
            self.live.borrow().iter().filter(|(_, live)| live.online).map(|(peer, _)| *peer).collect();
        self.context.net.watch(watched.clone()).await;
        // The server says nothing of those who are not watched any more.
        for peer in unseen.into_iter().filter(|peer| !watched.contains(peer)) {
            self.live.send_modify(|live| live.entry(peer).or_default().online = false);
            self.emit(Event::Presence { peer, online: false }).await;
        }
    }
}

/// To whom our rooms want us to be connected.
pub(super) async fn neighbours(store: &Store) -> Result<BTreeSet<PeerId>, StoreError> {
    let me = store.me();
    let mut neighbours = BTreeSet::new();
    for room in store.conversations().await?.into_iter().filter(|c| c.room.is_some()) {
        let members: Vec<_> = room.members.iter().map(|(peer, _)| *peer).collect();
        if members.contains(&me) {
            neighbours.extend(mesh::neighbours(room.id, me, &members));
        }
    }
    Ok(neighbours)
}

/// What the network may do before anything has happened.
pub(in crate::engine) async fn door(store: &Store, attitude: &Attitude) -> Result<Door, StoreError> {
    let contacts = store.contacts().await?.into_iter().map(|contact| contact.peer);
    Ok(attitude.door(neighbours(store).await?.into_iter().chain(contacts)))
}

/// Waits until some stance may have ended.
pub(super) async fn stance_ends(context: &Context) {
    let end = context.attitude.borrow().stances.next_end();
    let Some(end) = end else { return std::future::pending().await };
    let wait = Duration::from_millis(end.saturating_sub((context.wall_clock)()));
    tokio::time::sleep(wait.min(MAX_WAIT)).await;
}
