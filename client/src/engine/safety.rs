//! A number by which two people compare their keys, today or in a year (`docs/protocol.md` §6.6). Pure.
//!
//! The words of a session prove that nobody stands in the middle of this session while both wait; the number stays the
//! same, and is too long for two others to be made that agree in it.

use common::identity::PeerId;

/// Groups of five digits: 199 bits.
const GROUPS: usize = 12;
const DIGITS: usize = 5;
/// What stands before the number in a QR code.
const SCHEME: &str = "hobnob-verify:";

/// The same for both, whoever asks: sixty digits in groups of five.
#[must_use]
pub fn safety_number(a: PeerId, b: PeerId) -> String {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut hasher = blake3::Hasher::new_derive_key("hobnob safety number v1");
    hasher.update(low.as_bytes()).update(high.as_bytes());
    let mut bytes = [0; 8 * GROUPS];
    hasher.finalize_xof().fill(&mut bytes);
    // Eight bytes for five digits: no group is likelier than another by more than 2^-47.
    let group = |bytes: &[u8; 8]| format!("{:05}", u64::from_be_bytes(*bytes) % 100_000);
    let (groups, _) = bytes.as_chunks::<8>();
    groups.iter().map(group).collect::<Vec<_>>().join(" ")
}

/// What a QR code of the number holds.
#[must_use]
pub fn safety_code(number: &str) -> String {
    format!("{SCHEME}{}", digits(number))
}

/// Whether `shown`, as it was typed or scanned on the other side, is the number; `None` if it is no such number at all.
#[must_use]
pub fn is_safety_number(number: &str, shown: &str) -> Option<bool> {
    let shown = shown.trim().strip_prefix(SCHEME).unwrap_or(shown);
    let is_number = shown.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || c == '-');
    let shown = digits(shown);
    (is_number && shown.len() == GROUPS * DIGITS).then(|| shown == digits(number))
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::identity::Identity;

    #[test]
    fn both_sides_see_the_same_number_and_no_other_pair_does() {
        let [a, b, c] = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]).peer_id());
        let number = safety_number(a, b);
        assert_eq!(number, safety_number(b, a));
        assert_ne!(number, safety_number(a, c));
        assert!(number.len() == 71 && number.split(' ').all(|group| group.len() == 5), "{number}");
        for shown in [number.clone(), number.replace(' ', ""), number.replace(' ', "-"), safety_code(&number)]
        {
            assert_eq!(is_safety_number(&number, &shown), Some(true), "{shown}");
        }
        assert_eq!(is_safety_number(&number, &safety_number(a, c)), Some(false));
        for nonsense in ["", "yes", &number[..65], &format!("{number} 1"), "hobnob-verify:"] {
            assert_eq!(is_safety_number(&number, nonsense), None, "{nonsense}");
        }
    }
}
