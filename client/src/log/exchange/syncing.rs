//! What the peer gets of each conversation beyond new messages of the outbox. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::ConversationId;
use crate::log::wire::HeadsHash;
use crate::store::Lacking;

/// Conversations that are compared on one stream.
pub(super) const MAX_COMPARED: usize = 4096;

/// What is said to a peer who has told what a conversation comes to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// What is here, and so that the rest is wanted.
    Have,
    /// The same to a peer who told before what it comes to here: it has our heads, and needs to hear no more than these.
    Heads,
    /// That it comes to the same here: the peer knows something older of us, and waits.
    Same,
}

/// The peer tells of more conversations than [`MAX_COMPARED`].
#[derive(Debug)]
pub(super) struct TooMany;

/// How far one conversation is. While it is here, what is new in it waits for its turn, so that parents go first.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
enum Backlog {
    /// It is not known yet what the peer lacks; these are new.
    Awaited(BTreeSet<i64>),
    /// These are to be sent.
    Rows(BTreeSet<i64>),
    /// Everything with a greater number is to be sent; these are new, and among it or gone already.
    Everything { after: i64, new: BTreeSet<i64> },
}

/// What is to be read and sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Messages with these numbers.
    Rows(Vec<i64>),
    /// Messages of the conversation with numbers above that; see [`Syncing::went_on`].
    After(ConversationId, i64),
}

/// See the module.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Syncing {
    backlogs: BTreeMap<ConversationId, Backlog>,
    /// What the peer was told last of each conversation.
    told: BTreeMap<ConversationId, HeadsHash>,
    /// What the peer told last.
    theirs: BTreeMap<ConversationId, HeadsHash>,
}

impl Syncing {
    /// Holds new messages back until the peer has said what it has.
    pub(super) fn wait_for(&mut self, conversation: ConversationId) {
        self.backlogs.entry(conversation).or_insert_with(|| Backlog::Awaited(BTreeSet::new()));
    }

    /// Holds everything back until the peer asks. One that suspends more than anybody has gets them all the same.
    pub(super) fn suspend(&mut self, conversation: ConversationId) {
        if self.backlogs.len() < MAX_COMPARED {
            self.backlogs.insert(conversation, Backlog::Awaited(BTreeSet::new()));
        }
    }

    /// Whether anything of this conversation may go at once: nothing older waits to go first.
    pub(super) fn is_level(&self, conversation: ConversationId) -> bool {
        !self.backlogs.contains_key(&conversation)
    }

    /// Takes a new message in the order of the backlog; `false` if there is none and it may go at once.
    pub(super) fn defer(&mut self, conversation: ConversationId, row: i64) -> bool {
        match self.backlogs.get_mut(&conversation) {
            Some(Backlog::Awaited(rows) | Backlog::Rows(rows) | Backlog::Everything { new: rows, .. }) => {
                rows.insert(row);
                true
            }
            None => false,
        }
    }

    /// The peer has told what its heads come to; `ours` is what they come to here, if it shares the conversation.
    /// `false` if it tells of more than can be remembered.
    fn note_theirs(
        &mut self,
        conversation: ConversationId,
        theirs: HeadsHash,
        ours: Option<HeadsHash>,
    ) -> bool {
        self.theirs.insert(conversation, theirs);
        if ours == Some(theirs) {
            self.release(conversation);
        }
        self.theirs.len() <= MAX_COMPARED
    }

    /// Compares what the peer has told with what its heads come to here, `None` if it does not share the conversation.
    ///
    /// # Errors
    /// If it tells of more conversations than can be remembered.
    pub(super) fn compare(
        &mut self,
        conversation: ConversationId,
        theirs: HeadsHash,
        ours: Option<HeadsHash>,
    ) -> Result<Option<Answer>, TooMany> {
        let before = self.theirs.get(&conversation).copied();
        if !self.note_theirs(conversation, theirs, ours) {
            return Err(TooMany);
        }
        // Who has the same need not hear so, but for one who has never heard of us, or says it once more: it waits.
        let is_awaited = before == Some(theirs) || !self.told.contains_key(&conversation);
        Ok(if ours != Some(theirs) {
            Some(if before.is_some() && before == ours { Answer::Heads } else { Answer::Have })
        } else if is_awaited && !self.was_told(conversation, theirs) {
            self.told.insert(conversation, theirs);
            Some(Answer::Same)
        } else {
            None
        })
    }

    /// Whether what the peer told last is something else than what is here.
    pub(super) fn differs(&self, conversation: ConversationId, ours: Option<HeadsHash>) -> bool {
        self.theirs.get(&conversation).is_some_and(|theirs| Some(*theirs) != ours)
    }

