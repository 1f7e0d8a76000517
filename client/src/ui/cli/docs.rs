//! `client completions` and `client man`: made from the command line itself.

use clap::CommandFactory;

use crate::ui::args::{Args, Completions, Man};
use crate::ui::{Exit, Fatal, file};

/// Prints the completions of a shell.
pub(super) fn completions(options: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Args::command(), "client", &mut script);
    super::print(String::from_utf8_lossy(&script));
    Exit::Good
}

/// Prints the man page, or writes all of them into a directory.
pub(super) fn man(options: &Man) -> Result<Exit, Fatal> {
    if let Some(directory) = &options.directory {
        clap_mangen::generate_to(Args::command(), directory)
            .map_err(|error| file::explain(directory, &error))?;
        return Ok(Exit::Good);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page).map_err(Fatal::failed)?;
    super::print(String::from_utf8_lossy(&page));
    Ok(Exit::Good)
}
