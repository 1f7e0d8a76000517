//! Meeting by a short spoken code (`docs/protocol.md` §8).
//!
//! One side offers: the server gives out a number, and `4-amused-cabin-wolf` is what the user says aloud. The other side
//! claims the number, and both run SPAKE2 over the words, through the server, which knows only the number. Whoever
//! claims has one guess; right or wrong, the code is used up.
//!
//! [`Meetings`] is the client's side of it: wishes and frames in, frames and [`News`] out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bip39::Language;
use rand::{CryptoRng, RngExt};
use spake2::{Ed25519Group, Password, Spake2};

use crate::control::{Claim, Claimed, NoOffer, Offer, Offered, Reply, ToClient, ToServer};
use crate::identity::PeerId;

/// Words in a code: 33 bits, which nobody guesses in one try.
pub const WORDS: usize = 3;
/// Words that one can choose from.
const LIST_LEN: usize = 2048;
/// Offers and claims that one client has under way.
const MAX_MEETINGS: usize = 4;
/// Bytes of a SPAKE2 message.
pub const PAKE_LEN: usize = 33;
/// Bytes of the proof that the keys are the same.
pub const PROOF_LEN: usize = 32;

/// What one person tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Where the server keeps the offer.
    pub number: u32,
    /// The secret, of which the server learns nothing.
    pub secret: Secret,
}

/// The words of a code, in lower case, joined by `-`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Fresh words from `rng`, which nobody else must be able to predict.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let list = Language::English.word_list();
        let words: Vec<_> = (0..WORDS).map(|_| list[rng.random_range(0..LIST_LEN)]).collect();
        Self(words.join("-"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.secret.0)
    }
}

/// Why a text is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCodeError {
    /// It is not built like one.
    #[error("a code is a number and {WORDS} words, like 4-amused-cabin-wolf")]
    Shape,
    /// One of the words is never used: a slip, noticed before it costs the one guess.
    #[error("{0:?} is not one of the words of codes; listen again")]
    Word(String),
}

impl FromStr for Code {
    type Err = ParseCodeError;

    /// Takes what people type: upper case, and blanks in place of `-`.
    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        let text = text.to_lowercase();
        let mut parts = text.split(|c: char| c == '-' || c.is_whitespace()).filter(|part| !part.is_empty());
        let number = parts.next().and_then(|part| part.parse().ok()).ok_or(ParseCodeError::Shape)?;
        let words: Vec<_> = parts.collect();
        if words.len() != WORDS {
            return Err(ParseCodeError::Shape);
        }
        let is_known = |word: &&str| Language::English.find_word(word).is_some();
        if let Some(wrong) = words.iter().find(|word| !is_known(word)) {
            return Err(ParseCodeError::Word(crate::text::one_line(wrong, crate::text::MAX_NAME)));
        }
        Ok(Self { number, secret: Secret(words.join("-")) })
    }
}

/// What becomes of offers and claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// This is the code to say aloud.
    Offered(Code),
    /// `peer` has proved to know the code, and knows that we do.
    Met {
        /// Who.
        peer: PeerId,
        /// Whether we are the one to dial.
        dial: bool,
    },
    /// The offer or claim has ended without a meeting.
    Failed(Failure),
}

/// Why two did not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server has no such offer, or none any more.
    #[error("there is no such code on this server: it was used, has expired, or was misheard")]
    Unknown,
    /// The other side used other words.
    #[error("the words were not the same; the code is used up, make a new one")]
    Wrong,
    /// Somebody claimed the number with other words: a slip, or a try to guess.
    #[error("somebody tried the code with wrong words; it is used up, make a new one")]
    Guessed,
    /// The connection to the server has ended.
    #[error("the connection to the server was lost; the code is used up")]
    Lost,
    /// There is no connection to the server to meet through.
    #[error("not connected to the server; try again when it is reached")]
    NoServer,
    /// Too many at once.
    #[error("there are {MAX_MEETINGS} codes under way already")]
    TooMany,
}

enum Meeting {
    /// Claimed by nobody yet.
    Offering(Secret),
    /// We have shown that we know the words; the claimer is to do so too.
    Proving { peer: PeerId, proofs: Proofs },
    /// We claimed and wait for the one who offered.
    Claiming(Spake2<Ed25519Group>),
}

/// See the module.
pub struct Meetings {
    me: PeerId,
    /// The words of an offer whose number the server has not told yet.
    asked: Option<Secret>,
    running: BTreeMap<u32, Meeting>,
}

impl fmt::Debug for Meetings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meetings").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

/// What an input leads to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A frame for the server.
    pub send: Option<ToServer>,
    /// News for the user.
    pub news: Option<News>,
}

impl Outcome {
    fn send(frame: impl Into<ToServer>) -> Self {
        Self { send: Some(frame.into()), news: None }
    }

    const fn news(news: News) -> Self {
        Self { send: None, news: Some(news) }
    }

    const fn failed(failure: Failure) -> Self {
        Self::news(News::Failed(failure))
    }
}

impl Meetings {
    /// No meeting yet, for the owner of the key `me`.
    #[must_use]
    pub const fn new(me: PeerId) -> Self {
        Self { me, asked: None, running: BTreeMap::new() }
    }

