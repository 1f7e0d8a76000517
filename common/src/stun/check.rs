//! Connectivity checks between two peers: STUN Binding requests and responses that both carry
//! MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.6–14.7; `docs/protocol.md` §5).
//!
//! USERNAME names the key and the sender's side, so that neither a stranger's request nor a reflected own one
//! passes. Requests are padded (RFC 5780 §7.6) to the size of the smallest QUIC Initial: a path that answers
//! carries QUIC.

use std::fmt;
use std::net::SocketAddr;

use stun_rs::attributes::discovery::Padding;
use stun_rs::attributes::ice::UseCandidate;
use stun_rs::attributes::stun::{Fingerprint, MessageIntegritySha256, UserName, XorMappedAddress};
use stun_rs::methods::BINDING;
use stun_rs::{
    DecoderContextBuilder, HMACKey, MessageClass, MessageDecoderBuilder, MessageEncoderBuilder, StunMessage,
    StunMessageBuilder, TransactionId as StunTransactionId,
};

/// Size of a padded request in bytes: what a QUIC Initial has at least (RFC 9000 §14.1).
pub const PADDED_LEN: usize = 1200;
/// The largest check that is read.
const MAX_LEN: usize = 1500;
/// Bytes of header, attributes' headers, integrity and fingerprint around USERNAME and PADDING.
const OVERHEAD: usize = 20 + 4 + 4 + (4 + 32) + (4 + 4);
/// Length of a key in bytes.
pub const KEY_LEN: usize = 16;

/// Names a transaction; random, chosen by who asks.
pub type TransactionId = [u8; 12];

/// Which end of the introduction somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The peer that opens the QUIC connection.
    Dialer,
    /// The peer that accepts it.
    Acceptor,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Dialer => 'd',
            Self::Acceptor => 'a',
        }
    }
}

/// Public name of a check key, the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyName(pub u64);

/// A check key, ready for use.
#[derive(Clone)]
pub struct Key {
    /// Its name.
    pub name: KeyName,
    /// The end that this machine is under this key.
    pub side: Side,
    hmac: HMACKey,
}

impl Key {
    /// The key `name` with its secret.
    ///
    /// # Panics
    /// Never: the password is hexadecimal text, which STUN takes as it is.
    #[must_use]
    pub fn new(name: KeyName, side: Side, secret: &[u8; KEY_LEN]) -> Self {
        let password = data_encoding::HEXLOWER.encode(secret);
        Self {
            name,
            side,
            hmac: HMACKey::new_short_term(password).expect("hexadecimal text is a STUN password"),
        }
    }

    fn username(&self, sender: Side) -> String {
        format!("{:016x}:{}", self.name.0, sender.letter())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:016x}, {:?})", self.name.0, self.side)
    }
}

/// Whether a request is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// To [`PADDED_LEN`], to see that the path carries QUIC.
    Padded,
    /// Not at all, for measuring a path that is known.
    Bare,
}

/// A request under `key`.
///
/// # Panics
/// Never: all attributes are built from bounded text of our own.
#[must_use]
pub fn request(key: &Key, id: TransactionId, size: Size) -> Vec<u8> {
    let username = key.username(key.side);
    let padding = PADDED_LEN - OVERHEAD - username.len().next_multiple_of(4);
    let mut builder = StunMessageBuilder::new(BINDING, MessageClass::Request)
        .with_transaction_id(StunTransactionId::from(id))
        .with_attribute(UserName::new(username).expect("hexadecimal text is a user name"));
    if size == Size::Padded {
        builder = builder.with_attribute(Padding::new("0".repeat(padding)).expect("shorter than 64 kB"));
    }
    encode(&sealed(builder, key))
}

/// A request without padding that asks the other side to send on this path from now on (USE-CANDIDATE, RFC 8445 §7.1.2).
///
/// # Panics
/// Never, as [`request`].
#[must_use]
pub fn nomination(key: &Key, id: TransactionId) -> Vec<u8> {
    let username = UserName::new(key.username(key.side)).expect("hexadecimal text is a user name");
    let builder = StunMessageBuilder::new(BINDING, MessageClass::Request)
        .with_transaction_id(StunTransactionId::from(id))
        .with_attribute(username)
        .with_attribute(UseCandidate::default());
    encode(&sealed(builder, key))
}

/// Whether `datagram` is a [`nomination`] that the other side made under `key`.
#[must_use]
pub fn is_nomination(key: &Key, datagram: &[u8]) -> bool {
    decode(key, datagram, MessageClass::Request)
        .is_some_and(|message| message.get::<UseCandidate>().is_some())
}

/// A packet for the NATs on the way alone (RFC 8445 §11): nobody looks at it or answers it.
#[must_use]
pub fn indication(id: TransactionId) -> Vec<u8> {
    let mut bytes = super::binding::request(id).to_vec();
    bytes[..2].copy_from_slice(&INDICATION);
    bytes
}

/// The answer to a request that came from `source`.
#[must_use]
pub fn response(key: &Key, id: TransactionId, source: SocketAddr) -> Vec<u8> {
    let builder = StunMessageBuilder::new(BINDING, MessageClass::SuccessResponse)
        .with_transaction_id(StunTransactionId::from(id))
        .with_attribute(XorMappedAddress::from(source));
    encode(&sealed(builder, key))
}

