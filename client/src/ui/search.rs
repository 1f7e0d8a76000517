//! Searching, as all front ends here do it: what was typed, with its names looked up.

use std::collections::BTreeMap;

use common::identity::PeerId;

use super::names::{ME, NameError, Names};
use super::plain::Place;
use super::rooms;
use crate::engine::query::{Query, QueryError};
use crate::log::ConversationId;
use crate::reading::short;
use crate::store::{Conversation, HistoryRow, MessageRow, Regard, Search, Store, StoreError};

/// Messages of a page.
pub(super) const PAGE: usize = 20;

/// Why nothing can be searched for.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A message that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What its conversation is called.
    pub(super) title: String,
    pub(super) message: MessageRow,
}

/// What the user calls conversations.
#[derive(Debug)]
pub(super) struct Titles(BTreeMap<ConversationId, String>);

impl Titles {
    /// The titles of `conversations`.
    pub(super) fn new(conversations: &[Conversation], me: PeerId, names: &Names) -> Self {
        let title = |conversation: &Conversation| (conversation.id, title(conversation, me, names));
        Self(conversations.iter().map(title).collect())
    }

    /// What `conversation` is called.
    pub(super) fn get(&self, conversation: ConversationId) -> String {
        self.0.get(&conversation).cloned().unwrap_or_else(|| short(&conversation))
    }
}

/// What a conversation is called: by whom it is with.
pub(super) fn title(conversation: &Conversation, me: PeerId, names: &Names) -> String {
    if let Some(room) = &conversation.room {
        return common::text::one_line(&room.name, common::text::MAX_NAME);
    }
    let others = conversation.members.iter().map(|(peer, _)| *peer).filter(|peer| *peer != me);
    others.map(|peer| names.shown(peer)).collect::<Vec<_>>().join(", ")
}

/// Opens the places where messages of the blocked stand.
pub(super) fn open(rows: &mut [HistoryRow]) {
    for row in rows {
        if let HistoryRow::Message(message) = row {
            message.regard = Regard::Open;
        }
    }
}

/// Understands a search that was typed at `now_ms`.
pub(super) async fn understand(
    text: &str,
    names: &Names,
    store: &Store,
    now_ms: u64,
) -> Result<Search, SearchError> {
    let query = Query::parse(text, now_ms)?;
    let (me, conversations) = (store.me(), store.conversations().await?);
    let find = |name: &String| match name.parse() {
        Ok(peer) => Ok(peer),
        Err(_) if name.eq_ignore_ascii_case(ME) => Ok(me),
        Err(_) => names.find(name),
    };
    let with = |name: &String| {
        Ok::<_, NameError>(match rooms::find_place(name, &conversations, names)? {
            Place::Room(room) => room,
            Place::Person(peer) => ConversationId::direct(me, peer),
        })
    };
    Ok(Search {
        terms: query.terms,
        authors: query.from.iter().map(find).collect::<Result<_, _>>()?,
        conversations: query.within.iter().map(with).collect::<Result<_, _>>()?,
        from_ms: query.from_ms,
        until_ms: query.until_ms,
        before_arrival: None,
        limit: PAGE,
    })
}

/// Carries a search out.
pub(super) async fn run(store: &Store, search: Search, names: &Names) -> Result<Vec<Found>, StoreError> {
    let titles = Titles::new(&store.conversations().await?, store.me(), names);
    let found = |message: MessageRow| Found { title: titles.get(message.conversation), message };
    Ok(store.search(search).await?.into_iter().map(found).collect())
}
