//! A terminal: line editing in a thread of its own, and lines printed above the one that is being typed.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use tokio::sync::{mpsc, watch};

use super::out::Sink;
use super::plain::{self, Input, Place};
use super::show::Colour;

/// Typed lines that can be called back. They are kept in memory only.
const MAX_HISTORY: usize = 1000;
/// How long the next prompt waits for the line before to be handled, so that it names whom the user talks to then.
/// Bounded, because the output may at that moment wait for the prompt.
const HANDLING_TIME: Duration = Duration::from_millis(200);
/// Ends bracketed paste, which the line editor switches on while it reads.
const PASTE_OFF: &str = "\u{1b}[?2004l";

/// Where the prompt says that lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) to: Option<Place>,
    pub(super) name: String,
}

/// The app's end of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) inputs: mpsc::Receiver<Input>,
    /// What the next prompt names.
    pub(super) prompt: watch::Sender<Prompt>,
    /// Told when a line was handled.
    pub(super) handled: SyncSender<()>,
}

/// Prints above the line that is being typed.
pub(super) struct Above<P>(P);

impl<P: ExternalPrinter + Send + 'static> Sink for Above<P> {
    fn write(&mut self, lines: &str) -> io::Result<()> {
        self.0.print(lines.to_owned()).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Starts reading. The thread ends with the input or the program: a read cannot be interrupted.
pub(super) fn start(colour: Colour, restore: &Restore) -> rustyline::Result<(Terminal, impl Sink)> {
    let config = Config::builder().max_history_size(MAX_HISTORY)?.auto_add_history(true).build();
    let history = MemHistory::with_config(&config);
    let mut editor: Editor<(), MemHistory> = Editor::with_history(config, history)?;
    let sink = Above(editor.create_external_printer()?);
    let (queue, inputs) = mpsc::channel(plain::QUEUE_LEN);
    let (prompt, prompts) = watch::channel(Prompt::default());
    let (handled, handled_receiver) = sync_channel(plain::QUEUE_LEN);
    let reader = Reader {
        queue,
        prompts,
        handled: handled_receiver,
        is_reading: Arc::clone(&restore.is_reading),
        colour,
    };
    thread::spawn(move || reader.run(&mut editor));
    Ok((Terminal { inputs, prompt, handled }, sink))
}

/// The thread that reads.
struct Reader {
    queue: mpsc::Sender<Input>,
    prompts: watch::Receiver<Prompt>,
    handled: Receiver<()>,
    is_reading: Arc<AtomicBool>,
    colour: Colour,
}

impl Reader {
    fn run(&self, editor: &mut Editor<(), MemHistory>) {
        loop {
            let input = self.read(editor);
            let is_last = matches!(input, Input::End | Input::Interrupt);
            // Words about earlier lines that came too late.
            while self.handled.try_recv().is_ok() {}
            if self.queue.blocking_send(input).is_err() || is_last {
                return;
            }
            if self.handled.recv_timeout(HANDLING_TIME) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn read(&self, editor: &mut Editor<(), MemHistory>) -> Input {
        let prompt = self.prompts.borrow().clone();
        let raw = if prompt.to.is_some() { format!("[{}] ", prompt.name) } else { "> ".to_owned() };
        let styled = match self.colour {
            Colour::Off => raw.clone(),
            Colour::On => format!("\u{1b}[32m{raw}\u{1b}[0m"),
        };
        self.is_reading.store(true, Ordering::Relaxed);
        let typed = editor.readline(&(raw, styled));
        self.is_reading.store(false, Ordering::Relaxed);
        match typed {
            Ok(text) if text.len() > plain::MAX_LINE => {
                Input::TooLong { len: u64::try_from(text.len()).unwrap_or(u64::MAX) }
            }
            Ok(text) => Input::Line { text, to: prompt.to },
            Err(ReadlineError::Interrupted) => Input::Interrupt,
            // The terminal is gone, or Ctrl-D was typed.
            Err(_) => Input::End,
        }
    }
}

/// Gives the terminal back as it was found, however the program ends.
#[derive(Debug)]
pub(super) struct Restore {
    /// A prompt stands on the last line.
    is_reading: Arc<AtomicBool>,
    #[cfg(unix)]
    found: Option<nix::sys::termios::Termios>,
}

impl Restore {
    /// Remembers how the terminal is.
    pub(super) fn new() -> Self {
        Self {
            is_reading: Arc::default(),
            #[cfg(unix)]
            found: nix::sys::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(found) = &self.found {
            use nix::sys::termios::{SetArg, tcsetattr};
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, found);
        }
        let line_break = if self.is_reading.load(Ordering::Relaxed) { "\r\n" } else { "" };
        let _ = write!(io::stdout(), "{PASTE_OFF}{line_break}");
        let _ = io::stdout().flush();
    }
}
