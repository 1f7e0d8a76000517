//! How a home reaches the internet: the chain of NATs in front of it.

use anyhow::{Context as _, Result};

use crate::nat::Profile;

/// The NAT at home when the carrier has one too.
const HOME_BEHIND_CARRIER: &str = "eim_apdf_preserving";
/// The carrier's NAT.
const CARRIER: &str = "cgnat";
/// The common home NAT that lets UDP pass to the server alone.
pub const SERVER_UDP: &str = "server_udp";
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
    /// Where UDP may go.
    pub udp: Udp,
}

/// Where a home's UDP may go, as far as its NATs let it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Udp {
    /// Everywhere.
    Everywhere,
    /// To the server alone: peers cannot be reached by UDP, whatever they try.
    ServerOnly,
}

impl Access {
    /// `public`, a NAT profile, `cgnat` (a home NAT behind the carrier's), `server_udp`, or profiles joined by `+`
    /// from the home outwards.
    ///
    /// # Errors
    /// When a profile is not known.
    pub fn by_name(name: &str) -> Result<Self> {
        let parts: Vec<&str> = match name {
            PUBLIC => Vec::new(),
            CARRIER => vec![HOME_BEHIND_CARRIER, CARRIER],
            SERVER_UDP => vec![HOME_BEHIND_CARRIER],
            chain => chain.split('+').collect(),
        };
        let chain: Result<Vec<Profile>> = parts.into_iter().map(profile).collect();
        let udp = if name == SERVER_UDP { Udp::ServerOnly } else { Udp::Everywhere };
        Ok(Self { name: name.to_owned(), chain: chain?, udp })
    }
}

/// All names of a single kind, for help texts.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names = vec![PUBLIC.to_owned(), SERVER_UDP.to_owned()];
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
        assert_eq!(Access::by_name(SERVER_UDP).unwrap().udp, Udp::ServerOnly);
        assert_eq!(Access::by_name("cgnat").unwrap().chain.len(), 2);
        assert_eq!(Access::by_name("eim_adf+symmetric_random").unwrap().chain.len(), 2);
        assert!(Access::by_name("magic").is_err());
    }
}
