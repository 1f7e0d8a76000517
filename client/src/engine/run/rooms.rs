//! To which members of our rooms we keep connected: the mesh, which follows who is there.

use std::time::Duration;

use super::alarm::Alarm;
use super::*;
use crate::log::mesh;

/// Who comes and goes in this time is looked at together.
const SETTLE: Duration = Duration::from_millis(500);

/// The rooms that we belong to, and with whom we talk beside them.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: Vec<(ConversationId, Vec<PeerId>)>,
    /// All other members of them.
    members: BTreeSet<PeerId>,
    /// Members who have not accepted yet.
    invited: BTreeSet<PeerId>,
    /// With whom there is a direct chat.
    direct: BTreeSet<PeerId>,
    /// With whom we keep connected.
    near: BTreeSet<PeerId>,
    pub(super) alarm: Alarm,
}

impl Rooms {
    /// As they are in the store; neighbours are those who would be if all were there. An invitation that was not accepted
    /// makes nobody a member: anybody may send one, full of anybody.
    pub(super) async fn of(store: &Store) -> Result<Self, StoreError> {
        let me = store.me();
        let mut rooms = Self::default();
        for conversation in store.conversations().await? {
            rooms.direct.extend(conversation.other(me));
            let is_mine =
                |(peer, standing): &(PeerId, Standing)| *peer == me && *standing != Standing::Invited;
            if conversation.room.is_none() || !conversation.members.iter().any(is_mine) {
                continue;
            }
            let others = || conversation.members.iter().filter(|(peer, _)| *peer != me);
            rooms.members.extend(others().map(|(peer, _)| *peer));
            let is_invited = |(_, standing): &&(PeerId, Standing)| *standing == Standing::Invited;
            rooms.invited.extend(others().filter(is_invited).map(|(peer, _)| *peer));
            let members = conversation.members.iter().map(|(peer, _)| *peer).collect();
            rooms.rooms.push((conversation.id, members));
        }
        rooms.settle(me, |_| false);
        Ok(rooms)
    }

    pub(super) fn near(&self) -> impl Iterator<Item = PeerId> {
        self.near.iter().copied()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = PeerId> {
        self.members.iter().copied()
    }

    pub(super) fn is_near(&self, peer: PeerId) -> bool {
        self.near.contains(&peer)
    }

    pub(super) fn is_member(&self, peer: PeerId) -> bool {
        self.members.contains(&peer)
    }

    /// Whether `peer` is one of a large room with whom there is nothing else to talk about: a contact like any who was
    /// once a neighbour there. If we kept connected to all of those, everybody would be connected to everybody in the end.
    pub(super) fn is_far(&self, peer: PeerId) -> bool {
        self.is_member(peer) && !self.is_near(peer) && !self.direct.contains(&peer)
    }

    /// Something was said in the direct chat with `peer`; returns whether that is news.
    pub(super) fn note_direct(&mut self, peer: PeerId) -> bool {
        self.direct.insert(peer) && self.is_member(peer)
    }

    /// Whether what waits for `peer` is brought by whoever wrote it: others hand it on to neighbours, but do not know where
    /// somebody is who was invited.
    pub(super) fn is_sought(&self, peer: PeerId) -> bool {
        self.is_near(peer) || self.invited.contains(&peer)
    }

    /// Chooses the neighbours of `me` anew; returns whether they are others than before.
    fn settle(&mut self, me: PeerId, is_there: impl Fn(PeerId) -> bool) -> bool {
        self.alarm.clear();
        let near = self.rooms.iter().flat_map(|(id, members)| mesh::neighbours(*id, me, members, &is_there));
        let near = near.collect();
        let before = std::mem::replace(&mut self.near, near);
        before != self.near
    }

    /// `peer` has come or gone.
    pub(super) fn handle_presence(&mut self, peer: PeerId) {
        if self.is_member(peer) {
            self.alarm.set(SETTLE);
        }
    }
}

impl Engine {
    /// Somebody has come to a room for good, or left it.
    pub(super) async fn update_rooms(&mut self) {
        match Rooms::of(&self.context.store).await {
            Ok(now) => {
                let before = std::mem::replace(&mut self.rooms, now);
                let is_news = before.rooms != self.rooms.rooms || before.invited != self.rooms.invited;
                self.rooms.near = before.near;
                self.settle_rooms(is_news).await;
            }
            Err(error) => self.emit(Event::Error { message: error.to_string() }).await,
        }
    }

    /// Keeps connected to the right members of rooms, who may be others when members have come or gone.
    pub(super) async fn settle_rooms(&mut self, is_news: bool) {
        let is_other = {
            let live = self.live.borrow();
            let is_online = |peer: PeerId| live.get(&peer).is_some_and(|live| live.online);
            let is_there = |peer: PeerId| is_online(peer) || self.sessions.contains_key(&peer);
            self.rooms.settle(self.context.store.me(), is_there)
        };
        if is_other || is_news {
            self.watch().await;
            self.seek().await;
        }
    }
}
