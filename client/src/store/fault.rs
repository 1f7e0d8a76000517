//! Places where a test can make the program die or its disk be full.

use std::fmt::Debug;

/// A durable step, before which or after which the program may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Requests were taken from the queue; nothing is written.
    Begin,
    /// One request of the batch has done its work inside the transaction.
    Work,
    /// All requests of the batch have; the commit is next.
    Commit,
    /// The commit is done; nobody knows yet.
    Committed,
    /// Messages of a peer are committed; the acknowledgement is next.
    Ack,
    /// A message was written to the stream; its state is not.
    Written,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Begin, Self::Work, Self::Commit, Self::Committed, Self::Ack, Self::Written];
}

/// Decides whether the program dies at a [`Point`].
pub trait Faults: Send + Sync + Debug {
    /// `true` to die here: the store ends at once, without committing what is open and without an answer.
    fn dies(&self, point: Point) -> bool;

    /// Whether the disk has no room for the next commit.
    fn is_disk_full(&self) -> bool {
        false
    }
}
