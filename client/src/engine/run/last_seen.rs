//! Where contacts are seen: remembered, so that they are found there while the server is down (`docs/protocol.md` §12).

use super::*;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600_000;
/// Days after which somebody else may have the address.
const MAX_DAYS: u64 = 30;

/// What the store has of those who are connected: the day, and where they are.
pub(super) type LastSeen = BTreeMap<PeerId, (u64, Vec<SocketAddr>)>;

impl Engine {
    /// Tells the network where contacts were seen in the last days. A clock that was set makes them old, or young.
    pub(super) async fn tell_last_seen(&self, contacts: &[Contact]) {
        let now_ms = (self.context.wall_clock)();
        let is_young = |contact: &&Contact| now_ms.abs_diff(contact.last_seen_ms) / DAY_MS < MAX_DAYS;
        // The last one counts most, and contacts come with that first.
        let sought = contacts.iter().filter(is_young).filter(|contact| !contact.endpoints.is_empty());
        let sought: Vec<_> = sought.take(net::last_seen::MAX_SOUGHT).collect();
        for contact in sought.into_iter().rev() {
            self.context.net.set_last_seen(contact.peer, contact.endpoints.clone()).await;
        }
    }

    /// Remembers where all are who are connected, as far as that is new: also at which other addresses they answer.
    pub(super) async fn note_all_seen(&mut self) {
        let greeted = self.sessions.iter().filter(|(_, session)| session.greeted).map(|(peer, _)| *peer);
        for peer in greeted.collect::<Vec<_>>() {
            self.note_seen(peer).await;
        }
    }

    /// Remembers where `peer` is, if it is a contact.
    pub(super) async fn note_seen(&mut self, peer: PeerId) {
        let mut seen = self.context.net.answered_at(peer);
        seen.truncate(MAX_ENDPOINTS);
        let now_ms = (self.context.wall_clock)();
        let noted = (now_ms / DAY_MS, seen.clone());
        let may_talk = self.context.attitude.borrow().may_talk(peer);
        let is_news = !seen.is_empty() && self.last_seen.get(&peer) != Some(&noted);
        if !is_news || !may_talk || !self.contacts.contains(peer) {
            return;
        }
        match self.context.store.see_at(peer, now_ms, seen).await {
            Ok(endpoints) => {
                self.last_seen.insert(peer, noted);
                self.context.net.set_last_seen(peer, endpoints).await;
            }
            Err(error) => self.emit(Event::Error { message: error.to_string() }).await,
        }
    }
}
