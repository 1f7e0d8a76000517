//! The full-screen terminal.
//!
//! `state` decides: keys and news in, actions out. `view` draws a state. `driver` joins the two with the terminal, on
//! a thread of its own, so that a key is answered however busy the rest of the program is. What is typed goes to the
//! same `App` as in the line mode, and what it says comes back as [`News`]: the two front ends can do the same.

mod bind;
mod buffer;
mod complete;
mod composer;
mod driver;
mod jump;
mod keys;
mod model;
mod overlay;
mod screen;
mod state;
mod text;
mod view;
mod zone;

use std::io;
use std::thread::{self, JoinHandle};

use common::identity::PeerId;
use tokio::sync::mpsc;

use super::news::News;
use super::out::Closed;
use super::plain::{self, Input};
use super::show::Colour;
use state::{Setting, State};
use view::theme::Theme;
use zone::Zone;

pub(super) use screen::{Mouse, Restore};

/// Messages that a screen loads at once.
pub(super) const PAGE: usize = 100;
/// News that wait to be shown. Beyond, what happens is held back until the screen takes it.
const QUEUE_LEN: usize = 1024;

/// The app's end of the screen.
#[derive(Debug)]
pub(super) struct Screen {
    news: mpsc::Sender<News>,
    thread: JoinHandle<()>,
}

impl Screen {
    /// Shows `news`.
    pub(super) async fn say(&self, news: News) -> Result<(), Closed> {
        self.news.send(news).await.map_err(|_| Closed)
    }

    /// Ends when the terminal is gone.
    pub(super) async fn closed(&self) {
        self.news.closed().await;
    }

    /// Lets the thread end; the handle tells when it has.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Starts the threads that read and draw; they end with the program.
pub(super) fn start(me: PeerId, colour: Colour) -> io::Result<(Screen, mpsc::Receiver<Input>)> {
    let theme = match colour {
        Colour::Off => Theme::Plain,
        Colour::On => Theme::Coloured,
    };
    let size = ratatui::crossterm::terminal::size()?;
    let state = State::new(Setting { me, theme, zone: Zone::system(), size });
    let (news, news_queue) = mpsc::channel(QUEUE_LEN);
    let (inputs, input_queue) = mpsc::channel(plain::QUEUE_LEN);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let driver = driver::Driver::new(state, inputs)?;
    let thread = thread::spawn(move || runtime.block_on(driver.run(driver::read_keys(), news_queue)));
    Ok((Screen { news, thread }, input_queue))
}
