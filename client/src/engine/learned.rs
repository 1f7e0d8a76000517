//! What is remembered of the networks that this machine was on: the way to the server that worked there last, and how long the
//! NAT there holds a silent mapping.

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::traversal::hold::Hold;
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

const SETTING: &str = "networks";
/// Ways that are remembered; the one that was taken longest ago is forgotten.
const MAX_ROUTES: usize = 32;

/// The way to a server from a network.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownRoute {
    /// A name for the network; none on a system that has no name for it.
    network: Option<String>,
    server: String,
    route: String,
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Learned {
    /// The newest last.
    routes: Vec<KnownRoute>,
    /// By the networks' public addresses, the newest last.
    holds: Vec<(IpAddr, Hold)>,
}

impl Learned {
    /// What is in the store; nothing if that cannot be understood, for it can be learned again.
    pub(super) async fn of(store: &Store) -> Result<Self, StoreError> {
        let saved = store.setting(SETTING).await?;
        Ok(saved.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
    }

    /// Keeps it durably.
    pub(super) async fn save(&self, store: &Store) -> Result<(), StoreError> {
        let json = serde_json::to_string(self).unwrap_or_default();
        store.set_setting(SETTING, &json).await
    }

    /// The ways to `server` that worked last, by network.
    pub(super) fn routes(&self, server: &str) -> BTreeMap<Option<String>, String> {
        let known = self.routes.iter().filter(|known| known.server == server);
        known.map(|known| (known.network.clone(), known.route.clone())).collect()
    }

    /// `route` works. Returns whether that is news.
    pub(super) fn set_route(&mut self, network: Option<String>, server: &str, route: &str) -> bool {
        let newest = KnownRoute { network, server: server.to_owned(), route: route.to_owned() };
        if self.routes.last() == Some(&newest) {
            return false;
        }
        self.routes.retain(|known| known.network != newest.network || known.server != newest.server);
        if self.routes.len() == MAX_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(newest);
        true
    }

    pub(super) fn holds(&self) -> &[(IpAddr, Hold)] {
        &self.holds
    }

    pub(super) fn set_holds(&mut self, holds: Vec<(IpAddr, Hold)>) {
        self.holds = holds;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ways_are_remembered_by_network_and_server() {
        let mut learned = Learned::default();
        let office = || Some("office".to_owned());
        assert!(learned.set_route(office(), "a:5000", "TLS on port 5000"));
        assert!(!learned.set_route(office(), "a:5000", "TLS on port 5000"));
        assert!(learned.set_route(None, "a:5000", "UDP on port 5000"));
        let expected = [(office(), "TLS on port 5000"), (None, "UDP on port 5000")];
        assert_eq!(
            learned.routes("a:5000"),
            BTreeMap::from(expected.map(|(network, way)| (network, way.to_owned())))
        );
        assert_eq!(learned.routes("b:5000"), BTreeMap::new());
        for n in 0..MAX_ROUTES {
            learned.set_route(Some(n.to_string()), "a:5000", "UDP on port 5000");
        }
        assert!(!learned.routes("a:5000").contains_key(&office()) && learned.routes.len() == MAX_ROUTES);
    }

    #[tokio::test]
    async fn what_was_learned_is_there_again_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let me = common::identity::PeerId::from_bytes([1; 32]);
        let store = Store::open(&dir.path().join("hobnob.db"), me).await.unwrap();
        assert_eq!(Learned::of(&store).await.unwrap(), Learned::default());
        let mut learned = Learned::default();
        let mut hold = Hold::default();
        hold.handle_survived(Duration::from_millis(88_500));
        learned.set_holds(vec![([198, 51, 100, 1].into(), hold)]);
        learned.set_route(None, "a:5000", "UDP on port 5000");
        learned.save(&store).await.unwrap();
        assert_eq!(Learned::of(&store).await.unwrap(), learned);
        store.set_setting(SETTING, "{\"routes\": 7}").await.unwrap();
        assert_eq!(Learned::of(&store).await.unwrap(), Learned::default());
    }
}
