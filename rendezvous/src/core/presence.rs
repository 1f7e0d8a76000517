//! Who may see whom online (`docs/protocol.md` §4.6): two peers are told of each other only while each lists the
//! other. Nothing is kept of a peer that is not connected.

use std::collections::HashMap;

use common::control::{InstanceId, MAX_WATCHED};
use common::identity::PeerId;

/// The peers that are registered, and their lists.
#[derive(Debug, Default)]
pub(super) struct Presence {
    online: HashMap<PeerId, Online>,
}

#[derive(Debug)]
struct Online {
    instance: InstanceId,
    watching: Watching,
}

#[derive(Debug)]
enum Watching {
    /// What the peer asked for on this connection, sorted.
    Asked(Vec<PeerId>),
    /// What it asked for on the connection that this one replaced, as that run: those peers hold it for online,
    /// and hear how it is once it asks anew, or leaves. It grants nothing new.
    Inherited(Vec<PeerId>, InstanceId),
}

impl Online {
    /// Whether the peer wants to see `other`, and to be seen by it.
    fn lists(&self, other: &PeerId) -> bool {
        matches!(&self.watching, Watching::Asked(list) if list.binary_search(other).is_ok())
    }
}

/// Something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// To whom.
    pub(super) to: PeerId,
    /// Of whom.
    pub(super) about: PeerId,
    /// The run that is online, or `None` if the peer went.
    pub(super) online: Option<InstanceId>,
    /// Whether `to` has just asked.
    pub(super) standing: bool,
}

/// A list of more than [`MAX_WATCHED`] peers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Presence {
    /// `peer` has registered, perhaps anew. Nobody is told until it asks to watch.
    pub(super) fn register(&mut self, peer: PeerId, instance: InstanceId) {
        let watching = match self.online.remove(&peer) {
            Some(Online { instance: old, watching: Watching::Asked(list) }) if !list.is_empty() => {
                Watching::Inherited(list, old)
            }
            Some(Online { watching: inherited @ Watching::Inherited(..), .. }) => inherited,
            _ => Watching::Asked(Vec::new()),
        };
        self.online.insert(peer, Online { instance, watching });
    }

    /// Replaces the list of `peer`.
    ///
    /// # Errors
    /// [`TooMany`] if the list is too long; the old one stays.
    pub(super) fn watch(&mut self, peer: PeerId, mut list: Vec<PeerId>) -> Result<Vec<News>, TooMany> {
        if list.len() > MAX_WATCHED {
            return Err(TooMany);
        }
        let Some(me) = self.online.get_mut(&peer) else { return Ok(Vec::new()) };
        list.retain(|other| *other != peer);
        list.sort_unstable();
        list.dedup();
        let instance = me.instance;
        let (old, shown) = match std::mem::replace(&mut me.watching, Watching::Asked(list.clone())) {
            Watching::Asked(old) => (old, instance),
            Watching::Inherited(old, shown) => (old, shown),
        };
        let mut news = Vec::new();
        for other in &list {
            let Some(them) = self.online.get(other).filter(|them| them.lists(&peer)) else { continue };
            news.push(News { to: peer, about: *other, online: Some(them.instance), standing: true });
            if shown != instance || old.binary_search(other).is_err() {
                news.push(News { to: *other, about: peer, online: Some(instance), standing: false });
            }
        }
        let dropped = old.iter().filter(|other| list.binary_search(other).is_err());
        news.extend(self.farewell(peer, dropped));
        Ok(news)
    }

    /// `peer` has no connection any more.
    pub(super) fn gone(&mut self, peer: PeerId) -> Vec<News> {
        let Some(me) = self.online.remove(&peer) else { return Vec::new() };
        let (Watching::Asked(list) | Watching::Inherited(list, _)) = me.watching;
        self.farewell(peer, list.iter()).collect()
    }

    fn farewell<'a>(
        &'a self,
        peer: PeerId,
        others: impl Iterator<Item = &'a PeerId> + 'a,
    ) -> impl Iterator<Item = News> + 'a {
        others
            .filter(move |other| self.online.get(other).is_some_and(|them| them.lists(&peer)))
            .map(move |other| News { to: *other, about: peer, online: None, standing: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn peers(list: &[u8]) -> Vec<PeerId> {
        list.iter().map(|&n| peer(n)).collect()
    }

    fn run(n: u64) -> InstanceId {
        InstanceId(n)
    }

    fn news(to: u8, about: u8, online: Option<u64>, standing: bool) -> News {
        News { to: peer(to), about: peer(about), online: online.map(InstanceId), standing }
    }

    fn two() -> Presence {
        let mut presence = Presence::default();
        presence.register(peer(1), run(10));
        presence.register(peer(2), run(20));
        presence
    }

    fn watch(presence: &mut Presence, n: u8, list: &[u8]) -> Vec<News> {
        presence.watch(peer(n), peers(list)).unwrap()
    }

    #[test]
    fn only_mutual_lists_tell() {
        let mut presence = two();
        assert_eq!(watch(&mut presence, 1, &[2, 3, 1, 2]), []);
        assert_eq!(watch(&mut presence, 2, &[3]), []);
        assert_eq!(watch(&mut presence, 2, &[1]), [news(2, 1, Some(10), true), news(1, 2, Some(20), false)]);
        assert_eq!(watch(&mut presence, 2, &[1]), [news(2, 1, Some(10), true)], "no news twice");
        assert_eq!(presence.gone(peer(1)), [news(2, 1, None, false)]);
        assert_eq!(presence.gone(peer(1)), []);
        assert_eq!(presence.gone(peer(2)), []);
    }

    #[test]
    fn who_takes_another_off_the_list_goes_offline_for_it() {
        let mut presence = two();
        watch(&mut presence, 1, &[2]);
        watch(&mut presence, 2, &[1]);
        assert_eq!(watch(&mut presence, 1, &[]), [news(2, 1, None, false)]);
        assert_eq!(presence.gone(peer(1)), []);
    }

    #[test]
    fn a_new_run_is_news_and_a_new_connection_of_the_same_run_is_not() {
        let mut presence = two();
        watch(&mut presence, 1, &[2]);
        watch(&mut presence, 2, &[1]);
        presence.register(peer(1), run(10));
        assert_eq!(watch(&mut presence, 1, &[2]), [news(1, 2, Some(20), true)]);
        presence.register(peer(1), run(11));
        assert_eq!(watch(&mut presence, 2, &[1]), [], "not shown before it asks");
        presence.register(peer(1), run(12));
        assert_eq!(watch(&mut presence, 1, &[2]), [news(1, 2, Some(20), true), news(2, 1, Some(12), false)]);
        presence.register(peer(1), run(13));
        assert_eq!(watch(&mut presence, 1, &[]), [news(2, 1, None, false)], "came back unseen");
        presence.register(peer(2), run(21));
        assert_eq!(presence.gone(peer(2)), []);
    }

    #[test]
    fn who_leaves_before_asking_anew_is_gone_for_those_who_saw_it() {
        let mut presence = two();
        watch(&mut presence, 1, &[2]);
        watch(&mut presence, 2, &[1]);
        presence.register(peer(1), run(11));
        assert_eq!(presence.gone(peer(1)), [news(2, 1, None, false)]);
    }

    #[test]
    fn long_lists_are_refused() {
        let mut presence = two();
        let list = vec![peer(2); MAX_WATCHED + 1];
        assert_eq!(presence.watch(peer(1), list), Err(TooMany));
    }
}
