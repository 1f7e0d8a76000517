//! How a home reaches the internet: the chain of NATs in front of it, its address families, and what is forbidden.

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
/// A NAT that counts, with twenty flows a second of other people.
const NOISY: &str = "symmetric_sequential_noisy";
/// Nothing but an HTTP proxy, which connects to port 443 alone.
const PROXY_ONLY: &str = "proxy_only";
/// The kinds between which every pair must go direct.
pub const EASY: [&str; 6] =
    [PUBLIC, "full_cone", "eim_adf", "eim_apdf_preserving", "eim_apdf_random", CARRIER];
/// The kinds of the whole matrix, from the easiest to the hardest.
pub const ALL: [&str; 15] = [
    PUBLIC,
    "full_cone",
    "eim_adf",
    "eim_apdf_preserving",
    "eim_apdf_random",
    "linux",
    CARRIER,
    "adm_apdf",
    "symmetric_sequential",
    NOISY,
    "symmetric_block",
    "symmetric_random",
    "udp_blocked",
    "web_only",
    PROXY_ONLY,
];
/// Pairs of the whole matrix that are no pairs of kinds: places that two share, and IPv6.
pub const PLACES: [(&str, &str); 9] = [
    ("same_lan", "same_lan"),
    ("same_nat_hairpin", "same_nat_hairpin"),
    ("same_nat", "same_nat"),
    ("same_carrier_hairpin", "same_carrier_hairpin"),
    ("same_carrier", "same_carrier"),
    ("ipv6", "ipv6"),
    ("ipv6", "dual_stack"),
    ("dual_stack", "dual_stack"),
    ("ipv6", "eim_apdf_preserving"),
];

/// How a home is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What it was asked for as.
    pub name: String,
    /// Which addresses its machine has.
    pub families: Families,
    /// The NATs of its IPv4 from the home outwards; none for a public address.
    pub chain: Vec<Profile>,
    /// Where UDP may go.
    pub udp: Udp,
    /// What it shares with another home of the same name in the same scene.
    pub shared: Shared,
    /// Whether other people open flows at its outermost NAT.
    pub is_noisy: bool,
    /// Whether everything must go through the HTTP proxy.
    pub is_proxied: bool,
}

/// Address families of a machine. IPv6 is behind a firewall, not behind NATs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

impl Families {
    /// Whether there is IPv4.
    #[must_use]
    pub const fn has_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Both)
    }

    /// Whether there is IPv6.
    #[must_use]
    pub const fn has_v6(self) -> bool {
        matches!(self, Self::V6 | Self::Both)
    }
}

/// Where a home's UDP may go, as far as its NATs let it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Udp {
    /// Everywhere.
    Everywhere,
    /// To the server alone: peers cannot be reached by UDP, whatever they try.
    ServerOnly,
}

/// What two homes of one name have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Nothing.
    Nothing,
    /// The outermost NAT.
    Nat,
    /// The outermost NAT, whose hosts do not reach each other inside.
    NatKeptApart,
}

impl Access {
    /// One of [`names`], or NAT profiles joined by `+` from the home outwards.
    ///
    /// # Errors
    /// When a profile is not known.
    pub fn by_name(name: &str) -> Result<Self> {
        let (home, hairpin) = (Profile::eim_apdf_random(), Profile::eim_apdf_preserving());
        let dumb_carrier = Profile { hairpin: false, ..Profile::cgnat() };
        let behind = |chain: Vec<Profile>| Self {
            name: name.to_owned(),
            families: Families::V4,
            chain,
            udp: Udp::Everywhere,
            shared: Shared::Nothing,
            is_noisy: false,
            is_proxied: false,
        };
        Ok(match name {
            PUBLIC => behind(Vec::new()),
            CARRIER => behind(vec![profile(HOME_BEHIND_CARRIER)?, profile(CARRIER)?]),
            SERVER_UDP => Self { udp: Udp::ServerOnly, ..behind(vec![profile(HOME_BEHIND_CARRIER)?]) },
            NOISY => Self { is_noisy: true, ..behind(vec![Profile::symmetric_sequential()]) },
            PROXY_ONLY => Self { is_proxied: true, ..behind(vec![Profile::udp_blocked()]) },
            "same_lan" => Self { shared: Shared::Nat, ..behind(vec![home]) },
            "same_nat" => Self { shared: Shared::NatKeptApart, ..behind(vec![home]) },
            "same_nat_hairpin" => Self { shared: Shared::NatKeptApart, ..behind(vec![hairpin]) },
            "same_carrier" => Self { shared: Shared::Nat, ..behind(vec![home, dumb_carrier]) },
            "same_carrier_hairpin" => Self { shared: Shared::Nat, ..behind(vec![home, Profile::cgnat()]) },
            "ipv6" => Self { families: Families::V6, ..behind(Vec::new()) },
            "dual_stack" => Self { families: Families::Both, ..behind(vec![Profile::symmetric_random()]) },
            chain => behind(chain.split('+').map(profile).collect::<Result<_>>()?),
        })
    }

    /// Whether two homes of one scene stand behind one NAT.
    #[must_use]
    pub fn shares_with(&self, other: &Self) -> bool {
        self.shared != Shared::Nothing && self.name == other.name
    }
}

/// All names of a single kind, for help texts.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = ALL.map(str::to_owned).to_vec();
    names.push(SERVER_UDP.to_owned());
    for name in PLACES.iter().flat_map(|(a, b)| [*a, *b]) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
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
    fn every_kind_is_known() {
        for name in names() {
            assert_eq!(Access::by_name(&name).unwrap().name, name);
        }
        assert!(EASY.iter().all(|easy| ALL.contains(easy)));
        assert!(Access::by_name("public").unwrap().chain.is_empty());
        assert_eq!(Access::by_name(SERVER_UDP).unwrap().udp, Udp::ServerOnly);
        assert_eq!(Access::by_name("cgnat").unwrap().chain.len(), 2);
        assert_eq!(Access::by_name("eim_adf+symmetric_random").unwrap().chain.len(), 2);
        assert!(Access::by_name("magic").is_err());
    }

    #[test]
    fn only_homes_of_one_place_share_it() {
        let [lan, carrier, easy] =
            ["same_lan", "same_carrier", "eim_adf"].map(|name| Access::by_name(name).unwrap());
        assert!(lan.shares_with(&lan) && !lan.shares_with(&carrier) && !easy.shares_with(&easy));
    }
}
