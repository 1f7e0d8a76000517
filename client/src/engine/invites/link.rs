//! Links that lead somebody to a person or into a room (`docs/protocol.md` §9.1). Pure.
//!
//! ```text
//! hobnob:HOST:PORT/BASE64#BASE64
//!                  |      secret 16 | expiry 4, minutes since 1970 | check 4
//!                  version 1 | goal 1 | server's key 32 | inviter's key 32
//! ```

use std::fmt;
use std::str::FromStr;

use common::identity::PeerId;
use data_encoding::BASE64URL_NOPAD;
use rand::{CryptoRng, RngExt};

use crate::net::ServerTarget;

/// Longest link in bytes, and much longer than any that is made here.
pub const MAX_LINK_LEN: usize = 512;
/// Longest address of a server in a link: a DNS name, its port, and what is between.
const MAX_ADDRESS_LEN: usize = 260;
/// Bytes of the secret.
const SECRET_LEN: usize = 16;

const SCHEME: &str = "hobnob:";
const VERSION: u8 = 1;
const KEYS_LEN: usize = 2 + 32 + 32;
const CHECK_LEN: usize = 4;
const TAIL_LEN: usize = SECRET_LEN + 4 + CHECK_LEN;
const MINUTE_MS: u64 = 60_000;

/// Whereto a link leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// To the inviter.
    Person,
    /// Into a room of the inviter's; which one they say themselves.
    Room,
}

/// What shows the inviter that somebody has the link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkSecret([u8; SECRET_LEN]);

impl LinkSecret {
    /// A fresh one from `rng`, which nobody else must be able to predict.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(rng.random())
    }

    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SECRET_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }

    /// What the inviter keeps of it. Hashes compare in constant time.
    #[must_use]
    pub fn mark(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(blake3::derive_key("hobnob link secret v1", &self.0))
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(..)")
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `HOST:PORT` of the server at which the inviter is found.
    pub address: String,
    /// The server's key.
    pub server: PeerId,
    /// Who invites.
    pub inviter: PeerId,
    /// Whereto.
    pub goal: Goal,
    /// Until when, in Unix milliseconds; whole minutes.
    pub expires_ms: u64,
    /// For the inviter alone.
    pub secret: LinkSecret,
}

/// Why a text is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseLinkError {
    /// It does not begin like one.
    #[error("that is no link: one begins with hobnob:")]
    Other,
    /// It is far too long for one.
    #[error("a link has at most {MAX_LINK_LEN} characters")]
    TooLong,
    /// Its end is missing.
    #[error("the link is cut off; copy all of it, also what stands behind the #")]
    Cut,
    /// It has another version.
    #[error("the link was made by another version of Hobnob ({0}); this one knows version {VERSION}")]
    Version(u8),
    /// It names no server.
    #[error("the link names no server that can be reached")]
    Address,
    /// Something in it is not as it was made.
    #[error("the link is damaged: some of it was changed or is missing; copy it again")]
    Damaged,
}

impl Link {
    /// Where the server is, and which key it must have.
    #[must_use]
    pub fn target(&self) -> ServerTarget {
        ServerTarget { address: self.address.clone(), key: Some(self.server) }
    }

    /// The same link with the expiry as it can be written, if its address can be.
    ///
    /// # Errors
    /// [`ParseLinkError::Address`] if the server's address is too long or odd for a link.
    pub fn checked(mut self) -> Result<Self, ParseLinkError> {
        self.expires_ms = u64::from(self.minutes()) * MINUTE_MS;
        if is_address(&self.address) { Ok(self) } else { Err(ParseLinkError::Address) }
    }

    fn minutes(&self) -> u32 {
        u32::try_from(self.expires_ms / MINUTE_MS).unwrap_or(u32::MAX)
    }

    fn keys(&self) -> Vec<u8> {
        let goal = match self.goal {
            Goal::Person => 0,
            Goal::Room => 1,
        };
        [&[VERSION, goal], self.server.as_bytes().as_slice(), self.inviter.as_bytes()].concat()
    }

    fn tail(&self) -> Vec<u8> {
        let minutes = self.minutes().to_be_bytes();
        let open = [self.secret.0.as_slice(), &minutes].concat();
        let check = check(&self.address, &self.keys(), &open);
        [open, check.to_vec()].concat()
    }
}

/// Tells a link that was damaged on its way from one that is wrong. It protects against nobody.
fn check(address: &str, keys: &[u8], open: &[u8]) -> [u8; CHECK_LEN] {
    let hash = blake3::derive_key("hobnob link check v1", &[keys, open, address.as_bytes()].concat());
    std::array::from_fn(|i| hash[i])
}

/// Whether this can stand in a link: `HOST:PORT` that shows as itself.
fn is_address(address: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    address.len() <= MAX_ADDRESS_LEN
        && address.chars().all(is_plain)
        && address.parse::<ServerTarget>().is_ok()
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, tail) = (BASE64URL_NOPAD.encode(&self.keys()), BASE64URL_NOPAD.encode(&self.tail()));
        write!(f, "{SCHEME}{}/{keys}#{tail}", self.address)
    }
}

impl FromStr for Link {
    type Err = ParseLinkError;

