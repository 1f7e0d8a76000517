//! Standard output: one thread writes, so that a reader who dawdles never holds up the network.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;

/// Pieces of text that wait. Beyond, what happens is held back until the output takes it.
const QUEUE_LEN: usize = 256;
/// How long the end waits for what is still to be written.
const FINISH_TIME: Duration = Duration::from_millis(500);
/// How often that is looked at.
const FINISH_STEP: Duration = Duration::from_millis(2);

/// Where lines go.
pub(super) trait Sink: Send + 'static {
    /// Writes whole lines, each with its line break.
    fn write(&mut self, lines: &str) -> io::Result<()>;
}

/// A pipe, a file, or a terminal without line editing.
#[derive(Debug)]
pub(super) struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, lines: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines.as_bytes())?;
        stdout.flush()
    }
}

/// The output is closed: nobody reads it any more.
#[derive(Debug, thiserror::Error)]
#[error("the output is closed")]
pub(super) struct Closed;

/// The sending end of the output.
#[derive(Debug)]
pub(super) struct Out {
    queue: mpsc::Sender<String>,
    thread: JoinHandle<()>,
}

impl Out {
    /// Starts the thread that writes to `sink`.
    pub(super) fn start(mut sink: impl Sink) -> Self {
        let (queue, mut lines) = mpsc::channel::<String>(QUEUE_LEN);
        let thread = thread::spawn(move || {
            while let Some(text) = lines.blocking_recv() {
                if sink.write(&text).is_err() {
                    // The queue closes, which the other side sees.
                    return;
                }
            }
        });
        Self { queue, thread }
    }

    /// Writes whole lines.
    pub(super) async fn write(&self, lines: String) -> Result<(), Closed> {
        self.queue.send(lines).await.map_err(|_| Closed)
    }

    /// Ends when nobody reads the output any more.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Waits until all is written, for a short while at the longest.
    pub(super) async fn finish(self) {
        drop(self.queue);
        let written = async {
            while !self.thread.is_finished() {
                tokio::time::sleep(FINISH_STEP).await;
            }
        };
        // A reader that stopped reading gets no more.
        let _ = tokio::time::timeout(FINISH_TIME, written).await;
    }
}
