//! Links at both ends: who knocks is let in or told why not, and who follows a link knocks (`docs/protocol.md` §9).

use common::identity::PeerId;

use super::{Engine, Event};
use crate::engine::invites::LinkSecret;
use crate::engine::wire::{Answer, Knock, Verdict};
use crate::engine::{LinkNews, session::SessionNumber};
use crate::log::{Act, Content, ConversationId, Standing};
use crate::store::{Admission, Join, Meeting, StoreError};

/// Knocks that are heard on one connection: a few links, and no search for one.
pub(super) const MAX_KNOCKS: u32 = 8;

impl Engine {
    /// Looks for all whose links this user follows; those that are there are knocked at.
    pub(super) async fn follow_links(&mut self) -> Result<(), StoreError> {
        let now_ms = (self.context.wall_clock)();
        for join in self.context.store.joins().await? {
            if now_ms >= join.expires_ms {
                self.context.store.end_join(join.secret).await?;
                let reason = "the link has expired before the inviter was met".to_owned();
                self.emit(Event::Link(LinkNews::Failed { peer: join.inviter, reason })).await;
            } else if self.sessions.get(&join.inviter).is_some_and(|session| session.greeted) {
                self.knock(&join);
            } else if !self.sessions.contains_key(&join.inviter) {
                self.context.net.seek(join.inviter).await;
            }
        }
        Ok(())
    }

    /// Somebody was greeted: their links are followed now.
    pub(super) async fn knock_at(&self, peer: PeerId) -> Result<(), StoreError> {
        let joins = self.context.store.joins().await?;
        joins.iter().filter(|join| join.inviter == peer).for_each(|join| self.knock(join));
        Ok(())
    }

    fn knock(&self, join: &Join) {
        if join.room.is_none()
            && let Some(session) = self.sessions.get(&join.inviter)
        {
            // What finds no room is said again after a while.
            let _ = session.frames.try_send(Knock { secret: join.secret.to_vec() }.into());
        }
    }

    /// `peer` shows that they have a link of ours.
    pub(super) async fn handle_knock(
        &mut self,
        peer: PeerId,
        number: SessionNumber,
        knock: Knock,
    ) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.number == number) else {
            return Ok(());
        };
        session.knocks += 1;
        let frames = session.frames.clone();
        let Ok(secret) = knock.secret.as_slice().try_into().map(LinkSecret::from_bytes) else {
            return Ok(());
        };
        let (verdict, room) = match session.knocks {
            0..=MAX_KNOCKS => self.judge(peer, &secret).await?,
            _ => (Verdict::TooMany, None),
        };
        // Who does not read has no use for an answer.
        let _ = frames.try_send(Answer { secret: knock.secret, verdict: verdict as u8, room }.into());
        if verdict == Verdict::Welcome {
            self.emit(Event::Link(LinkNews::Admitted { peer, room })).await;
        }
        Ok(())
    }

    async fn judge(
        &mut self,
        peer: PeerId,
        secret: &LinkSecret,
    ) -> Result<(Verdict, Option<ConversationId>), StoreError> {
        let now_ms = (self.context.wall_clock)();
        let room = match self.context.store.admit(secret.mark(), peer, now_ms).await? {
            Admission::Welcome(room) => room,
            Admission::Unknown => return Ok((Verdict::Unknown, None)),
            Admission::Expired => return Ok((Verdict::Expired, None)),
            Admission::Revoked => return Ok((Verdict::Revoked, None)),
            Admission::UsedUp => return Ok((Verdict::UsedUp, None)),
        };
        if !self.contacts.contains(peer) {
            // They are no stranger who came by themselves.
            let given_name = self.name_of(peer);
            self.remember(Meeting { peer, given_name, now_ms }).await?;
            self.contacts.meet(peer);
            self.watch().await;
        }
        match room {
            Some(room) if !self.let_in(room, peer).await? => Ok((Verdict::NotAllowed, None)),
            room => Ok((Verdict::Welcome, room)),
        }
    }

    /// Invites `peer` into the room, unless they belong to it. False if this user may not.
    async fn let_in(&self, room: ConversationId, peer: PeerId) -> Result<bool, StoreError> {
        let found = self.context.store.conversation(room).await?;
        if found.is_some_and(|found| found.members.iter().any(|(member, _)| *member == peer)) {
            return Ok(true);
        }
        match self.write_event(room, Act::Add(peer)).await {
            Ok(()) => Ok(true),
            Err(
                StoreError::NotAllowed(_) | StoreError::NotMember(_) | StoreError::UnknownConversation(_),
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write_event(&self, room: ConversationId, act: Act) -> Result<(), StoreError> {
        let (now_ms, nonce) = ((self.context.wall_clock)(), rand::random());
        let content = Content::Room(act);
        self.context.store.compose(&self.context.identity, room, &[], content, now_ms, nonce).await.map(drop)
    }

    /// The inviter says what becomes of a knock.
    pub(super) async fn handle_answer(&mut self, peer: PeerId, answer: Answer) -> Result<(), StoreError> {
        let joins = self.context.store.joins().await?;
        let is_meant = |join: &&Join| join.inviter == peer && answer.secret == join.secret;
        let Some(join) = joins.iter().find(is_meant).copied() else { return Ok(()) };
        let news = match (Verdict::of(answer.verdict), answer.room) {
            (Verdict::Welcome, Some(room)) => {
                self.context.store.add_join(Join { room: Some(room), ..join }).await?;
                return self.enter_if_invited(room).await.map(drop);
            }
            (Verdict::Welcome, None) => LinkNews::Joined { peer, room: None },
            (Verdict::TooMany, _) => return Ok(()),
            (verdict, _) => LinkNews::Failed { peer, reason: verdict.to_string() },
        };
        self.context.store.end_join(join.secret).await?;
        self.emit(Event::Link(news)).await;
        Ok(())
    }

    /// Takes the invitation to a room into which a link leads this user. False if none does.
    pub(super) async fn enter_if_invited(&mut self, room: ConversationId) -> Result<bool, StoreError> {
        let joins = self.context.store.joins().await?;
        let Some(join) = joins.iter().find(|join| join.room == Some(room)) else { return Ok(false) };
        let me = self.context.store.me();
        let found = self.context.store.conversation(room).await?;
        let standing = found.and_then(|found| {
            found.members.iter().find(|(member, _)| *member == me).map(|(_, standing)| *standing)
        });
        match standing {
            // It is still to come.
            None => return Ok(true),
            Some(Standing::Invited) => self.write_event(room, Act::Accept).await?,
            Some(_) => {}
        }
        self.context.store.end_join(join.secret).await?;
        self.emit(Event::Link(LinkNews::Joined { peer: join.inviter, room: Some(room) })).await;
        Ok(true)
    }
}
