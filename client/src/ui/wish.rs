//! What a user wants of others, as it is typed: nobody is looked up yet. The command line sends it to the running client.

use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;
/// The longest that something can be muted with an end: a thousand weeks.
const MAX_SPAN_MS: u64 = 1000 * 7 * 24 * 60 * MINUTE_MS;

/// See the module. `peer` is a name, a key or its beginning; `whom` also a room, with or without `#`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Wish {
    Block { peer: String },
    Unblock { peer: String },
    Blocked,
    Mute { whom: String, span_ms: Option<u64> },
    Unmute { whom: String },
    Muted,
    Invisible { but: Vec<String> },
    Visible,
    Presence { peer: String, is_shown: bool },
    Set { name: String, value: String },
    Settings { name: Option<String> },
    Whois { peer: String },
}

impl Wish {
    /// What the command `name` with `rest` behind it wants; `None` if something is missing or wrong.
    pub(super) fn parse(name: &str, rest: &str) -> Option<Self> {
        let words = words(rest)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let own = |text: &str| text.to_owned();
        Some(match (name, words.as_slice()) {
            ("block", []) => Self::Blocked,
            ("block", name) => Self::Block { peer: name.join(" ") },
            ("unblock", [_, ..]) => Self::Unblock { peer: words.join(" ") },
            ("mute", []) => Self::Muted,
            ("mute", [name @ .., span]) if !name.is_empty() && span_ms(span).is_some() => {
                Self::Mute { whom: name.join(" "), span_ms: span_ms(span) }
            }
            ("mute", name) => Self::Mute { whom: name.join(" "), span_ms: None },
            ("unmute", [_, ..]) => Self::Unmute { whom: words.join(" ") },
            ("invisible", but) => Self::Invisible { but: but.iter().copied().map(own).collect() },
            ("visible", []) => Self::Visible,
            ("presence", [name @ .., state @ ("on" | "off")]) if !name.is_empty() => {
                Self::Presence { peer: name.join(" "), is_shown: *state == "on" }
            }
            ("presence", name @ [_, ..]) => Self::Presence { peer: name.join(" "), is_shown: true },
            ("set", []) => Self::Settings { name: None },
            ("set", [name]) => Self::Settings { name: Some(own(name)) },
            ("set", [name, value]) => Self::Set { name: own(name), value: own(value) },
            ("whois", [_, ..]) => Self::Whois { peer: words.join(" ") },
            _ => return None,
        })
    }
}

/// A time such as `30m`, `2h`, `3d` or `1w`, in milliseconds.
pub(super) fn span_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE_MS,
        "h" => 60 * MINUTE_MS,
        "d" => 24 * 60 * MINUTE_MS,
        "w" => 7 * 24 * 60 * MINUTE_MS,
        _ => return None,
    };
    let number: u64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    number.checked_mul(unit).filter(|span| (1..=MAX_SPAN_MS).contains(span))
}

/// Words, of which those in quotation marks may have spaces; `None` if one is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_spaces_and_times_come_last() {
        let parse = |line: &str| {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            Wish::parse(name, rest)
        };
        let mute = |whom: &str, span_ms| Some(Wish::Mute { whom: whom.to_owned(), span_ms });
        assert_eq!(parse("mute anna m 2h"), mute("anna m", Some(120 * MINUTE_MS)));
        assert_eq!(parse("mute \"#tea time\""), mute("#tea time", None));
        assert_eq!(parse("mute 2h"), mute("2h", None), "somebody may be called so");
        assert_eq!(parse("block \"Anna M\""), Some(Wish::Block { peer: "Anna M".to_owned() }));
        let but = vec!["Anna M".to_owned(), "bert".to_owned()];
        assert_eq!(parse("invisible \"Anna M\" bert"), Some(Wish::Invisible { but }));
        assert_eq!(
            parse("presence anna m off"),
            Some(Wish::Presence { peer: "anna m".to_owned(), is_shown: false })
        );
        for wrong in ["unblock", "unmute", "visible x", "presence", "set a b c", "whois"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse("presence off"), Some(Wish::Presence { peer: "off".to_owned(), is_shown: true }));
        assert_eq!(parse("block \"anna"), None);
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(span_ms("1w"), Some(604_800_000));
        for wrong in ["", "h", "0h", "-1h", "+1h", "1y", "99999999999999999999h", "1001w", "1é"] {
            assert_eq!(span_ms(wrong), None, "{wrong}");
        }
    }
}