fn sealed(builder: StunMessageBuilder, key: &Key) -> StunMessage {
    builder
        .with_attribute(MessageIntegritySha256::new(key.hmac.clone()))
        .with_attribute(Fingerprint::default())
        .build()
}

fn encode(message: &StunMessage) -> Vec<u8> {
    let mut bytes = vec![0; MAX_LEN];
    let len = MessageEncoderBuilder::default()
        .build()
        .encode(&mut bytes, message)
        .expect("our own bounded message fits the buffer");
    bytes.truncate(len);
    bytes
}

/// What a datagram claims to be, before any key was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A request under the named key.
    Request(KeyName, TransactionId),
    /// A response to the transaction.
    Response(TransactionId),
}

/// Binding request, indication and success response, RFC 8489 §5.
const REQUEST: [u8; 2] = [0x00, 0x01];
const INDICATION: [u8; 2] = [0x00, 0x11];
const RESPONSE: [u8; 2] = [0x01, 0x01];
const USERNAME: [u8; 2] = [0x00, 0x06];

/// Reads what `datagram` claims to be; `None` if it is no check of ours.
#[must_use]
pub fn claim(datagram: &[u8]) -> Option<Claim> {
    if datagram.len() > MAX_LEN {
        return None;
    }
    let (header, attributes) = datagram.split_first_chunk::<20>()?;
    let id = header[8..].try_into().ok()?;
    match [header[0], header[1]] {
        RESPONSE => Some(Claim::Response(id)),
        REQUEST => {
            // USERNAME is the first attribute of every request that `request` makes.
            let username = attributes.strip_prefix(&USERNAME)?.strip_prefix(&[0, 18])?.get(..16)?;
            let name = std::str::from_utf8(username).ok()?;
            Some(Claim::Request(KeyName(u64::from_str_radix(name, 16).ok()?), id))
        }
        _ => None,
    }
}

/// Whether `datagram` is a request that the other side made under `key`.
#[must_use]
pub fn verify_request(key: &Key, datagram: &[u8]) -> bool {
    decode(key, datagram, MessageClass::Request).is_some_and(|message| {
        message
            .get::<UserName>()
            .and_then(|attribute| attribute.as_user_name().ok())
            .is_some_and(|name| name.as_str() == key.username(key.side.other()))
    })
}

/// The address at which the other side saw us, if `datagram` is a response made under `key`.
#[must_use]
pub fn verify_response(key: &Key, datagram: &[u8]) -> Option<SocketAddr> {
    let message = decode(key, datagram, MessageClass::SuccessResponse)?;
    Some(*message.get::<XorMappedAddress>()?.as_xor_mapped_address().ok()?.socket_address())
}

/// Decodes and validates. The library accepts messages that lack the integrity attribute and leaves trailing
/// bytes alone; here both are refused.
fn decode(key: &Key, datagram: &[u8], class: MessageClass) -> Option<StunMessage> {
    let context = DecoderContextBuilder::default().with_key(key.hmac.clone()).with_validation().build();
    let (message, len) =
        MessageDecoderBuilder::default().with_context(context).build().decode(datagram).ok()?;
    let sound = len == datagram.len()
        && message.method() == BINDING
        && message.class() == class
        && message.get::<MessageIntegritySha256>().is_some()
        && message.get::<Fingerprint>().is_some();
    sound.then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> (Key, Key) {
        let key = |side| Key::new(KeyName(0xabc), side, &[9; KEY_LEN]);
        (key(Side::Dialer), key(Side::Acceptor))
    }

    #[test]
    fn a_check_passes_from_one_side_to_the_other() {
        let (dialer, acceptor) = keys();
        let bytes = request(&dialer, [1; 12], Size::Padded);
        assert_eq!(bytes.len(), PADDED_LEN);
        assert_eq!(claim(&bytes), Some(Claim::Request(KeyName(0xabc), [1; 12])));
        assert!(verify_request(&acceptor, &bytes));
        assert!(!verify_request(&dialer, &bytes), "a reflected request is not the other side's");

        let source = "[2001:db8::1]:4000".parse().unwrap();
        let answer = response(&acceptor, [1; 12], source);
        assert_eq!(claim(&answer), Some(Claim::Response([1; 12])));
        assert_eq!(verify_response(&dialer, &answer), Some(source));
    }

    #[test]
    fn tampering_shows() {
        let (dialer, acceptor) = keys();
        let good = request(&dialer, [1; 12], Size::Bare);
        assert!(verify_request(&acceptor, &good));
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(!verify_request(&acceptor, &bad), "byte {i}");
        }
        let mut trailing = good.clone();
        trailing.extend_from_slice(&[0; 4]);
        assert!(!verify_request(&acceptor, &trailing));
        let other = Key::new(KeyName(0xabc), Side::Acceptor, &[8; KEY_LEN]);
        assert!(!verify_request(&other, &good));
    }

    #[test]
    fn a_request_without_integrity_is_refused() {
        let (dialer, acceptor) = keys();
        let bare = StunMessageBuilder::new(BINDING, MessageClass::Request)
            .with_attribute(UserName::new(dialer.username(Side::Dialer)).unwrap())
            .with_attribute(Fingerprint::default())
            .build();
        assert!(!verify_request(&acceptor, &encode(&bare)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (dialer, _) = keys();
            let _ = claim(&bytes);
            let _ = verify_request(&dialer, &bytes);
            let _ = verify_response(&dialer, &bytes);
        }
    }
}
