//! Who belongs to a room and what it is called, resolved from its signed events (`docs/protocol.md` §7.3). Pure: the
//! same set of events gives the same room, in whatever order they came.

use std::collections::{BTreeMap, BTreeSet};

use common::identity::PeerId;

use super::content::Content;
use super::message::DisplayOrder;

/// Members of a room, the invited among them.
pub const MAX_MEMBERS: usize = 100;
/// Events that one room may have; beyond them nothing about it changes any more.
pub const MAX_EVENTS: usize = 1024;

/// What an owner makes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May write, invite, leave, and set the topic.
    Member,
    /// May also rename the room, remove and appoint.
    Owner,
}

/// A change of a room, signed like any message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The room begins; its author owns it. The room's id is derived from this event.
    Create {
        /// 1 to [`super::content::MAX_ROOM_NAME_LEN`] bytes.
        name: String,
    },
    /// Invites somebody, and lets them read.
    Add(PeerId),
    /// Puts somebody out.
    Remove(PeerId),
    /// The author takes the invitation.
    Accept,
    /// The author leaves, or declines the invitation.
    Leave,
    /// Gives somebody a role.
    Appoint(PeerId, Role),
    /// What the room is about; empty for nothing.
    Topic(String),
    /// Another name.
    Rename(String),
}

/// How somebody stands to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// May read and accept, not write.
    Invited,
    /// Takes part.
    Member,
    /// Takes part and decides who else does.
    Owner,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invited => "invited",
            Self::Member => "member",
            Self::Owner => "owner",
        })
    }
}

/// One event of a room with its place among the others.
#[derive(Debug, Clone)]
pub struct Event {
    /// Names the event among those that are resolved together.
    pub number: i64,
    /// Its place in everybody's view.
    pub order: DisplayOrder,
    /// Whose.
    pub author: PeerId,
    /// What.
    pub act: Act,
    /// Numbers of all events that it descends from.
    pub past: BTreeSet<i64>,
}

impl Event {
    fn is_after(&self, other: &Self) -> bool {
        self.past.contains(&other.number)
    }

    fn is_concurrent(&self, other: &Self) -> bool {
        self.number != other.number && !self.is_after(other) && !other.is_after(self)
    }
}

/// What a set of events comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// What it is about; may be empty.
    pub topic: String,
    /// Everybody who belongs to it or is invited; at most [`MAX_MEMBERS`].
    pub members: BTreeMap<PeerId, Standing>,
    /// Numbers of the removals that hold.
    pub removals: BTreeSet<i64>,
}

impl Room {
    /// Resolves a set of events. Removal wins: what the removed did meanwhile does not count, nor does who invited
    /// or appointed them meanwhile. Where owners removed each other meanwhile the one who became owner first wins.
    #[must_use]
    pub fn resolve(events: &[Event]) -> Self {
        let mut all: Vec<&Event> = events.iter().collect();
        all.sort_by_key(|event| event.order);
        let removals = removals(&all);
        let is_void = |event: &Event| {
            removals.iter().any(|(removal, target)| *target == event.author && removal.is_concurrent(event))
        };
        let acts: Vec<&Event> = all
            .iter()
            .copied()
            .filter(|event| !matches!(event.act, Act::Remove(_)) && !is_void(event))
            .collect();
        let mut room = Self { members: members(&acts, &removals), ..Self::default() };
        for event in acts {
            match &event.act {
                Act::Create { name } | Act::Rename(name) => room.name.clone_from(name),
                Act::Topic(topic) => room.topic.clone_from(topic),
                _ => {}
            }
        }
        room.removals = removals.iter().map(|(event, _)| event.number).collect();
        room
    }

    /// Whether somebody may say this, the room being what the message's own past makes of it.
    #[must_use]
    pub fn allows(&self, author: PeerId, content: &Content) -> bool {
        allows(self.members.get(&author).copied(), content, self.members.len(), |peer| {
            self.members.contains_key(&peer)
        })
    }
}