    /// Whether anything was begun that has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.asked.is_some() || !self.running.is_empty()
    }

    /// Asks the server for a place to offer `secret` at.
    pub fn offer(&mut self, secret: Secret) -> Outcome {
        if self.asked.is_some() || self.running.len() >= MAX_MEETINGS {
            return Outcome::failed(Failure::TooMany);
        }
        self.asked = Some(secret);
        Outcome::send(Offer {})
    }

    /// Claims what somebody offers.
    pub fn claim(&mut self, code: &Code) -> Outcome {
        if self.running.len() >= MAX_MEETINGS || self.running.contains_key(&code.number) {
            return Outcome::failed(Failure::TooMany);
        }
        let (spake, pake) = start(Role::Claimer, &code.secret);
        self.running.insert(code.number, Meeting::Claiming(spake));
        Outcome::send(Claim { number: code.number, pake })
    }

    /// Takes in what the server says of codes; other frames change nothing.
    pub fn handle_frame(&mut self, frame: &ToClient) -> Outcome {
        match frame {
            ToClient::Offered(Offered { number }) => self.handle_offered(*number),
            ToClient::Claimed(claimed) => self.handle_claimed(claimed),
            ToClient::Reply(reply) => self.handle_reply(reply),
            ToClient::NoOffer(NoOffer { number }) => match self.running.remove(number) {
                Some(_) => Outcome::failed(Failure::Unknown),
                None => Outcome::default(),
            },
            _ => Outcome::default(),
        }
    }

    /// The connection to the server has ended, and with it all that went through it.
    pub fn handle_server_down(&mut self) -> Outcome {
        let had_some = self.asked.take().is_some() || !self.running.is_empty();
        self.running.clear();
        if had_some { Outcome::failed(Failure::Lost) } else { Outcome::default() }
    }

    fn handle_offered(&mut self, number: u32) -> Outcome {
        let Some(secret) = self.asked.take() else { return Outcome::default() };
        self.running.insert(number, Meeting::Offering(secret.clone()));
        Outcome::news(News::Offered(Code { number, secret }))
    }

    fn handle_claimed(&mut self, claimed: &Claimed) -> Outcome {
        let Claimed { number, peer, pake } = claimed;
        let Some(Meeting::Offering(secret)) = self.running.remove(number) else { return Outcome::default() };
        let (spake, ours) = start(Role::Offerer, &secret);
        let Some(proofs) = Proofs::of(spake, pake, self.me, *peer) else {
            return Outcome::failed(Failure::Guessed);
        };
        let reply = Reply { number: *number, peer: *peer, pake: ours, proof: proofs.offerer.to_vec() };
        self.running.insert(*number, Meeting::Proving { peer: *peer, proofs });
        Outcome::send(reply)
    }

    fn handle_reply(&mut self, reply: &Reply) -> Outcome {
        let Reply { number, peer, pake, proof } = reply;
        match self.running.remove(number) {
            Some(Meeting::Claiming(spake)) => {
                let proofs = Proofs::of(spake, pake, *peer, self.me);
                let Some(proofs) = proofs.filter(|proofs| is_same(&proofs.offerer, proof)) else {
                    // The offerer hears it too: an empty proof fits nothing.
                    let refusal = Reply { number: *number, peer: *peer, pake: Vec::new(), proof: Vec::new() };
                    let send = Some(refusal.into());
                    return Outcome { send, news: Some(News::Failed(Failure::Wrong)) };
                };
                let proof = proofs.claimer.to_vec();
                let send = Some(Reply { number: *number, peer: *peer, pake: Vec::new(), proof }.into());
                Outcome { send, news: Some(News::Met { peer: *peer, dial: true }) }
            }
            Some(Meeting::Proving { peer: claimer, proofs }) => {
                if claimer == *peer && is_same(&proofs.claimer, proof) {
                    Outcome::news(News::Met { peer: claimer, dial: false })
                } else {
                    Outcome::failed(Failure::Guessed)
                }
            }
            Some(Meeting::Offering(_)) | None => Outcome::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Offerer,
    Claimer,
}

/// Begins SPAKE2 (RFC 9382) over the words of a code.
fn start(role: Role, secret: &Secret) -> (Spake2<Ed25519Group>, Vec<u8>) {
    let password = Password::new(secret.0.as_bytes());
    let [offerer, claimer] = [&b"hobnob code offerer"[..], b"hobnob code claimer"].map(spake2::Identity::new);
    match role {
        Role::Offerer => Spake2::start_a(&password, &offerer, &claimer),
        Role::Claimer => Spake2::start_b(&password, &offerer, &claimer),
    }
}

/// What each of the two shows the other. Both hold both keys, so that a server that puts itself between the two fails.
#[derive(Clone, PartialEq, Eq)]
struct Proofs {
    offerer: [u8; PROOF_LEN],
    claimer: [u8; PROOF_LEN],
}

impl Proofs {
    /// `None` if `pake` is no message of the other side.
    fn of(spake: Spake2<Ed25519Group>, pake: &[u8], offerer: PeerId, claimer: PeerId) -> Option<Self> {
        let key = spake.finish(pake).ok()?;
        let input = [&key, &offerer.as_bytes()[..], claimer.as_bytes()].concat();
        Some(Self {
            offerer: blake3::derive_key("hobnob code proof of the offerer v1", &input),
            claimer: blake3::derive_key("hobnob code proof of the claimer v1", &input),
        })
    }
}

/// Compares in constant time.
fn is_same(expected: &[u8; PROOF_LEN], shown: &[u8]) -> bool {
    shown
        .try_into()
        .is_ok_and(|shown: [u8; PROOF_LEN]| blake3::Hash::from(*expected) == blake3::Hash::from(shown))
}

#[cfg(test)]
mod tests;
