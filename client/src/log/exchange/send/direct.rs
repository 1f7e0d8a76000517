//! Comparing the direct chat with the peer, which one of the two may have lost a part of: its data is an old copy
//! (`docs/protocol.md` §7.4). Nothing waits for that: between two there is nobody else from whom anything could come.

use std::collections::BTreeSet;

use bytes::BytesMut;
use common::frame::Message as _;
use common::identity::PeerId;
use tokio::io::AsyncWrite;

use super::super::ExchangeError;
use super::{READ_MARKS, Sender, write};
use crate::log::wire::{HeadsHash, LogFrame, MAX_IDS, Read};
use crate::log::{ConversationId, MessageId, SignedMessage};
use crate::store::Lacking;

/// Texts before what a peer has lost of which it is told once more that they were read.
const MAX_READ_BEFORE: usize = 64;

/// How far the comparison is.
#[derive(Debug)]
pub(super) struct Direct {
    conversation: ConversationId,
    /// The peer is to be told what it comes to here.
    is_due: bool,
    /// The peer was asked for what is missing here.
    has_asked: bool,
    /// What the peer itself wrote and gets back.
    handed_back: BTreeSet<MessageId>,
}

impl Direct {
    /// One tells and the other compares: that is all if they agree.
    pub(super) fn new(me: PeerId, peer: PeerId) -> Self {
        let conversation = ConversationId::direct(me, peer);
        Self { conversation, is_due: me < peer, has_asked: false, handed_back: BTreeSet::new() }
    }

    pub(super) fn is(&self, conversation: ConversationId) -> bool {
        self.conversation == conversation
    }

    /// The peer was asked, for whatever reason.
    pub(super) const fn note_asked(&mut self) {
        self.has_asked = true;
    }

    /// A message of the peer's goes back to it.
    pub(super) fn note_handed_back(&mut self, message: &SignedMessage) {
        if self.is(message.message().conversation) {
            self.handed_back.insert(message.id());
        }
    }

    /// Those of `ids` that the peer has got back.
    pub(super) fn take_handed_back(&mut self, ids: &[MessageId]) -> Vec<MessageId> {
        ids.iter().copied().filter(|id| self.handed_back.remove(id)).collect()
    }
}

impl Sender<'_> {
    /// Whether the peer is to be told now what the direct chat comes to.
    pub(super) fn is_direct_due(&self) -> bool {
        self.direct.is_due && self.is_direct_quiet()
    }

    /// Whether the peer has all of the direct chat that it is to have, as far as is known here.
    fn is_direct_quiet(&self) -> bool {
        let is_level = !self.more && self.syncing.is_level(self.direct.conversation);
        is_level && !self.in_flight.values().any(|(conversation, _)| self.direct.is(*conversation))
    }

    /// Tells the peer what the direct chat comes to.
    pub(super) async fn tell_direct(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        self.direct.is_due = false;
        let ours = exchange.store.direct_summary(exchange.peer).await?;
        let mut out = BytesMut::new();
        self.tell(&[(self.direct.conversation, ours)], &mut out);
        write(writer, &out).await
    }

    /// The peer has told what the direct chat comes to there. While messages are on their way it cannot be the same: then it
    /// is told what it comes to here once they have arrived.
    pub(super) async fn hear_direct(
        &mut self,
        theirs: HeadsHash,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        if !self.is_direct_quiet() {
            self.direct.is_due = true;
        } else if exchange.store.direct_summary(exchange.peer).await? != theirs {
            self.ask_direct(out).await?;
        }
        Ok(())
    }

    /// The peer has said what it has of the direct chat, and is `lacking` something: asks in turn if it has what is missing
    /// here, and tells once more what it may have forgotten.
    pub(super) async fn hear_direct_position(
        &mut self,
        known: Vec<MessageId>,
        lacking: &Lacking,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        self.direct.handed_back.clear();
        if exchange.store.lacks_any(self.direct.conversation, known).await? {
            self.ask_direct(out).await?;
        }
        match lacking {
            Lacking::Rows(rows) if !rows.is_empty() => {
                let read = exchange.store.read_before(exchange.peer, rows[0], MAX_READ_BEFORE).await?;
                self.tell_again(&read, out).await
            }
            Lacking::Rows(_) | Lacking::Everything => Ok(()),
        }
    }

    /// Asks the peer for what is missing here, once on this stream: nothing gets lost while it lasts.
    async fn ask_direct(&mut self, out: &mut BytesMut) -> Result<(), ExchangeError> {
        let conversation = self.direct.conversation;
        if self.direct.has_asked || self.postponed.contains(&conversation) {
            return Ok(());
        }
        self.ask(conversation, out).await
    }

    /// The peer has got these, which it once had, or sent them as if it had not: tells it which of them were read.
    pub(super) async fn tell_read_again(
        &self,
        ids: Vec<MessageId>,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        if ids.is_empty() {
            return Ok(());
        }
        let exchange = self.shared.exchange;
        let read = exchange.store.read_among(exchange.peer, ids).await?;
        self.tell_again(&read, out).await
    }

    async fn tell_again(&self, read: &[MessageId], out: &mut BytesMut) -> Result<(), ExchangeError> {
        let setting = self.shared.exchange.store.setting(READ_MARKS).await?;
        if setting.as_deref() != Some("off") {
            for ids in read.chunks(MAX_IDS) {
                LogFrame::from(Read { ids: ids.to_vec() }).encode(out);
            }
        }
        Ok(())
    }
}
