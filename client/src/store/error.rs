//! What can go wrong with the store, said so that a user knows what to do.

use std::path::{Path, PathBuf};

use common::identity::PeerId;
use rusqlite::ErrorCode;

use crate::log::ingest::Invalid;
use crate::log::{ConversationId, MessageError};

/// Why the store did not do what it was asked. Unless said otherwise nothing of the request was done, and the store
/// goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space is left where the database lies.
    #[error("the disk is full; nothing was changed")]
    Full,
    /// There is no database yet.
    #[error("there is no database at {0}")]
    Missing(PathBuf),
    /// The file is no database, or not one of this program.
    #[error("{path} is not a Hobnob database ({reason}); it was left as it is")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The database is damaged.
    #[error(
        "the database is damaged ({0}); it was left as it is: restore a copy, or move it away to start anew"
    )]
    Damaged(String),
    /// The database was written by a newer version.
    #[error("the database has schema {found}, made by a newer version; this version knows up to {known}")]
    Newer {
        /// Schema of the file.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// The database must be migrated, but is opened for reading only.
    #[error("the database has the old schema {found}; start the client once to migrate it")]
    Older {
        /// Schema of the file.
        found: i64,
    },
    /// The database belongs to another identity.
    #[error("the database belongs to the key {owner}, not to {me}")]
    WrongIdentity {
        /// Whose it is.
        owner: String,
        /// Who asked.
        me: PeerId,
    },
    /// The message cannot be written.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The conversation is not known here.
    #[error("the conversation {0} is not known here")]
    UnknownConversation(ConversationId),
    /// Somebody who is addressed is no member of the conversation.
    #[error("{0} is not a member of the conversation")]
    NotMember(PeerId),
    /// The room does not allow this to this user.
    #[error("{}", not_allowed(.0))]
    NotAllowed(Invalid),
    /// The message is on its way already, or others build on it.
    #[error("the message cannot be cancelled any more; delete it instead")]
    NotPending,
    /// There is no such contact.
    #[error("there is no contact {0}")]
    UnknownContact(PeerId),
    /// The store was opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store was closed, or its writer ended.
    #[error("the store is closed")]
    Closed,
    /// The database or its directory cannot be read or written.
    #[error("the database cannot be used: {0}")]
    Io(String),
    /// `SQLite` refused for a reason that is most likely this program's fault.
    #[error("the database refused: {0}")]
    Sqlite(String),
}

impl StoreError {
    /// The error for a file that could not even be opened.
    pub(super) fn opening(path: &Path, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                Self::Foreign { path: path.to_owned(), reason: error.to_string() }
            }
            Some(ErrorCode::CannotOpen) => Self::Io(format!("{}: {error}", path.display())),
            _ => error.into(),
        }
    }
}

impl From<&rusqlite::Error> for StoreError {
    fn from(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked,
            ) => Self::Io(error.to_string()),
            _ => Self::Sqlite(error.to_string()),
        }
    }
}

/// Why a room does not take what this user writes, as this user is to hear it.
fn not_allowed(invalid: &Invalid) -> String {
    match invalid {
        Invalid::AuthorNotMember => "you are not in this room any more".to_owned(),
        Invalid::NotAllowed => {
            "you may not do this in the room: you have not joined it yet, or its owners alone may".to_owned()
        }
        other => format!("the room does not allow this: {other}"),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::from(&error)
    }
}
