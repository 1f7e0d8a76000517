//! Names that people take on a server (`docs/protocol.md` §10). Pure.
//!
//! A name is compared in its normal form, and by its skeleton (UTS #39 §4): of names that look alike only one can be
//! taken.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;
use unicode_security::{RestrictionLevel, RestrictionLevelDetection};

/// Fewest characters of a name.
pub const MIN_CHARS: usize = 2;
/// Most characters of a name.
pub const MAX_CHARS: usize = 32;
/// Most bytes that are looked at.
pub const MAX_BYTES: usize = 4 * MAX_CHARS;
/// Signs that may stand within a name.
const SIGNS: &str = "-_.";

/// A name in its normal form: NFKC, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Its length.
    #[error("a name has {MIN_CHARS} to {MAX_CHARS} characters")]
    Length,
    /// Something in it is no letter and no digit.
    #[error("a name has letters and digits, and - _ . between them")]
    Character,
    /// It mixes scripts in a way that no language does.
    #[error("a name mixes no scripts: letters that look alike could make it pass for another")]
    Mixed,
}

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it looks like: the same for all names that can be taken for each other.
    #[must_use]
    pub fn likeness(&self) -> String {
        likeness(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_BYTES {
            return Err(NameError::Length);
        }
        let name = normal(text);
        if name.len() > MAX_BYTES || !(MIN_CHARS..=MAX_CHARS).contains(&name.chars().count()) {
            return Err(NameError::Length);
        }
        let is_edge = |c: Option<char>| c.is_some_and(|c| SIGNS.contains(c));
        if is_edge(name.chars().next()) || is_edge(name.chars().next_back()) {
            return Err(NameError::Character);
        }
        let letters: String = name.chars().filter(|c| !SIGNS.contains(*c)).collect();
        let is_allowed = |c: char| unicode_security::GeneralSecurityProfile::identifier_allowed(c);
        if !letters.chars().all(is_allowed) || !letters.chars().any(char::is_alphanumeric) {
            return Err(NameError::Character);
        }
        if letters.check_restriction_level(RestrictionLevel::HighlyRestrictive) {
            Ok(Self(name))
        } else {
            Err(NameError::Mixed)
        }
    }
}

/// `text` as names are compared; what is beyond [`MAX_BYTES`] characters is cut. Anything may be in it still.
#[must_use]
pub fn normal(text: &str) -> String {
    // Lower case can undo the composition.
    let lower: String = text.trim().chars().take(MAX_BYTES).nfkc().flat_map(char::to_lowercase).collect();
    lower.nfkc().collect()
}

/// What any text looks like to people: equal for texts that can be taken for each other.
#[must_use]
pub fn likeness(text: &str) -> String {
    let normal = normal(text);
    let skeleton: String = unicode_security::skeleton(&normal).flat_map(char::to_lowercase).collect();
    skeleton.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> String {
        text.parse::<Name>().unwrap().to_string()
    }

    #[test]
    fn one_name_has_one_form() {
        assert_eq!(name(" Anna "), "anna");
        assert_eq!(name("ＡＮＮＡ"), "anna");
        assert_eq!(name("Zoe\u{308}"), name("ZOË"));
        for good in ["a1", "jean-luc", "o_o", "анна", "あきら", "小林さん", "राम", "x.y", &"x".repeat(32)]
        {
            name(good);
        }
    }

    #[test]
    fn what_misleads_or_cannot_be_typed_is_no_name() {
        let wrong = |text: &str| text.parse::<Name>().unwrap_err();
        for long in ["", "a", " b ", &"x".repeat(33), &"x".repeat(5000), "\u{fdfa}\u{fdfa}"] {
            assert_eq!(wrong(long), NameError::Length, "{long}");
        }
        for odd in
            ["a b", "-ab", "ab.", "a@b", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}b", "👩👩", "__", "a/b", "a#b"]
        {
            assert_eq!(wrong(odd), NameError::Character, "{odd}");
        }
        assert_eq!(wrong("аnna"), NameError::Mixed, "the first letter is Cyrillic");
    }

    #[test]
    fn names_that_look_alike_are_alike() {
        for (a, b) in [
            ("paypal", "paypa1"),
            ("сосо", "coco"),
            ("modern", "modem"),
            ("Ann a", "ann  A"),
            ("0slo", "Oslo"),
        ] {
            assert_eq!(likeness(a), likeness(b), "{a} {b}");
        }
        assert_ne!(likeness("anna"), likeness("anne"));
    }

    proptest! {
        #[test]
        fn the_normal_form_of_a_name_is_itself(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.as_str().parse::<Name>(), Ok(name.clone()));
                prop_assert!(name.as_str().len() <= MAX_BYTES);
            }
        }
    }
}
