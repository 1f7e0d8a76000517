//! Where news go: lines for people, events for scripts, or the full screen.

use std::time::Duration;

use super::json;
use super::names::Names;
use super::news::News;
use super::out::{Closed, Out};
use super::show::{self, Colour};
use super::tui::Screen;
use crate::net;

/// How long the end waits for the screen.
const FINISH_TIME: Duration = Duration::from_millis(500);
/// How often that is looked at.
const FINISH_STEP: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(super) enum Front {
    /// Lines for people.
    Lines(Colour, Out),
    /// Events for scripts.
    Json(Out),
    /// The full-screen terminal.
    Screen(Screen),
}

impl Front {
    /// Says `news`, if they are anything to say here.
    pub(super) async fn say(&self, news: News, names: &Names) -> Result<(), Closed> {
        let (text, out) = match self {
            Self::Json(out) => (json::line(&news, net::unix_ms()), out),
            Self::Lines(colour, out) => match show::lines(&news, names, *colour) {
                Some(lines) => (lines + "\n", out),
                None => return Ok(()),
            },
            Self::Screen(screen) => return screen.say(news).await,
        };
        if text.is_empty() { Ok(()) } else { out.write(text).await }
    }

    /// Whether this is the full screen, which shows what is there rather than what has changed.
    pub(super) const fn is_screen(&self) -> bool {
        matches!(self, Self::Screen(_))
    }

    /// Whether people read lines, which need to be told what was said before.
    pub(super) const fn is_lines(&self) -> bool {
        matches!(self, Self::Lines(..))
    }

    /// Ends when nobody reads any more.
    pub(super) async fn closed(&self) {
        match self {
            Self::Lines(_, out) | Self::Json(out) => out.closed().await,
            Self::Screen(screen) => screen.closed().await,
        }
    }

    /// Waits until all is written, for a short while at the longest.
    pub(super) async fn finish(self) {
        match self {
            Self::Lines(_, out) | Self::Json(out) => out.finish().await,
            Self::Screen(screen) => {
                let thread = screen.end();
                let ended = async {
                    while !thread.is_finished() {
                        tokio::time::sleep(FINISH_STEP).await;
                    }
                };
                // A terminal that takes nothing more is given back all the same.
                let _ = tokio::time::timeout(FINISH_TIME, ended).await;
            }
        }
    }
}