/// See [`Room::allows`]: for somebody with this standing in a room of `count` members.
pub fn allows(
    standing: Option<Standing>,
    content: &Content,
    count: usize,
    belongs: impl Fn(PeerId) -> bool,
) -> bool {
    let Some(standing) = standing else { return false };
    match content {
        Content::Room(Act::Create { .. }) => false,
        Content::Room(Act::Accept) => standing == Standing::Invited,
        Content::Room(Act::Leave) => true,
        Content::Room(Act::Add(peer)) => {
            standing >= Standing::Member && count < MAX_MEMBERS && !belongs(*peer)
        }
        Content::Room(Act::Remove(peer) | Act::Appoint(peer, _)) => {
            standing == Standing::Owner && belongs(*peer)
        }
        Content::Room(Act::Rename(_)) => standing == Standing::Owner,
        _ => standing >= Standing::Member,
    }
}

/// The removals that hold, with whom they concern. One does not if somebody of older right put its author out
/// meanwhile.
fn removals<'a>(events: &[&'a Event]) -> Vec<(&'a Event, PeerId)> {
    let mut seniority: BTreeMap<PeerId, usize> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        match event.act {
            Act::Create { .. } => seniority.entry(event.author).or_insert(place),
            Act::Appoint(peer, Role::Owner) => seniority.entry(peer).or_insert(place),
            _ => continue,
        };
    }
    let target = |event: &&'a Event| match event.act {
        Act::Remove(peer) => Some((*event, peer)),
        _ => None,
    };
    let mut candidates: Vec<_> = events.iter().filter_map(target).collect();
    candidates
        .sort_by_key(|(event, _)| (seniority.get(&event.author).copied().unwrap_or(usize::MAX), event.order));
    let mut holding: Vec<(&Event, PeerId)> = Vec::new();
    for (event, peer) in candidates {
        let is_void =
            holding.iter().any(|(removal, out)| *out == event.author && removal.is_concurrent(event));
        if !is_void {
            holding.push((event, peer));
        }
    }
    holding
}

/// Who belongs to the room: those who were added, or have accepted, after everything that ended their membership.
fn members(acts: &[&Event], removals: &[(&Event, PeerId)]) -> BTreeMap<PeerId, Standing> {
    let mut ends: BTreeMap<PeerId, Vec<&Event>> = BTreeMap::new();
    for (event, peer) in removals {
        ends.entry(*peer).or_default().push(event);
    }
    for event in acts.iter().filter(|event| event.act == Act::Leave) {
        ends.entry(event.author).or_default().push(event);
    }
    let holds = |event: &Event, peer: PeerId| {
        ends.get(&peer).is_none_or(|ends| ends.iter().all(|end| event.is_after(end)))
    };
    let mut added: Vec<(PeerId, &Event)> = Vec::new();
    for event in acts {
        match event.act {
            Act::Create { .. } => added.push((event.author, event)),
            Act::Add(peer) => added.push((peer, event)),
            _ => {}
        }
    }
    added.retain(|(peer, event)| holds(event, *peer));
    let mut members = BTreeMap::new();
    for (peer, _) in &added {
        if members.len() < MAX_MEMBERS {
            members.insert(*peer, Standing::Invited);
        }
    }
    let mut first = None;
    for event in acts {
        let is_in = match event.act {
            Act::Create { .. } => true,
            Act::Accept => added.iter().any(|(peer, add)| *peer == event.author && event.is_after(add)),
            _ => false,
        };
        if is_in
            && holds(event, event.author)
            && let Some(standing) = members.get_mut(&event.author)
        {
            *standing = Standing::Member;
            first.get_or_insert(event.author);
        }
    }
    appoint(acts, holds, &mut members);
    // A room outlives its owners: the one who has been there longest decides then.
    if !members.values().any(|standing| *standing == Standing::Owner)
        && let Some(standing) = first.and_then(|peer| members.get_mut(&peer))
    {
        *standing = Standing::Owner;
    }
    members
}

/// Makes owners of those members who were appointed after everything that ended that.
fn appoint(
    acts: &[&Event],
    holds: impl Fn(&Event, PeerId) -> bool,
    members: &mut BTreeMap<PeerId, Standing>,
) {
    for event in acts {
        let peer = match event.act {
            Act::Create { .. } => event.author,
            Act::Appoint(peer, Role::Owner) => peer,
            _ => continue,
        };
        let is_last = acts
            .iter()
            .filter(|other| other.act == Act::Appoint(peer, Role::Member))
            .all(|other| event.is_after(other));
        if is_last
            && holds(event, peer)
            && let Some(standing @ Standing::Member) = members.get_mut(&peer)
        {
            *standing = Standing::Owner;
        }
    }
}

#[cfg(test)]
mod tests;
