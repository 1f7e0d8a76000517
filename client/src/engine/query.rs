//! The language in which people search. Pure.
//!
//! ```text
//! river boat           both words
//! riv*                 words that begin so
//! "slow river"         words that follow each other
//! from:anna in:club    by whom, in which conversation; several of a kind are alternatives
//! after:2026-11-21     that day or later; also 2026-11, 2026, today, yesterday, 3d, 2w, 12h
//! before:yesterday     before that day
//! ```
//!
//! Anything else is a word; nothing is an error of syntax. Names are looked up by whoever knows them.

use crate::date::{DAY_MS, Date};
use crate::store::Term;

/// Longest query in bytes.
pub const MAX_QUERY_LEN: usize = 1024;
/// Words, phrases and conditions that one query may have.
pub const MAX_PARTS: usize = 32;
const HOUR_MS: u64 = 3_600_000;

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Words and phrases, all of which must be there.
    pub terms: Vec<Term>,
    /// Names of people of whom one is the author.
    pub from: Vec<String>,
    /// Names of people or rooms of which one is the conversation.
    pub within: Vec<String>,
    /// Not before this moment, in Unix time in milliseconds.
    pub from_ms: Option<u64>,
    /// Before this moment.
    pub until_ms: Option<u64>,
}

/// Why a query cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nothing is looked for.
    #[error("say what to search for: words, \"a phrase\", from:NAME, in:NAME, after:DATE, before:DATE")]
    Empty,
    /// It is too long or has too many parts.
    #[error("a search has at most {MAX_QUERY_LEN} bytes and {MAX_PARTS} words")]
    TooLong,
    /// A date that is none.
    #[error("{0:?} is no date; write 2026-11-21, 2026-11, today, yesterday, 3d, 2w or 12h")]
    Date(String),
}

impl Query {
    /// Reads what was typed at `now_ms`, Unix time in milliseconds.
    ///
    /// # Errors
    /// [`QueryError`], never for the syntax.
    pub fn parse(text: &str, now_ms: u64) -> Result<Self, QueryError> {
        if text.len() > MAX_QUERY_LEN {
            return Err(QueryError::TooLong);
        }
        let (mut query, mut rest) = (Self::default(), text.trim_start());
        for _ in 0..MAX_PARTS {
            if rest.is_empty() {
                return if query == Self::default() { Err(QueryError::Empty) } else { Ok(query) };
            }
            rest = query.take_part(rest, now_ms)?.trim_start();
        }
        if rest.is_empty() { Ok(query) } else { Err(QueryError::TooLong) }
    }

    /// Takes one part from the beginning of `text`; returns what follows it.
    fn take_part<'a>(&mut self, text: &'a str, now_ms: u64) -> Result<&'a str, QueryError> {
        if let Some((key, value)) = text.split_once(':') {
            let key = key.to_ascii_lowercase();
            if ["from", "in", "after", "before"].contains(&key.as_str())
                && !value.starts_with(char::is_whitespace)
            {
                let (value, rest) = take_value(value);
                match key.as_str() {
                    "from" => self.from.push(value.to_owned()),
                    "in" => self.within.push(value.to_owned()),
                    // Of several, the one that leaves least.
                    "after" => self.from_ms = self.from_ms.max(Some(moment(value, now_ms)?)),
                    _ => {
                        let until = moment(value, now_ms)?;
                        self.until_ms = Some(self.until_ms.map_or(until, |earlier| earlier.min(until)));
                    }
                }
                return Ok(rest);
            }
        }
        let (words, rest) = take_value(text);
        let (words, inner_star) = words.strip_suffix('*').map_or((words, false), |words| (words, true));
        let (rest, outer_star) = rest.strip_prefix('*').map_or((rest, false), |rest| (rest, true));
        let words = words.replace(char::is_control, " ");
        if words.chars().any(char::is_alphanumeric) {
            // One letter begins too many words for its prefix to be worth anything; a CJK character is a word.
            let is_letter = words.len() == 1;
            self.terms.push(Term { words, is_prefix: (inner_star || outer_star) && !is_letter });
        }
        Ok(rest)
    }
}

