//! Tunnels of requests and answers, for networks that let nothing else pass and hold each answer back until it is
//! complete: packets go up in the bodies of POST and come down in the answers to GET.
//!
//! A request that a middlebox repeats brings packets twice, an answer that it loses takes packets with it; QUIC
//! copes with both, so requests have numbers only to be different.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::stream_frame;
use common::tunnel::{MAX_BODY_PACKETS, POLL_SECONDS, PollId};
use tokio::sync::mpsc;

use super::gate::{Gate, Pass};
use super::{Ended, Inlet, Tunnel, Tunnels};

/// A tunnel of which no request has come for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// How often the idle ones are looked for.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// All polling tunnels.
#[derive(Debug)]
pub(super) struct Polls {
    tunnels: Arc<Tunnels>,
    gate: Arc<Gate>,
    open: Mutex<HashMap<PollId, Arc<Polling>>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Polling {
    tunnel: Tunnel,
    /// Requests for what comes down take turns.
    outbox: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    last_request: Mutex<Instant>,
    _pass: Pass,
}

impl Polls {
    pub(super) fn new(tunnels: Arc<Tunnels>, gate: Arc<Gate>) -> Self {
        Self { tunnels, gate, open: Mutex::default() }
    }

    /// The tunnel of this name, made if there is none; `None` if there is no room for it.
    pub(super) fn get(
        &self,
        now: Instant,
        id: PollId,
        source: SocketAddr,
        inlet: &Inlet,
    ) -> Option<Arc<Polling>> {
        let mut open = self.open();
        if let Some(polling) = open.get(&id) {
            *polling.last_request() = now;
            return Some(Arc::clone(polling));
        }
        let pass = self.gate.enter(source)?;
        let (tunnel, outbox) = Tunnel::open(&self.tunnels, inlet.clone(), source);
        let outbox = tokio::sync::Mutex::new(outbox);
        let polling = Arc::new(Polling { tunnel, outbox, last_request: Mutex::new(now), _pass: pass });
        open.insert(id, Arc::clone(&polling));
        Some(polling)
    }

    /// Closes the tunnels of which nothing was heard for long.
    pub(super) fn sweep(&self, now: Instant) {
        self.open()
            .retain(|_, polling| now.saturating_duration_since(*polling.last_request()) < IDLE_TIMEOUT);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PollId, Arc<Polling>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Polling {
    /// Packets came up, in frames.
    pub(super) async fn up(&self, body: Bytes) -> Result<(), Ended> {
        let mut body = BytesMut::from(body);
        while let Some(packet) = stream_frame::take(&mut body).map_err(|_| Ended)? {
            self.tunnel.arrived(packet).await?;
        }
        Ok(())
    }

    /// What is to go down, in frames: as much as there is, or nothing after a while.
    pub(super) async fn down(&self) -> Bytes {
        let mut packets = Vec::new();
        let wait = async { self.outbox.lock().await.recv_many(&mut packets, MAX_BODY_PACKETS).await };
        // An answer without packets tells the client to ask again.
        let _ = tokio::time::timeout(Duration::from_secs(POLL_SECONDS), wait).await;
        let mut body = BytesMut::new();
        for packet in packets {
            stream_frame::put(&mut body, &packet);
        }
        body.freeze()
    }

    fn last_request(&self) -> MutexGuard<'_, Instant> {
        self.last_request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
