//! Numbers under which clients offer to be met, and the two messages that pass between those who meet there
//! (`docs/protocol.md` §8). The words of a code never come here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use common::code::{PAKE_LEN, PROOF_LEN};
use common::control::{Claim, Claimed, NoOffer, Offered, Reply, ToClient, ToServer};
use common::identity::PeerId;
use rand::RngExt;
use rand::rngs::StdRng;

use super::bucket::{Bucket, Rate};
use super::{Broken, ConnId, Core, door};

/// How long a number can be claimed.
const LIFETIME: Duration = Duration::from_secs(600);
/// Claims of one connection: a slip or two, not a search for other people's numbers to use up. In thousandths, so that
/// the slow rate is a whole number.
const CLAIMS: Rate = Rate { per_second: 100, burst: 5_000 };
const CLAIM: u64 = 1_000;

/// A client sent more than the exchange needs.
#[derive(Debug)]
pub(super) struct TooLong;

/// Frames, and where to.
type Said = Vec<(ConnId, ToClient)>;

#[derive(Debug)]
struct Offering {
    offerer: ConnId,
    until: Instant,
    claim: Option<Claiming>,
}

#[derive(Debug)]
struct Claiming {
    conn: ConnId,
    /// Who has sent a reply; each sends one.
    replied: [bool; 2],
}

/// See the module. Each connection has one offer at most, so there are no more than connections.
#[derive(Debug, Default)]
pub(super) struct Codes {
    offers: BTreeMap<u32, Offering>,
    by_offerer: HashMap<ConnId, u32>,
    expiry: BTreeSet<(Instant, u32)>,
    claims: HashMap<ConnId, Bucket>,
}

impl Offering {
    /// Tells those who took part in it, but for `but`, that it has ended.
    fn tell_ended(&self, number: u32, but: Option<ConnId>) -> impl Iterator<Item = (ConnId, ToClient)> {
        let ends = [Some(self.offerer), self.claim.as_ref().map(|claim| claim.conn)];
        let told = ends.into_iter().flatten().filter(move |end| Some(*end) != but);
        told.map(move |end| (end, NoOffer { number }.into()))
    }
}

impl Codes {
    fn remove(&mut self, number: u32) -> Option<Offering> {
        let offer = self.offers.remove(&number)?;
        self.by_offerer.remove(&offer.offerer);
        self.expiry.remove(&(offer.until, number));
        Some(offer)
    }

    /// Gives `conn` a number; one that it had before ends.
    pub(super) fn offer(&mut self, now: Instant, conn: ConnId, rng: &mut StdRng) -> Said {
        let mut said = Said::new();
        if let Some(older) = self.by_offerer.get(&conn).copied()
            && let Some(offer) = self.remove(older)
        {
            said.extend(offer.tell_ended(older, None));
        }
        let (number, until) = (self.unused_number(rng), now + LIFETIME);
        self.offers.insert(number, Offering { offerer: conn, until, claim: None });
        self.by_offerer.insert(conn, number);
        self.expiry.insert((until, number));
        said.push((conn, Offered { number }.into()));
        said
    }

    /// A number that is easy to say: short as long as few are in use.
    fn unused_number(&self, rng: &mut StdRng) -> u32 {
        let in_use = u32::try_from(self.offers.len()).unwrap_or(u32::MAX / 4);
        let mut range = 10;
        while range < in_use.saturating_mul(2) {
            range = range.saturating_mul(10);
        }
        loop {
            let number = rng.random_range(1..range);
            if !self.offers.contains_key(&number) {
                return number;
            }
        }
    }

    /// `peer` claims a number: the one time that this is possible. Offers of those of whom `is_there` does not hold are
    /// none.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        conn: ConnId,
        peer: PeerId,
        claim: Claim,
        is_there: impl Fn(ConnId) -> bool,
    ) -> Result<Said, TooLong> {
        let Claim { number, pake } = claim;
        if pake.len() > PAKE_LEN {
            return Err(TooLong);
        }
        let may_claim =
            self.claims.entry(conn).or_insert_with(|| Bucket::full(now, CLAIMS)).take(now, CLAIMS, CLAIM);
        let is_open =
            |offer: &&mut Offering| offer.claim.is_none() && offer.offerer != conn && is_there(offer.offerer);
        let offer = self.offers.get_mut(&number).filter(is_open);
        let Some(offer) = offer.filter(|_| may_claim) else {
            return Ok(vec![(conn, NoOffer { number }.into())]);
        };
        offer.claim = Some(Claiming { conn, replied: [false; 2] });
        Ok(vec![(offer.offerer, Claimed { number, peer, pake }.into())])
    }

    /// Passes on what one end of a claim says to the other. `find` tells the connection of a peer.
    pub(super) fn reply(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        reply: Reply,
        find: impl Fn(PeerId) -> Option<ConnId>,
    ) -> Result<Said, TooLong> {
        if reply.pake.len() > PAKE_LEN || reply.proof.len() > PROOF_LEN {
            return Err(TooLong);
        }
        let to = find(reply.peer);
        let Some(Offering { offerer, claim: Some(claim), .. }) = self.offers.get_mut(&reply.number) else {
            return Ok(Vec::new());
        };
        let ends = [*offerer, claim.conn];
        let Some(from) = ends.iter().position(|end| *end == conn).filter(|from| to == Some(ends[1 - from]))
        else {
            return Ok(Vec::new());
        };
        if std::mem::replace(&mut claim.replied[from], true) {
            return Ok(Vec::new());
        }
        if claim.replied == [true; 2] {
            self.remove(reply.number);
        }
        Ok(vec![(ends[1 - from], Reply { peer, ..reply }.into())])
    }

    /// `conn` is gone: what it offered and what it had claimed ends.
    pub(super) fn forget(&mut self, conn: ConnId) -> Said {
        self.claims.remove(&conn);
        let is_claimer = |offer: &Offering| offer.claim.as_ref().is_some_and(|claim| claim.conn == conn);
        let claimed = self.offers.iter().filter(|(_, offer)| is_claimer(offer)).map(|(number, _)| *number);
        let numbers: Vec<_> = claimed.chain(self.by_offerer.get(&conn).copied()).collect();
        self.end(numbers, Some(conn))
    }

    /// Ends the offers whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Said {
        let due =
            self.expiry.iter().take_while(|(until, _)| *until <= now).map(|(_, number)| *number).collect();
        self.end(due, None)
    }

    fn end(&mut self, numbers: Vec<u32>, but: Option<ConnId>) -> Said {
        let ended = numbers.into_iter().filter_map(|number| Some((number, self.remove(number)?)));
        ended.flat_map(|(number, offer)| offer.tell_ended(number, but).collect::<Vec<_>>()).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.expiry.first().map(|(until, _)| *until)
    }
}

impl Core {
    /// Takes in one of the frames that have to do with codes.
    pub(super) fn code_frame(
        &mut self,
        now: Instant,
        conn: ConnId,
        peer: PeerId,
        frame: ToServer,
    ) -> Result<(), Broken> {
        let (by_peer, conns) = (&self.by_peer, &self.conns);
        let said = match frame {
            ToServer::Offer(_) => Ok(self.codes.offer(now, conn, &mut self.rng)),
            ToServer::Claim(claim) => {
                self.codes.claim(now, conn, peer, claim, |offerer| door::lets_in(conns, offerer, peer))
            }
            ToServer::Reply(reply) => self.codes.reply(conn, peer, reply, |to| by_peer.get(&to).copied()),
            _ => return Ok(()),
        };
        self.send_all(said.map_err(|TooLong| Broken("a code's proof is too long".to_owned()))?);
        Ok(())
    }
}
