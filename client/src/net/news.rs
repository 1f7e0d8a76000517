//! Events on their way from the driver to the engine. The driver never waits for a reader: the engine may itself be
//! waiting for the driver to take a command.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Mutex, PoisonError};

use common::identity::PeerId;
use tokio::sync::{Notify, mpsc};

use super::Event;

/// See the module. News takes the place of older news of the same kind on the same peer, so that the queue is bounded by
/// the number of peers, and by that of the user's own codes; what happened in between is of no use to anybody any more.
#[derive(Debug, Default)]
pub(crate) struct News {
    queue: Mutex<VecDeque<Event>>,
    arrived: Notify,
}

impl News {
    /// Queues `event`.
    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.retain(|older| !replaces(&event, older));
        queue.push_back(event);
        drop(queue);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Event> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Hands the events over, one after the other, for as long as somebody reads them.
    pub(crate) async fn forward(&self, events: mpsc::Sender<Event>) {
        loop {
            let arrived = self.arrived.notified();
            while let Some(event) = self.take() {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            arrived.await;
        }
    }
}

/// Whether `newer` makes `older` worthless. The end of a connection outdates its beginning, and the other way round.
fn replaces(newer: &Event, older: &Event) -> bool {
    use Event::{Closed, Connected, ServerDown, ServerUp};
    let is_same_kind = discriminant(newer) == discriminant(older)
        || matches!((newer, older), (Closed { .. }, Connected(_)) | (Connected(_), Closed { .. }))
        || matches!(
            (newer, older),
            (ServerUp { .. }, ServerDown { .. }) | (ServerDown { .. }, ServerUp { .. })
        );
    let is_heard_once = matches!(newer, Event::Code(_));
    is_same_kind && !is_heard_once && subject(newer) == subject(older)
}

/// Whom an event is about; nobody if it is about the server.
const fn subject(event: &Event) -> Option<PeerId> {
    match event {
        Event::ServerUp { .. }
        | Event::ServerRerouted(_)
        | Event::ServerDown { .. }
        | Event::Holds(_)
        | Event::Code(_) => None,
        Event::Connected(link) => Some(link.peer),
        Event::Path(change) => Some(change.peer),
        Event::Closed { peer, .. }
        | Event::Unreachable { peer, .. }
        | Event::Alone { peer, .. }
        | Event::Paired(peer)
        | Event::Nearby { peer, .. }
        | Event::Presence { peer, .. } => Some(*peer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(number: u8, online: bool) -> Event {
        Event::Presence { peer: PeerId::from_bytes([number; 32]), online }
    }

    #[test]
    fn news_replaces_older_news_of_its_kind_and_keeps_the_order_of_the_rest() {
        let news = News::default();
        let peer = PeerId::from_bytes([1; 32]);
        news.push(presence(1, true));
        news.push(presence(2, true));
        news.push(Event::Unreachable { peer, reason: "why".to_owned() });
        news.push(presence(1, false));
        let left: Vec<_> = std::iter::from_fn(|| news.take()).map(|event| format!("{event:?}")).collect();
        let expected =
            [presence(2, true), Event::Unreachable { peer, reason: "why".to_owned() }, presence(1, false)];
        assert_eq!(left, expected.map(|event| format!("{event:?}")));
    }

    #[tokio::test]
    async fn a_reader_who_is_late_gets_everything_that_still_counts() {
        let news = News::default();
        for round in 0..1_000_u16 {
            for peer in 0..4 {
                news.push(presence(peer, round % 2 == 0));
            }
        }
        let (sender, mut reader) = mpsc::channel(1);
        let read = async {
            let mut count = 0;
            while let Some(Event::Presence { online, .. }) = reader.recv().await {
                assert!(!online);
                count += 1;
                if count == 4 {
                    return reader;
                }
            }
            reader
        };
        tokio::select! {
            () = news.forward(sender) => unreachable!("it goes on for as long as somebody reads"),
            mut reader = read => assert!(reader.try_recv().is_err()),
        }
    }
}