/// A word, or what is in quotation marks; an open one ends with the text.
fn take_value(text: &str) -> (&str, &str) {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => text.split_at(text.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(text.len())),
    }
}

/// The moment that a date means.
fn moment(text: &str, now_ms: u64) -> Result<u64, QueryError> {
    let today = Date::of(now_ms).start_ms();
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "h" => HOUR_MS,
            "d" => DAY_MS,
            "w" => 7 * DAY_MS,
            _ => return None,
        };
        let number: u64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
        Some(now_ms.saturating_sub(number.saturating_mul(unit)))
    };
    let found = match text.to_ascii_lowercase().as_str() {
        "today" => Some(today),
        "yesterday" => Some(today.saturating_sub(DAY_MS)),
        _ => Date::parse(text).map(Date::start_ms).or_else(ago),
    };
    found.ok_or_else(|| QueryError::Date(common::text::one_line(text, 40)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-21 12:00.
    const NOW: u64 = 1_795_262_400_000;

    fn parse(text: &str) -> Query {
        Query::parse(text, NOW).unwrap()
    }

    fn term(words: &str, is_prefix: bool) -> Term {
        Term { words: words.to_owned(), is_prefix }
    }

    #[test]
    fn words_phrases_and_prefixes() {
        let query = parse(" slow  riv* \"two words\" \"and three\"* un\"closed quote");
        let terms = [
            term("slow", false),
            term("riv", true),
            term("two words", false),
            term("and three", true),
            term("un", false),
            term("closed quote", false),
        ];
        assert_eq!(query.terms, terms);
        assert_eq!(parse("a* 日*").terms, [term("a", false), term("日", true)]);
        assert_eq!(parse("http://x.org/").terms, [term("http://x.org/", false)]);
        assert_eq!(parse("\"from:x\"").terms, [term("from:x", false)]);
        assert_eq!(parse("x !! ** \"\"").terms, [term("x", false)]);
    }

    #[test]
    fn conditions() {
        let query = parse("FROM:anna from:\"Bert M\" in:club after:3d before:2026-11-21");
        assert_eq!(
            (query.from, query.within),
            (vec!["anna".to_owned(), "Bert M".to_owned()], vec!["club".to_owned()])
        );
        assert_eq!(query.from_ms, Some(NOW - 3 * DAY_MS));
        assert_eq!(query.until_ms, Some(NOW - DAY_MS / 2));
        assert_eq!(parse("after:yesterday").from_ms, Some(NOW - DAY_MS * 3 / 2));
        assert_eq!(parse("after:2w after:12h after:2020").from_ms, Some(NOW - DAY_MS / 2));
        assert_eq!(parse("before:today before:2000-01").until_ms, Some(946_684_800_000));
        assert_eq!(parse("after:99999999999999d").from_ms, Some(0));
        for wrong in ["after:", "before:soon", "after:3x", "after:d", "before:-3d", "after:\u{1b}", "after:é"]
        {
            assert!(matches!(Query::parse(wrong, NOW), Err(QueryError::Date(_))), "{wrong}");
        }
        assert_eq!(parse("after: x").terms, [term("after:", false), term("x", false)]);
    }

    #[test]
    fn bounds_are_kept() {
        assert_eq!(Query::parse(" ", NOW), Err(QueryError::Empty));
        assert_eq!(Query::parse("* \"", NOW), Err(QueryError::Empty));
        assert_eq!(Query::parse(&"x".repeat(MAX_QUERY_LEN + 1), NOW), Err(QueryError::TooLong));
        assert_eq!(Query::parse(&"x ".repeat(MAX_PARTS + 1), NOW), Err(QueryError::TooLong));
        assert!(Query::parse(&"x ".repeat(MAX_PARTS), NOW).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_is_an_error_of_syntax(text in "(.{0,20}|[a-z:\"* ]{0,9}|from:|after:|3d|\"){0,20}", now in 0..1_u64 << 48) {
            let parsed = Query::parse(&text, now);
            if let Ok(query) = &parsed {
                prop_assert!(query.terms.iter().all(|term| !term.words.contains(char::is_control)));
            }
        }
    }
}
