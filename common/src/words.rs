//! Words that two people read to each other to know that nobody stands between them.

use bip39::Language;

/// How many words stand for one session: 66 bits.
///
/// They come from the TLS exporter of the running session (`docs/protocol.md` §6.1), so somebody in the middle
/// would have to find two handshakes that agree in all of them while both people wait.
pub const COUNT: usize = 6;

/// Bits that one word of a list of 2,048 carries.
const BITS: usize = 11;

/// Length in bytes of the secret that [`from_secret`] turns into words.
pub const SECRET_LEN: usize = 16;

/// The words for a session, from [`SECRET_LEN`] bytes that only its two ends know.
#[must_use]
pub fn from_secret(secret: &[u8; SECRET_LEN]) -> [&'static str; COUNT] {
    let list = Language::English.word_list();
    let bits = u128::from_be_bytes(*secret);
    std::array::from_fn(|i| {
        let index = (bits >> (128 - BITS * (i + 1))) & 0x7ff;
        list[usize::try_from(index).expect("eleven bits fit a usize")]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_that_counts_changes_a_word() {
        let zero = from_secret(&[0; SECRET_LEN]);
        assert_eq!(zero, ["abandon"; COUNT]);
        for bit in 0..BITS * COUNT {
            let mut secret = [0; SECRET_LEN];
            secret[bit / 8] |= 0x80 >> (bit % 8);
            assert_ne!(from_secret(&secret), zero, "bit {bit}");
        }
    }
}
