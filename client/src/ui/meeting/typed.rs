//! Wishes as they are typed.

use std::time::Duration;

use super::{Proof, Wish};
use crate::engine::LINK_LIFETIME;

/// A wish, if `name` is a command for one: `Some(None)` if its arguments are none. `rest` is what stands behind it.
pub(in crate::ui) fn parse(name: &str, rest: &str) -> Option<Option<Wish>> {
    let rest = rest.trim();
    let alone = |wish| rest.is_empty().then_some(wish);
    Some(match name {
        "link" => link(rest),
        "links" => alone(Wish::Links),
        "revoke" => (!rest.is_empty()).then(|| Wish::Revoke { id: rest.to_owned() }),
        "join" if is_link(rest) => Some(Wish::Follow { link: rest.to_owned() }),
        "verify" => verify(rest),
        "find" => Some(find(rest)),
        "register" => register(rest),
        "unregister" => (!rest.is_empty()).then(|| Wish::DropName { name: rest.to_owned() }),
        _ => return None,
    })
}

/// Whether what was typed is meant to be a link, whole or not.
pub(in crate::ui) fn is_link(text: &str) -> bool {
    text.trim_start_matches(['<', ' ']).get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("hobnob:"))
}

/// For how many people, and for how long, in any order.
fn link(rest: &str) -> Option<Wish> {
    let (mut uses, mut time) = (None, None);
    for word in rest.split_whitespace() {
        match (word.parse(), lifetime(word)) {
            (Ok(number), _) if uses.is_none() => uses = Some(number),
            (Err(_), Ok(found)) if time.is_none() => time = Some(found),
            _ => return None,
        }
    }
    let lifetime_s = time.unwrap_or(LINK_LIFETIME).as_secs();
    Some(Wish::MakeLink { room: None, uses: uses.unwrap_or(1), lifetime_s })
}

/// A time such as `30m`, `12h`, `7d` or `4w`.
///
/// # Errors
/// A sentence for the user.
pub(in crate::ui) fn lifetime(text: &str) -> Result<Duration, String> {
    let found = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(number, unit)| {
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return None,
        };
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| number.parse::<u64>().ok()?.checked_mul(seconds)).flatten()
    });
    found.map(Duration::from_secs).ok_or_else(|| "write a time as 30m, 12h, 7d or 4w".to_owned())
}

/// A name, and `new` if its key is known to have changed.
fn find(rest: &str) -> Wish {
    match rest.rsplit_once(char::is_whitespace) {
        _ if rest.is_empty() => Wish::OwnNames,
        Some((name, "new")) => Wish::FindName { name: name.trim().to_owned(), anew: true },
        _ => Wish::FindName { name: rest.to_owned(), anew: false },
    }
}

/// A name, and whether it is listed.
fn register(rest: &str) -> Option<Wish> {
    let (name, listed) = match rest.rsplit_once(char::is_whitespace) {
        Some((name, "listed")) => (name.trim(), true),
        _ => (rest, false),
    };
    (!name.is_empty()).then(|| Wish::TakeName { name: name.to_owned(), listed })
}

/// Who, in quotes if the name has spaces, and what came of comparing.
fn verify(rest: &str) -> Option<Wish> {
    let (who, proof) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
    };
    let proof = proof.trim();
    (!who.is_empty()).then(|| Wish::Verify { who: who.to_owned(), proof: proof.into() })
}

impl From<&str> for Proof {
    /// `yes`, `no`, nothing, or the number.
    fn from(text: &str) -> Self {
        match text.to_lowercase().as_str() {
            "" => Self::None,
            "yes" | "y" => Self::Yes,
            "no" | "n" => Self::No,
            _ => Self::Number(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rest: &str) -> Option<(u32, u64)> {
        match parse("link", rest).unwrap() {
            Some(Wish::MakeLink { uses, lifetime_s, room: None }) => Some((uses, lifetime_s)),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }

    #[test]
    fn links_are_for_one_person_and_a_week_unless_told_otherwise() {
        assert_eq!(made(""), Some((1, 604_800)));
        assert_eq!(made("5"), Some((5, 604_800)));
        assert_eq!((made("12h 3"), made("3 12h")), (Some((3, 43_200)), Some((3, 43_200))));
        for wrong in ["x", "5 6", "1d 2d", "1 1d 1", "-1", "1y", "d", "999999999999999999999w"] {
            assert_eq!(made(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_link_is_told_from_a_room() {
        assert!(matches!(parse("join", " hobnob:x"), Some(Some(Wish::Follow { .. }))));
        assert!(matches!(parse("join", "<HOBNOB:x>"), Some(Some(Wish::Follow { .. }))));
        assert_eq!(parse("join", "hobnob"), None);
        assert_eq!(parse("join", "höbnob:"), None);
    }

    #[test]
    fn names_and_what_is_said_of_them() {
        let name = |name: &str| name.to_owned();
        assert_eq!(parse("find", ""), Some(Some(Wish::OwnNames)));
        assert_eq!(parse("find", "anna"), Some(Some(Wish::FindName { name: name("anna"), anew: false })));
        assert_eq!(parse("find", "anna new"), Some(Some(Wish::FindName { name: name("anna"), anew: true })));
        assert_eq!(
            parse("register", "a listed"),
            Some(Some(Wish::TakeName { name: name("a"), listed: true }))
        );
        assert_eq!(parse("register", "a"), Some(Some(Wish::TakeName { name: name("a"), listed: false })));
        assert_eq!((parse("register", ""), parse("unregister", "")), (Some(None), Some(None)));
    }

    #[test]
    fn what_came_of_comparing() {
        let verify = |rest: &str| parse("verify", rest).unwrap();
        let wish = |who: &str, proof| Some(Wish::Verify { who: who.to_owned(), proof });
        assert_eq!(verify("anna"), wish("anna", Proof::None));
        assert_eq!(verify("\"Anna M\" yes"), wish("Anna M", Proof::Yes));
        assert_eq!(verify("anna NO"), wish("anna", Proof::No));
        assert_eq!(verify("anna 12345 67890"), wish("anna", Proof::Number("12345 67890".to_owned())));
        assert_eq!(verify(""), None);
    }
}
