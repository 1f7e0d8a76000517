//! Many signatures at once, for a third of what they cost one by one.

use ed25519_zebra::batch::{Item, Verifier};
use ed25519_zebra::{Signature, VerificationKeyBytes};
use rand_core::{CryptoRng, RngCore};

use super::{PeerId, SIGNATURE_LEN};

/// Something that somebody is said to have signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Who.
    pub by: PeerId,
    /// What.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8; SIGNATURE_LEN],
}

impl Signed<'_> {
    fn item(&self) -> Item {
        let key = VerificationKeyBytes::from(*self.by.as_bytes());
        (key, Signature::from(*self.signature), self.message).into()
    }
}

/// Whether each of these was signed by who is said to have signed it: the verdicts of [`PeerId::verify`], in the order of `all`.
#[must_use]
pub fn verify_each(all: &[Signed<'_>]) -> Vec<bool> {
    let items: Vec<Item> = all.iter().map(Signed::item).collect();
    if items.len() > 1 && are_all_right(&items, Coefficients::of(all)) {
        return vec![true; items.len()];
    }
    items.into_iter().map(|item| item.verify_single().is_ok()).collect()
}

fn are_all_right(items: &[Item], coefficients: Coefficients) -> bool {
    let mut verifier = Verifier::new();
    for item in items {
        verifier.queue(item.clone());
    }
    verifier.verify(coefficients).is_ok()
}

/// What each signature is multiplied with before all are added up. They hang on everything that is verified, so that nobody can
/// choose signatures that are wrong and cancel each other out.
struct Coefficients(blake3::OutputReader);

impl Coefficients {
    fn of(all: &[Signed<'_>]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("hobnob batch of signatures");
        for Signed { by, message, signature } in all {
            hasher.update(by.as_bytes()).update(*signature);
            hasher.update(&(message.len() as u64).to_be_bytes()).update(message);
        }
        Self(hasher.finalize_xof())
    }
}

impl RngCore for Coefficients {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Coefficients {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    /// A text and its signature.
    type Text<'a> = (&'a [u8], [u8; SIGNATURE_LEN]);

    /// A key that signed each of `texts`.
    fn signed<'a>(texts: &[&'a [u8]]) -> (PeerId, Vec<Text<'a>>) {
        let identity = Identity::from_seed([7; 32]);
        (identity.peer_id(), texts.iter().map(|text| (*text, identity.sign(text))).collect())
    }

    fn verdicts(by: PeerId, all: &[Text<'_>]) -> Vec<bool> {
        let all: Vec<_> = all.iter().map(|(message, signature)| Signed { by, message, signature }).collect();
        let each: Vec<_> = all.iter().map(|one| by.verify(one.message, one.signature)).collect();
        assert_eq!(verify_each(&all), each);
        each
    }

    #[test]
    fn right_ones_are_right_together() {
        let (by, all) = signed(&[b"one", b"two", b"three", b""]);
        assert_eq!(verdicts(by, &all), [true; 4]);
        assert_eq!(verdicts(by, &all[..1]), [true]);
        assert_eq!(verdicts(by, &[]), []);
    }

    #[test]
    fn a_wrong_one_is_found_among_right_ones() {
        let (by, mut all) = signed(&[b"one", b"two", b"three"]);
        all[1].0 = b"other";
        assert_eq!(verdicts(by, &all), [true, false, true]);
        // The scalar of a signature that is not below the group's order (RFC 8032 §5.1.7).
        all[1].0 = b"two";
        all[1].1[63] |= 0xe0;
        assert_eq!(verdicts(by, &all), [true, false, true]);
    }

    #[test]
    fn what_two_are_wrong_by_does_not_cancel_out() {
        let (by, mut all) = signed(&[b"one", b"two"]);
        // One more and one less: their sum is what it was.
        add(&mut all[0].1, 1);
        add(&mut all[1].1, -1);
        assert_eq!(verdicts(by, &all), [false, false]);
    }

    /// Adds to the lowest byte of the scalar.
    fn add(signature: &mut [u8; SIGNATURE_LEN], by: i8) {
        signature[32] = signature[32].checked_add_signed(by).expect("this signature's lowest byte has room");
    }

    /// Points of small order pass as key and as commitment (ZIP 215), whatever was signed; one alone and together.
    #[test]
    fn what_standards_leave_open_is_the_same_alone_and_together() {
        let mut point = [0; 32];
        // (0, 1), written as y = 1 with the sign bit set, and a point of order four, y = 0.
        for (first, last) in [(1, 0x80), (0, 0), (1, 0)] {
            (point[0], point[31]) = (first, last);
            let mut signature = [0; SIGNATURE_LEN];
            signature[..32].copy_from_slice(&point);
            let by = PeerId::from_bytes(point);
            assert_eq!(verdicts(by, &[(b"a", signature), (b"b", signature)]), [true, true]);
        }
    }
}
