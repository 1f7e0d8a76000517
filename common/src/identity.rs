//! Who somebody is: an Ed25519 key pair, and its public half, the [`PeerId`].
//!
//! Signatures are judged by the rules of ZIP 215, which RFC 8032 allows: they leave nothing open, and one alone comes to the same verdict
//! as many together (`docs/protocol.md` §1). Otherwise the members of a room could differ over what belongs to it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use curve25519_dalek::edwards::CompressedEdwardsY;
use data_encoding::BASE32_NOPAD;
use ed25519_zebra::{Signature, SigningKey, VerificationKey, VerificationKeyBytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

/// DER prefix of an Ed25519 `SubjectPublicKeyInfo` (RFC 8410 §4); the 32 bytes of the key follow.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER prefix of an Ed25519 PKCS #8 v1 private key (RFC 8410 §7); the 32 bytes of the seed follow.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

mod batch;

pub use batch::{Signed, verify_each};

/// Length of a signature in bytes (RFC 8032 §5.1.6).
pub const SIGNATURE_LEN: usize = 64;

/// The public key of a peer or a server: its name on the wire and the root of all trust in it.
///
/// Written as 52 lower-case base32 characters, which also fits a DNS label (`docs/protocol.md` §1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(#[serde(with = "serde_bytes")] [u8; 32]);

impl PeerId {
    /// Takes the 32 bytes of an Ed25519 public key as they are; whether they are a point on the curve shows
    /// when a signature is checked.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in a `SubjectPublicKeyInfo` of 44 bytes, as raw public keys travel in TLS (RFC 7250).
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.0].concat()
    }

    /// Reads the key out of a `SubjectPublicKeyInfo`; `None` if it holds anything but an Ed25519 key.
    #[must_use]
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&SPKI_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }

    /// Whether `signature` over `message` was made by the owner of this key (ZIP 215).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        let key = VerificationKey::try_from(VerificationKeyBytes::from(self.0));
        key.is_ok_and(|key| key.verify(&Signature::from(*signature), message).is_ok())
    }

    /// The first eight characters: enough to tell people apart on a screen, never enough to trust.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.short())
    }
}

/// A text that is not a [`PeerId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key: a key is 52 letters a-z and digits 2-7")]
pub struct ParsePeerIdError(String);

impl FromStr for PeerId {
    type Err = ParsePeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| ParsePeerIdError(text.chars().take(80).collect()))
    }
}

/// An Ed25519 key pair. It is never printed, and the seed is wiped from memory on drop.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    /// Kept, since deriving it costs as much as signing.
    key: Arc<Zeroizing<SigningKey>>,
    peer_id: PeerId,
}

impl Identity {
    /// The identity that a 32-byte secret seed stands for (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = Zeroizing::new(SigningKey::from(seed));
        let peer_id = PeerId(VerificationKeyBytes::from(&*key).into());
        Self { seed: Zeroizing::new(seed), key: Arc::new(key), peer_id }
    }

    /// The public half.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The secret seed, for the key file only.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Signs `message` (RFC 8032 §5.1.6).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.key.sign(message).to_bytes()
    }

    /// A secret that only this identity and the owner of `peer` can work out, each out of their own private key: X25519
    /// (RFC 7748 §6.1) with both keys in Montgomery form (RFC 7748 §4.1). It stays the same for ever, so that it must be hashed
    /// with a context for each use. `None` if `peer` is no key, or one that agrees on the same secret with everybody.
    #[must_use]
    pub fn agree(&self, peer: PeerId) -> Option<Zeroizing<[u8; 32]>> {
        // RFC 8032 §5.1.5: the private scalar is the first half of the seed's hash, clamped.
        let hash = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(self.seed.as_slice())));
        let scalar = Zeroizing::new(*hash.first_chunk::<32>()?);
        let public = CompressedEdwardsY(peer.0).decompress()?.to_montgomery();
        let secret = Zeroizing::new(public.mul_clamped(*scalar).to_bytes());
        (*secret != [0; 32]).then_some(secret)
    }

    /// The private key as PKCS #8 DER, as the TLS library wants it.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([PKCS8_PREFIX.as_slice(), self.seed.as_slice()].concat())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, TEST 2.
    #[test]
    fn signs_like_the_rfc() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let identity = Identity::from_seed(seed.try_into().unwrap());
        assert_eq!(
            identity.peer_id().as_bytes().as_slice(),
            hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        );
        let signature = identity.sign(&[0x72]);
        assert_eq!(&signature[..8], hex("92a009a9f0d4cab8").as_slice());
        assert!(identity.peer_id().verify(&[0x72], &signature));
        assert!(!identity.peer_id().verify(&[0x73], &signature));
    }

    #[test]
    fn text_and_spki_come_back() {
        let id = Identity::from_seed([7; 32]).peer_id();
        assert_eq!(id.to_string().len(), 52);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(PeerId::from_spki(&id.to_spki()), Some(id));
        assert_eq!(PeerId::from_spki(&id.to_spki()[1..]), None);
        assert!("not a key".parse::<PeerId>().is_err());
    }

    #[test]
    fn two_agree_on_a_secret_that_a_third_has_not() {
        let [a, b, c] = [1, 2, 3].map(|n| Identity::from_seed([n; 32]));
        let secret = a.agree(b.peer_id()).unwrap();
        assert_eq!(b.agree(a.peer_id()).unwrap(), secret);
        assert_ne!(c.agree(a.peer_id()).unwrap(), secret);
        assert_ne!(c.agree(b.peer_id()).unwrap(), secret);
        assert_eq!(a.agree(PeerId::from_bytes([2; 32])), None, "no point of the curve");
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(a.agree(PeerId::from_bytes(neutral)), None, "RFC 7748 §6.1: nobody's own");
    }

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }
}
