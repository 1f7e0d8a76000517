//! `/nearby`: who is in the local network.

use super::{App, Closed, News};

impl App {
    /// Lists who is near, or connects to the one whose key begins with `who`.
    pub(super) async fn nearby(&self, who: &str) -> Result<(), Closed> {
        let near = self.engine.nearby();
        if who.is_empty() {
            let people = near.into_iter().map(|peer| (peer, self.names.knows(peer))).collect();
            return self.say(News::Nearby(people)).await;
        }
        let wanted = who.to_lowercase();
        let is_meant = |peer: &common::identity::PeerId| {
            peer.to_string().starts_with(&wanted) || self.names.find(who) == Ok(*peer)
        };
        match near.into_iter().filter(is_meant).collect::<Vec<_>>()[..] {
            [peer] => {
                self.engine.connect(peer).await;
                self.say(News::Info(format!("connecting to {}", self.names.shown(peer)))).await
            }
            [] => {
                self.say(News::Error("nobody in this network has such a key; /nearby lists them".to_owned()))
                    .await
            }
            _ => self.say(News::Error("several have such a key; write more of it".to_owned())).await,
        }
    }
}