    /// Takes what people paste: blanks, line breaks and the edge of a box in it, `<` and `>` around it.
    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        if text.len() > 2 * MAX_LINK_LEN {
            return Err(ParseLinkError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace() && !"<>│".contains(*c)).collect();
        let rest = text
            .get(..SCHEME.len())
            .filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
            .and_then(|_| text.get(SCHEME.len()..))
            .ok_or(ParseLinkError::Other)?;
        if text.len() > MAX_LINK_LEN {
            return Err(ParseLinkError::TooLong);
        }
        let (address, rest) = rest.split_once('/').ok_or(ParseLinkError::Cut)?;
        let (keys, tail) = rest.split_once('#').ok_or(ParseLinkError::Cut)?;
        let keys = BASE64URL_NOPAD.decode(keys.as_bytes()).map_err(|_| ParseLinkError::Damaged)?;
        match keys.as_slice() {
            [VERSION, ..] => {}
            [other, ..] => return Err(ParseLinkError::Version(*other)),
            [] => return Err(ParseLinkError::Damaged),
        }
        if tail.len() < BASE64URL_NOPAD.encode_len(TAIL_LEN) {
            return Err(ParseLinkError::Cut);
        }
        let tail = BASE64URL_NOPAD.decode(tail.as_bytes()).map_err(|_| ParseLinkError::Damaged)?;
        Self::read(address, &keys, &tail)
    }
}

impl Link {
    fn read(address: &str, keys: &[u8], tail: &[u8]) -> Result<Self, ParseLinkError> {
        let damaged = ParseLinkError::Damaged;
        let keys: &[u8; KEYS_LEN] = keys.try_into().map_err(|_| damaged)?;
        let tail: &[u8; TAIL_LEN] = tail.try_into().map_err(|_| damaged)?;
        let (open, found) = tail.split_at(TAIL_LEN - CHECK_LEN);
        if check(address, keys, open) != *found {
            return Err(damaged);
        }
        if !is_address(address) {
            return Err(ParseLinkError::Address);
        }
        let goal = match keys[1] {
            0 => Goal::Person,
            1 => Goal::Room,
            // A later version may lead elsewhere.
            other => return Err(ParseLinkError::Version(other)),
        };
        let key = |at: usize| PeerId::from_bytes(std::array::from_fn(|i| keys[at + i]));
        let minutes = u32::from_be_bytes(std::array::from_fn(|i| open[SECRET_LEN + i]));
        Ok(Self {
            address: address.to_owned(),
            server: key(2),
            inviter: key(34),
            goal,
            expires_ms: u64::from(minutes) * MINUTE_MS,
            secret: LinkSecret(std::array::from_fn(|i| open[i])),
        })
    }
}

#[cfg(test)]
mod tests {
    use common::identity::Identity;
    use proptest::prelude::*;

    use super::*;

    fn link() -> Link {
        Link {
            address: "example.org:5000".to_owned(),
            server: Identity::from_seed([1; 32]).peer_id(),
            inviter: Identity::from_seed([2; 32]).peer_id(),
            goal: Goal::Room,
            expires_ms: 29_000_000 * MINUTE_MS,
            secret: LinkSecret([7; SECRET_LEN]),
        }
    }

    #[test]
    fn links_come_back_however_they_were_pasted() {
        for address in ["example.org:5000", "192.0.2.1:1", "[2001:db8::1]:65535"] {
            let link = Link { address: address.to_owned(), ..link() };
            let text = link.to_string();
            assert_eq!(text.parse(), Ok(link.clone()));
            assert!(text.len() <= 152, "{} bytes do not fit a small QR code", text.len());
            let (left, right) = text.split_at(70);
            assert_eq!(format!(" <{left} │\r\n│  {right}>\n").parse(), Ok(link));
        }
        assert_eq!(link().to_string().replacen("hobnob", "HOBNOB", 1).parse(), Ok(link()));
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let whole = link().to_string();
        let refused = |text: &str| text.parse::<Link>().unwrap_err();
        for other in ["", "hobnob", "https://example.org/#x", "4-amused-cabin-wolf", "höbnob:x"] {
            assert_eq!(refused(other), ParseLinkError::Other, "{other}");
        }
        assert_eq!(refused(&format!("{whole}{}", "A".repeat(MAX_LINK_LEN))), ParseLinkError::TooLong);
        for end in 7..whole.len() {
            assert_eq!(refused(&whole[..end]), ParseLinkError::Cut, "cut at {end}");
        }
        let newer = whole.replacen("/AQ", "/Ag", 1);
        assert_eq!(refused(&newer), ParseLinkError::Version(2));
        assert_eq!(refused(&whole.replace("example.org", "example.com")), ParseLinkError::Damaged);
        assert_eq!(refused(&whole.replace("#B", "#C")), ParseLinkError::Damaged);
        assert_eq!(refused(&format!("{whole}AAAA")), ParseLinkError::Damaged);
        for address in ["nowhere", "host:0", "a b:1", "\u{1b}[2J:1", "host:1#x"] {
            let odd = Link { address: address.to_owned(), ..link() };
            assert_eq!(odd.clone().checked().unwrap_err(), ParseLinkError::Address);
            assert!(odd.to_string().parse::<Link>().is_err(), "{address:?}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", link().secret), "LinkSecret(..)");
    }

    proptest! {
        #[test]
        fn one_changed_letter_is_noticed(at in 7_usize..145, letter in "[A-Za-z0-9_-]") {
            let whole = link().to_string();
            let mut changed = whole.clone();
            changed.replace_range(at..=at, &letter);
            prop_assert!(changed == whole || changed.parse::<Link>().is_err());
        }
    }
}
