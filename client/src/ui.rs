//! Front ends on the [`Engine`](crate::engine::Engine): the command line, plain lines, JSON events, the full screen.
//!
//! [`main`] is the whole program. `app` joins the engine's events with what is typed and says what happens as
//! `news::News`; `show` turns these into lines for people, `json` into events for scripts, `tui` into a
//! screen. Nothing here knows of
//! packets, paths or tables.

mod app;
mod args;
mod cli;
mod commands;
mod embedded;
mod file;
mod front;
mod hands;
mod json;
mod line;
mod meeting;
mod names;
mod news;
mod out;
mod ping;
mod plain;
mod qr;
mod rooms;
mod search;
mod show;
mod signals;
mod start;
mod talking;
mod terminal;
mod time;
mod tui;
mod why;
mod wish;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use serde::{Deserialize, Serialize};

use args::{Args, Subcommand};

/// How the program ends; the numbers are documented in `--help` and stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Exit {
    /// All is well.
    Good = 0,
    /// Something failed: the database, the network's set-up.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The server refused, or has another key than before.
    Server = 3,
    /// Another client uses the data directory.
    Busy = 4,
    /// It is not clear who is meant.
    Unclear = 5,
    /// A file is damaged, cut off, or not what it should be.
    Damaged = 6,
}

/// Why the program cannot go on, and how it then ends.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Fatal {
    exit: Exit,
    message: String,
}

impl Fatal {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: error.to_string() }
    }

    fn with(exit: Exit) -> impl FnOnce(&dyn std::fmt::Display) -> Self {
        move |error| Self { exit, message: error.to_string() }
    }
}

/// Runs the program: reads the command line, does what it says, and tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Good };
            // If even the terminal is gone, the exit code has to do.
            let _ = error.print();
            return ExitCode::from(exit as u8);
        }
    };
    let is_json = args.json;
    let outcome = match args.command {
        Some(Subcommand::Join(ref options)) => cli::join(&args, options),
        Some(ref command) => cli::run(&args, command),
        None => start::run(&args, None),
    };
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(fatal) => {
            report(&fatal, is_json);
            ExitCode::from(fatal.exit as u8)
        }
    }
}

/// Says why the program ends: on the error output for people, and among the events for scripts.
fn report(fatal: &Fatal, is_json: bool) {
    // The exit code tells as well; nothing can be done about a closed output.
    let _ = writeln!(std::io::stderr(), "client: {fatal}");
    if is_json {
        let event = json::line(&news::News::Error(fatal.message.clone()), crate::net::unix_ms());
        let _ = std::io::stdout().write_all(event.as_bytes());
    }
}