    /// Whether new messages wait until the peer has said what it has.
    pub(super) fn is_held_back(&self) -> bool {
        self.backlogs.values().any(|backlog| matches!(backlog, Backlog::Awaited(rows) if !rows.is_empty()))
    }

    /// Those of our summaries to be told again because new messages wait there: the peer may have got the rest from somebody
    /// else, and then has no reason of its own to say so.
    pub(super) fn reminders(
        &mut self,
        summaries: &[(ConversationId, HeadsHash)],
    ) -> Vec<(ConversationId, HeadsHash)> {
        let waits = |(conversation, _): &&(ConversationId, HeadsHash)| matches!(self.backlogs.get(conversation), Some(Backlog::Awaited(rows)) if !rows.is_empty());
        let told: Vec<_> = summaries.iter().filter(waits).copied().take(MAX_COMPARED).collect();
        self.told.extend(told.iter().copied());
        told
    }

    /// The peer has all that is here but what waits.
    fn release(&mut self, conversation: ConversationId) {
        if let Some(Backlog::Awaited(rows)) = self.backlogs.get_mut(&conversation) {
            let rows = std::mem::take(rows);
            self.backlogs.insert(conversation, Backlog::Rows(rows));
        }
    }

    /// Whether the peer was told this last.
    fn was_told(&self, conversation: ConversationId, ours: HeadsHash) -> bool {
        self.told.get(&conversation) == Some(&ours)
    }

    /// It is known now what the peer lacks. What was sent before and is `unconfirmed` goes once more as well: whoever has got
    /// it from a third acknowledges it then.
    pub(super) fn begin(&mut self, conversation: ConversationId, lacking: Lacking, unconfirmed: Vec<i64>) {
        let backlog = match (lacking, self.backlogs.remove(&conversation)) {
            (Lacking::Everything, _) => Backlog::Everything { after: 0, new: BTreeSet::new() },
            (Lacking::Rows(rows), None) => Backlog::Rows(rows.into_iter().chain(unconfirmed).collect()),
            (
                Lacking::Rows(rows),
                Some(Backlog::Awaited(new) | Backlog::Rows(new) | Backlog::Everything { new, .. }),
            ) => Backlog::Rows(rows.into_iter().chain(unconfirmed).chain(new).collect()),
        };
        self.backlogs.insert(conversation, backlog);
    }

    /// Whether anything can be sent.
    pub(super) fn is_ready(&self) -> bool {
        self.backlogs.values().any(|backlog| !matches!(backlog, Backlog::Awaited(_)))
    }

    /// Takes out at most `max` messages of one conversation.
    pub(super) fn next(&mut self, max: usize) -> Option<Next> {
        let ready = |(_, backlog): &(_, &mut Backlog)| !matches!(backlog, Backlog::Awaited(_));
        let (&conversation, backlog) = self.backlogs.iter_mut().find(ready)?;
        match backlog {
            Backlog::Everything { after, .. } => Some(Next::After(conversation, *after)),
            Backlog::Rows(rows) | Backlog::Awaited(rows) => {
                let page: Vec<_> = std::iter::from_fn(|| rows.pop_first()).take(max).collect();
                if rows.is_empty() {
                    self.backlogs.remove(&conversation);
                }
                Some(Next::Rows(page))
            }
        }
    }

    /// Everything up to `last` was sent; `None` if nothing was left.
    pub(super) fn went_on(&mut self, conversation: ConversationId, last: Option<i64>) {
        match (last, self.backlogs.get_mut(&conversation)) {
            (Some(last), Some(Backlog::Everything { after, .. })) => *after = last,
            (None, Some(Backlog::Everything { .. })) => {
                self.backlogs.remove(&conversation);
            }
            _ => {}
        }
    }

