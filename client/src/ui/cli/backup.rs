//! `client backup`: copies the database, beside a running client or without one.

use crate::data_dir::DataDir;
use crate::net::unix_ms;
use crate::ui::args::Backup;
use crate::ui::file::NewFile;
use crate::ui::{Exit, Fatal, json};

/// Writes the copy that `options` ask for.
pub(super) async fn run(is_json: bool, options: &Backup, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = super::read(dir).await?;
    let file = NewFile::create(&options.file)?;
    let messages = store.back_up(file.unfinished()).await.map_err(Fatal::failed)?;
    store.close().await;
    file.finish()?;
    let name = options.file.display().to_string();
    let text = format!("{messages} messages are in {name}; keep {} as well\n", dir.identity_path().display());
    let event = json::Event::BackedUp { file: &name, messages };
    super::print(if is_json { json::write(event, unix_ms()) } else { text });
    Ok(Exit::Good)
}
