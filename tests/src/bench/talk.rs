//! Two clients that write lines to each other at a steady pace, and when the lines and the news of paths came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use client::engine::{Engine, Event};
use client::net::Via;
use common::identity::PeerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::world::{Client, now};

/// What one of the two has noticed so far.
#[derive(Debug, Default)]
struct Notes {
    arrivals: Vec<Instant>,
    vias: Vec<(Instant, Via)>,
}

/// A conversation under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Talk {
    notes: [Arc<Mutex<Notes>>; 2],
    lines: usize,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Talk {
    /// Lets both write `lines` lines to each other, one every `pause`.
    pub(super) fn start(clients: [Client; 2], lines: usize, pause: Duration) -> Self {
        let ids = clients.each_ref().map(Client::id);
        let mut others = [ids[1], ids[0]].into_iter();
        let mut tasks = JoinSet::new();
        let notes = clients.map(|Client { engine, events, .. }| {
            let notes = Arc::default();
            if let Some(other) = others.next() {
                tasks.spawn(write(engine, other, lines, pause));
            }
            tasks.spawn(read(events, Arc::clone(&notes)));
            notes
        });
        Self { notes, lines, tasks }
    }

    /// The longest silence that one of the two noticed between `from` and `until`.
    ///
    /// # Errors
    /// If a line has not arrived or could not be written.
    pub(super) fn longest_gap(&mut self, from: Instant, until: Instant) -> anyhow::Result<Duration> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended??;
        }
        let mut gap = Duration::ZERO;
        for notes in &self.notes {
            let times = &notes.lock().unwrap_or_else(PoisonError::into_inner).arrivals;
            ensure!(times.len() == self.lines, "of {} lines arrived {}", self.lines, times.len());
            let around = times.windows(2).filter(|pair| pair[1] >= from && pair[0] <= until);
            gap = around.map(|pair| pair[1] - pair[0]).max().unwrap_or(until - from).max(gap);
        }
        Ok(gap)
    }

    /// How long between `from` and `until` packets of one of the two, or of both, did not go directly, if they did at
    /// `from`.
    pub(super) fn indirect(&self, from: Instant, until: Instant) -> Duration {
        let of_one = |notes: &Arc<Mutex<Notes>>| {
            let vias = &notes.lock().unwrap_or_else(PoisonError::into_inner).vias;
            let mut total = Duration::ZERO;
            let mut lost = None;
            for (at, via) in vias.iter().filter(|(at, _)| *at >= from && *at <= until) {
                match via {
                    Via::Relay => lost = lost.or(Some(*at)),
                    Via::Udp | Via::Lan | Via::Tcp => {
                        total += lost.take().map_or(Duration::ZERO, |lost| *at - lost);
                    }
                }
            }
            total + lost.map_or(Duration::ZERO, |lost| until - lost)
        };
        self.notes.iter().map(of_one).sum()
    }
}

async fn write(engine: Engine, to: PeerId, lines: usize, pause: Duration) -> anyhow::Result<()> {
    for _ in 0..lines {
        engine.send(to, "a line").await?;
        tokio::time::sleep(pause).await;
    }
    // A client lives for as long as its engine is held.
    std::future::pending().await
}

async fn read(mut events: mpsc::Receiver<Event>, notes: Arc<Mutex<Notes>>) -> anyhow::Result<()> {
    while let Some(event) = events.recv().await {
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Message { message, .. } if !message.own => notes.arrivals.push(now()),
            Event::Path(change) => notes.vias.push((now(), change.via)),
            _ => {}
        }
    }
    Ok(())
}