    /// Those of our summaries that are to be told: what the peer was not told, unless it has said the same itself.
    pub(super) fn news(
        &mut self,
        summaries: Vec<(ConversationId, HeadsHash)>,
    ) -> Vec<(ConversationId, HeadsHash)> {
        for (conversation, hash) in &summaries {
            if self.theirs.get(conversation) == Some(hash) {
                self.release(*conversation);
            }
        }
        let is_news = |(conversation, hash): &(ConversationId, HeadsHash)| {
            let is_under_way = matches!(
                self.backlogs.get(conversation),
                Some(Backlog::Rows(_) | Backlog::Everything { .. })
            );
            !is_under_way
                && self.theirs.get(conversation) != Some(hash)
                && !self.was_told(*conversation, *hash)
        };
        let news: Vec<_> = summaries.into_iter().filter(is_news).take(MAX_COMPARED).collect();
        self.told.extend(news.iter().copied());
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> ConversationId {
        ConversationId::from_bytes([1; 32])
    }

    #[test]
    fn what_is_new_meanwhile_goes_in_its_place() {
        let mut syncing = Syncing::default();
        assert!(!syncing.defer(conversation(), 9), "without a backlog it goes at once");
        syncing.wait_for(conversation());
        assert!(syncing.defer(conversation(), 9));
        assert!(!syncing.is_ready(), "nothing goes before the peer has said what it has");
        syncing.begin(conversation(), Lacking::Rows(vec![3, 5]), vec![5]);
        assert!(syncing.defer(conversation(), 10));
        assert_eq!(syncing.next(3), Some(Next::Rows(vec![3, 5, 9])));
        assert_eq!(syncing.next(3), Some(Next::Rows(vec![10])));
        assert_eq!(syncing.next(3), None);
        assert!(!syncing.defer(conversation(), 11));
    }

    #[test]
    fn equal_heads_end_the_wait() {
        let mut syncing = Syncing::default();
        syncing.wait_for(conversation());
        syncing.defer(conversation(), 9);
        let hash = HeadsHash::of(Vec::new());
        assert!(syncing.note_theirs(conversation(), hash, Some(hash)));
        assert_eq!(syncing.next(3), Some(Next::Rows(vec![9])));
        assert_eq!(syncing.news(vec![(conversation(), hash)]), [], "the peer has that");
    }

    #[test]
    fn who_waits_reminds_who_did_not_ask() {
        let (mut author, mut other) = (Syncing::default(), Syncing::default());
        let [old, new] = [b"old", b"new"].map(|id| HeadsHash::of(vec![crate::log::MessageId::of(id)]));
        assert_eq!(other.news(vec![(conversation(), old)]).len(), 1);
        author.wait_for(conversation());
        author.defer(conversation(), 9);
        assert_eq!(author.compare(conversation(), old, Some(new)).unwrap(), Some(Answer::Have));
        assert_eq!(other.compare(conversation(), new, Some(old)).unwrap(), Some(Answer::Have));
        // The other did not ask: a third brought what was missing, and it is no news to the author.
        assert_eq!(other.news(vec![(conversation(), new)]), []);
        assert!(author.is_held_back());
        assert_eq!(author.reminders(&[(conversation(), new)]), [(conversation(), new)]);
        assert_eq!(other.compare(conversation(), new, Some(new)).unwrap(), Some(Answer::Same));
        assert_eq!(author.compare(conversation(), new, Some(new)).unwrap(), None);
        assert!(!author.is_held_back() && author.is_ready());
    }

    #[test]
    fn who_waits_tells_again_and_hears_at_last() {
        let mut syncing = Syncing::default();
        let [old, new] = [b"old", b"new"].map(|id| HeadsHash::of(vec![crate::log::MessageId::of(id)]));
        assert_eq!(syncing.news(vec![(conversation(), old)]).len(), 1);
        syncing.wait_for(conversation());
        syncing.defer(conversation(), 9);
        assert!(syncing.note_theirs(conversation(), new, Some(old)));
        assert!(!syncing.is_ready());
        assert_eq!(syncing.news(vec![(conversation(), new)]), [], "what it has said itself is no news to it");
        assert_eq!(syncing.next(3), Some(Next::Rows(vec![9])), "but it ends the wait");
    }

    #[test]
    fn what_is_not_confirmed_goes_again_whatever_came_between() {
        let mut syncing = Syncing::default();
        syncing.begin(conversation(), Lacking::Everything, vec![3]);
        syncing.begin(conversation(), Lacking::Rows(vec![9]), vec![3]);
        syncing.suspend(conversation());
        assert!(syncing.defer(conversation(), 10));
        syncing.begin(conversation(), Lacking::Rows(Vec::new()), vec![3, 9]);
        assert_eq!(syncing.next(3), Some(Next::Rows(vec![3, 9, 10])));
    }

    #[test]
    fn everything_goes_page_by_page() {
        let mut syncing = Syncing::default();
        syncing.begin(conversation(), Lacking::Everything, Vec::new());
        assert_eq!(syncing.next(3), Some(Next::After(conversation(), 0)));
        syncing.went_on(conversation(), Some(7));
        assert_eq!(syncing.next(3), Some(Next::After(conversation(), 7)));
        syncing.went_on(conversation(), None);
        assert_eq!(syncing.next(3), None);
    }
}
