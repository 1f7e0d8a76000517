//! Everything that must survive: messages, what is still to be delivered, contacts, pinned servers.
//!
//! One `SQLite` database, with one connection that writes (group commit at `synchronous=FULL`) and a few
//! that read. A [`Store`] is a handle that can be cloned; every method that changes something returns after the
//! commit. Nothing here knows of sockets or user interfaces.

mod archive;
mod asking;
mod backup;
mod changes;
mod contacts;
mod conversations;
mod delivery;
mod departures;
mod direct;
mod error;
mod fault;
mod fold;
mod graph;
mod history;
mod intake;
mod invites;
mod names;
mod onward;
mod open;
mod outbox;
mod quota;
mod readers;
mod rooms;
mod search;
mod shares;
mod sql;
mod stances;
mod sync;
mod taking;
mod verified;
mod walk;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use common::identity::{Identity, PeerId};
use rusqlite::Connection;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

pub use archive::{Archived, Part, Restore};
pub use changes::Marks;
pub use contacts::{Contact, MAX_ENDPOINTS, MAX_NAME_CHARS, Meeting};
pub use conversations::{Conversation, Fork, MAX_UNREAD, RoomNames};
pub use delivery::Awaited;
pub use error::StoreError;
pub use fault::{Faults, Point};
pub use graph::MAX_WAITING;
pub use history::{Gap, HistoryRow, MessageRow, Selection};
pub use intake::Ingested;
pub use invites::{Admission, Invite, Join, MAX_JOINS, MAX_LINKS, NewInvite};
pub(crate) use onward::Onward;
pub use outbox::{OutboxRow, State, Unsent};
pub use quota::{DEFAULT_DISK, DISK, MAX_UNACCEPTED, MAX_UNANSWERED, MAX_UNASKED, MAX_UNASKED_COUNT};
pub use search::{Search, Term};
pub use shares::MAX_SHARE;
pub use stances::{Regard, Span, Stance, Stances, Subject};
pub use sync::Lacking;
pub use taking::Taking;

use crate::log::{Content, ConversationId, MessageId};
use asking::Asking;
use departures::Departures;
use fold::Folder;
use onward::HandingOn;
use readers::Readers;
use writer::{Answer, Writer};

/// Messages whose states are moved forward in the time that taking in one takes.
const ADVANCED_TO_TAKEN_IN: usize = 8;

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Pages of 4 KiB that the database may have; beyond that the disk counts as full.
    pub max_pages: Option<u32>,
    /// Where to die, for tests.
    pub faults: Option<Arc<dyn Faults>>,
}

/// A handle on the store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    me: PeerId,
    readers: Readers,
    /// `None` if the store is open for reading only.
    writer: Option<Writer>,
    task: Mutex<Option<JoinHandle<()>>>,
    faults: Option<Arc<dyn Faults>>,
    /// Whom to wake when there is something new for a recipient.
    wakers: Mutex<BTreeMap<PeerId, watch::Sender<u64>>>,
    /// The arrival number of the newest delivered message.
    newest: watch::Sender<u64>,
    /// Counts how often this user has read something.
    read: watch::Sender<u64>,
    departures: Departures,
    asking: Asking,
    handing_on: HandingOn,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.inner.me.short())
    }
}

impl Store {
    /// Opens the database at `path`, or makes it; it belongs to `me` alone. One process may do so at a time (see
    /// [`crate::data_dir`]).
    ///
    /// # Errors
    /// [`StoreError`] if the file is damaged, newer, somebody else's, or cannot be used. It is left as it is then.
    pub async fn open(path: &Path, me: PeerId) -> Result<Self, StoreError> {
        Self::open_with(path, me, Options::default()).await
    }

    /// Like [`Store::open`], with options.
    ///
    /// # Errors
    /// See [`Store::open`].
    pub async fn open_with(path: &Path, me: PeerId, options: Options) -> Result<Self, StoreError> {
        let file = path.to_owned();
        let max_pages = options.max_pages;
        let (conn, newest) = blocking(move || {
            let conn = open::open(&file, me, open::MIGRATIONS)?;
            search::catch_up_all(&conn)?;
            if let Some(pages) = max_pages {
                conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            }
            let newest = newest(&conn)?;
            Ok((conn, newest))
        })
        .await?;
        let (writer, task) = Writer::start(conn, Folder::new(path), options.faults.clone());
        Ok(Self::assemble(path, me, Some(writer), Some(task), options.faults, newest))
    }

