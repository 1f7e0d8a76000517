//! Joins the state with the terminal: a thin loop that never waits for the rest of the program.
//!
//! Keys come first; news are taken in batches; the screen is drawn at most sixty times a second.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Stdout};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::{Position, Rect};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::screen;
use super::state::{Action, State};
use super::view;
use crate::net::unix_ms;
use crate::ui::app::now;
use crate::ui::news::News;
use crate::ui::plain::Input;

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(16);
/// Events of the terminal that wait. Beyond, the terminal keeps them.
const KEYS_LEN: usize = 256;
/// News that are taken at once, between two looks at the keys.
const BATCH: usize = 256;
/// Inputs that wait for the rest of the program. Beyond, what is typed is refused with the bell.
const MAX_PENDING: usize = 1000;

/// Reads the terminal in a thread of its own, which ends with the terminal or the program: a read cannot be
/// interrupted.
pub(super) fn read_keys() -> mpsc::Receiver<Event> {
    let (queue, keys) = mpsc::channel(KEYS_LEN);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if queue.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// See the module.
#[derive(Debug)]
pub(super) struct Driver {
    state: State,
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    inputs: mpsc::Sender<Input>,
    pending: VecDeque<Input>,
    /// The frame on the screen is out of date.
    is_stale: bool,
    next_frame: Instant,
}

/// Why the loop goes on.
enum Wake {
    Keys(Option<Event>),
    News(usize),
    Room(Result<mpsc::OwnedPermit<Input>, mpsc::error::SendError<()>>),
    Time,
}

impl Driver {
    pub(super) fn new(state: State, inputs: mpsc::Sender<Input>) -> io::Result<Self> {
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))?;
        Ok(Self { state, terminal, inputs, pending: VecDeque::new(), is_stale: true, next_frame: now() })
    }

    /// Runs until there is no more news, which is when the program ends, or until the terminal is gone.
    pub(super) async fn run(mut self, mut keys: mpsc::Receiver<Event>, mut news: mpsc::Receiver<News>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut has_keys = true;
        loop {
            if self.is_stale && self.next_frame <= now() && self.draw().is_err() {
                return;
            }
            let wake_at = self.timeout();
            let wake = tokio::select! {
                biased;
                event = keys.recv(), if has_keys => Wake::Keys(event),
                permit = self.inputs.clone().reserve_owned(), if !self.pending.is_empty() => Wake::Room(permit),
                count = news.recv_many(&mut batch, BATCH) => Wake::News(count),
                () = until(wake_at) => Wake::Time,
            };
            match wake {
                Wake::Keys(Some(event)) => self.is_stale |= self.state.handle_event(event, unix_ms()),
                Wake::Keys(None) => {
                    has_keys = false;
                    self.pending.push_back(Input::End);
                }
                Wake::Room(Ok(permit)) => {
                    if let Some(input) = self.pending.pop_front() {
                        permit.send(input);
                    }
                }
                Wake::News(0) => return,
                Wake::Room(Err(_)) => self.pending.clear(),
                Wake::News(_) => {
                    batch.drain(..).for_each(|news| self.state.handle_news(news, unix_ms()));
                    self.is_stale = true;
                }
                Wake::Time => self.is_stale |= self.state.handle_timeout(unix_ms()),
            }
            if self.act().is_err() {
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Instant> {
        let frame = self.is_stale.then_some(self.next_frame);
        let notice = self.state.poll_timeout();
        let notice = notice.map(|at_ms| now() + Duration::from_millis(at_ms.saturating_sub(unix_ms())));
        [frame, notice].into_iter().flatten().min()
    }

    fn draw(&mut self) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(&self.state, frame))?;
        self.is_stale = false;
        self.next_frame = now() + FRAME;
        Ok(())
    }

    fn act(&mut self) -> io::Result<()> {
        for action in self.state.poll_actions() {
            match action {
                Action::Input(_) if self.pending.len() >= MAX_PENDING => {
                    screen::call("too much is waiting", true, true)?;
                }
                Action::Input(input) => self.pending.push_back(input),
                Action::Attention(text) => {
                    let manner = self.state.manner;
                    screen::call(&text, manner.bell, manner.notice)?;
                }
                Action::Copy(text) => screen::copy(&text)?,
                Action::Redraw => self.redraw()?,
                Action::Suspend => {
                    screen::suspend()?;
                    self.redraw()?;
                }
            }
        }
        Ok(())
    }

    fn redraw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        // `Terminal::clear` would ask the terminal where the cursor is, and the answer would be taken for keys.
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))?;
        self.state.handle_event(Event::Resize(size.width, size.height), unix_ms());
        self.is_stale = true;
        Ok(())
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
