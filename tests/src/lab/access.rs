//! How a home reaches the internet: the chain of NATs in front of it.

use anyhow::{Context as _, Result};

use crate::nat::Profile;

/// The NAT at home when the carrier has one too.
const HOME_BEHIND_CARRIER: &str = "eim_apdf_preserving";
/// The carrier's NAT.
const CARRIER: &str = "cgnat";
/// No NAT at all.
const PUBLIC: &str = "public";
/// The kinds between which every pair must go direct.
pub const EASY: [&str; 6] =
    [PUBLIC, "full_cone", "eim_adf", "eim_apdf_preserving", "eim_apdf_random", CARRIER];

/// The NATs between a home and the core, from the home outwards.
#[derive(Debug, Clone)]
pub struct Access {
    /// What it was asked for as.
    pub name: String,
    /// The NATs; none for a public address.
    pub chain: Vec<Profile>,
}

impl Access {
    /// `public`, a NAT profile, `cgnat` (a home NAT behind the carrier's), or profiles joined by `+` from the
    /// home outwards.
    ///
    /// # Errors
    /// When a profile is not known.
    pub fn by_name(name: &str) -> Result<Self> {
        let parts: Vec<&str> = match name {
            PUBLIC => Vec::new(),
            CARRIER => vec![HOME_BEHIND_CARRIER, CARRIER],
            chain => chain.split('+').collect(),
        };
        let chain: Result<Vec<Profile>> = parts.into_iter().map(profile).collect();
        Ok(Self { name: name.to_owned(), chain: chain? })
    }
}

/// All names of a single kind, for help texts.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names = vec![PUBLIC.to_owned()];
    names.extend(Profile::all().iter().map(|profile| profile.name.to_owned()));
    names
}

fn profile(name: &str) -> Result<Profile> {
    let known = || format!("no NAT profile is called `{name}`; there are {}", names().join(", "));
    Profile::by_name(name).with_context(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_easy_kind_is_known() {
        for name in EASY {
            Access::by_name(name).unwrap();
        }
        assert!(Access::by_name("public").unwrap().chain.is_empty());
        assert_eq!(Access::by_name("cgnat").unwrap().chain.len(), 2);
        assert_eq!(Access::by_name("eim_adf+symmetric_random").unwrap().chain.len(), 2);
        assert!(Access::by_name("magic").is_err());
    }
}