    /// Opens an existing database for reading, also while a client runs on it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none, [`StoreError::Older`] if it must be migrated first; else as
    /// [`Store::open`].
    pub async fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let file = path.to_owned();
        let (me, newest) = blocking(move || {
            let (conn, me) = open::open_read_only(&file, open::MIGRATIONS)?;
            Ok((me, newest(&conn)?))
        })
        .await?;
        Ok(Self::assemble(path, me, None, None, None, newest))
    }

    fn assemble(
        path: &Path,
        me: PeerId,
        writer: Option<Writer>,
        task: Option<JoinHandle<()>>,
        faults: Option<Arc<dyn Faults>>,
        newest: u64,
    ) -> Self {
        let inner = Inner {
            me,
            readers: Readers::new(path),
            writer,
            task: Mutex::new(task),
            faults,
            wakers: Mutex::default(),
            newest: watch::Sender::new(newest),
            read: watch::Sender::new(0),
            departures: Departures::default(),
            asking: Asking::default(),
            handing_on: HandingOn::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whose store it is.
    #[must_use]
    pub fn me(&self) -> PeerId {
        self.inner.me
    }

    /// Finishes what is queued and closes the database. Later calls through any handle get [`StoreError::Closed`].
    pub async fn close(&self) {
        // The connection that writes goes last: that folds the write-ahead log into the file.
        self.inner.readers.close().await;
        if let Some(writer) = &self.inner.writer {
            writer.close().await;
        }
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // An error means that the writer panicked, which ended it as well.
            let _ = task.await;
        }
    }

    /// Writes and commits a message: on top of all heads, with an outbox row for each of `recipients`, in one
    /// transaction. A direct conversation with the one recipient is made if it is new. `label_ms` is the wall
    /// clock, `nonce` random.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn compose(
        &self,
        identity: &Identity,
        conversation: ConversationId,
        recipients: &[PeerId],
        content: Content,
        label_ms: u64,
        nonce: u64,
    ) -> Result<MessageRow, StoreError> {
        let identity = identity.clone();
        let me = self.inner.me;
        if identity.peer_id() != me {
            return Err(StoreError::WrongIdentity { owner: me.to_string(), me: identity.peer_id() });
        }
        let recipients = recipients.to_vec();
        let draft = intake::Draft { conversation, recipients, content, label_ms, nonce };
        let this = self.clone();
        self.writer()?
            .write(
                move |conn| intake::compose(conn, &identity, draft.clone()),
                move |row: &MessageRow| {
                    this.inner.newest.send_replace(row.arrival);
                    for (recipient, _) in &row.states {
                        this.with_waker(*recipient, |waker| waker.send_replace(row.arrival));
                    }
                },
            )
            .await
    }

    /// Changes whenever a message for `recipient` was committed.
    #[must_use]
    pub fn outbox_changes(&self, recipient: PeerId) -> watch::Receiver<u64> {
        self.with_waker(recipient, |waker| waker.subscribe())
    }

    fn with_waker<T>(&self, recipient: PeerId, act: impl FnOnce(&watch::Sender<u64>) -> T) -> T {
        let mut wakers = self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        act(wakers.entry(recipient).or_insert_with(|| watch::Sender::new(0)))
    }

    /// Moves messages forward to `state` towards `recipient`; returns those that were not that far yet.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then.
    pub async fn advance(
        &self,
        recipient: PeerId,
        ids: &[MessageId],
        state: State,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.advancing(recipient, ids.to_vec(), state).await?.await.map_err(|_| StoreError::Closed)?
    }

    /// Like [`Store::advance`], without waiting for the commit.
    ///
    /// # Errors
    /// [`StoreError::Closed`] or [`StoreError::ReadOnly`].
    pub async fn advance_soon(
        &self,
        recipient: PeerId,
        ids: Vec<MessageId>,
        state: State,
    ) -> Result<(), StoreError> {
        self.advancing(recipient, ids, state).await.map(drop)
    }

    async fn advancing(
        &self,
        recipient: PeerId,
        ids: Vec<MessageId>,
        state: State,
    ) -> Result<Answer<Vec<MessageId>>, StoreError> {
        let messages = ids.len() / ADVANCED_TO_TAKEN_IN;
        let work = move |conn: &Connection| outbox::advance(conn, recipient, &ids, state);
        self.writer()?.enqueue(messages, work, |_: &Vec<MessageId>| ()).await
    }

    /// Follows the arrival number of the newest delivered message.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.inner.newest.subscribe()
    }

    /// A step outside the store at which a test may let the program die.
    pub(crate) fn reach(&self, point: Point) -> Result<(), StoreError> {
        match &self.inner.faults {
            Some(faults) if faults.dies(point) => Err(StoreError::Closed),
            _ => Ok(()),
        }
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.inner.writer.as_ref().ok_or(StoreError::ReadOnly)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer()?.write(work, |_| ()).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.readers.read(query).await
    }
}

fn newest(conn: &Connection) -> Result<u64, StoreError> {
    let newest: Option<i64> = conn.query_row("SELECT max(row) FROM messages", [], |row| row.get(0))?;
    Ok(sql::uint(newest.unwrap_or(0)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests;
