//! `client verify` and `client import`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use crate::archive::{Checked, Checker, Damage, seal};
use crate::data_dir::DataDir;
use crate::ui::args::Import;
use crate::ui::hands::{Entry, Hand, Request, Tally};
use crate::ui::{Exit, Fatal, file, json};

/// Entries that are handed over together.
const BATCH: usize = 200;
/// Bytes of the file from which on they are handed over, however few they are.
const BATCH_LEN: u64 = 300_000;
/// Damaged lines of which each is told by itself; more are counted.
const MAX_TOLD: u64 = 20;

/// A file that is read, and what is wrong with it.
struct Source<'a> {
    path: &'a Path,
    checker: Checker<BufReader<File>>,
    damaged: u64,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self, Fatal> {
        let file = File::open(path).map_err(|error| file::explain(path, &error))?;
        Ok(Self { path, checker: Checker::new(BufReader::new(file)), damaged: 0 })
    }

    /// The next line; damage is told.
    fn next(&mut self) -> Result<Option<Result<Checked, Damage>>, Fatal> {
        let next = self.checker.read().map_err(|error| file::explain(self.path, &error))?;
        if let Some(Err(damage)) = &next {
            self.tell(self.checker.line(), damage);
        }
        Ok(next)
    }

    fn tell(&mut self, line: u64, damage: &dyn std::fmt::Display) {
        self.damaged += 1;
        if self.damaged <= MAX_TOLD {
            // The exit code tells as well.
            let _ = writeln!(std::io::stderr(), "client: {}: line {line}: {damage}", self.path.display());
        }
    }

    const fn exit(&self) -> Exit {
        if self.damaged == 0 { Exit::Good } else { Exit::Damaged }
    }
}

/// Verifies a file: its seal; in JSON Lines also every signature, and that what can be read is what was signed.
pub(super) fn verify(is_json: bool, path: &Path) -> Result<Exit, Fatal> {
    let mut input = BufReader::new(File::open(path).map_err(|error| file::explain(path, &error))?);
    let start = input.fill_buf().map_err(|error| file::explain(path, &error))?;
    if start.first() == Some(&b'{') {
        verify_lines(is_json, path)
    } else {
        verify_page(is_json, path, &mut input)
    }
}

fn verify_page(is_json: bool, path: &Path, input: &mut impl BufRead) -> Result<Exit, Fatal> {
    let owner = seal::check_page(input).map_err(|error| file::explain(path, &error))?;
    let owner = owner.map_err(|damage| {
        let message = format!("{}: {damage}", path.display());
        Fatal { exit: Exit::Damaged, message }
    })?;
    let owner = owner.to_string();
    let text = format!("page of {owner}: as they have exported it\n");
    let event =
        json::Event::Verified { owner: Some(&owner), sealed: true, messages: 0, damaged: 0, missing: 0 };
    super::print(if is_json { json::write(event, crate::net::unix_ms()) } else { text });
    Ok(Exit::Good)
}

fn verify_lines(is_json: bool, path: &Path) -> Result<Exit, Fatal> {
    let mut source = Source::open(path)?;
    let mut owner = None;
    while let Some(line) = source.next()? {
        match line {
            Ok(Checked::Start { owner: key }) => owner = Some(key.to_string()),
            Err(damage) if damage.is_final() => break,
            Ok(_) | Err(_) => {}
        }
    }
    let (messages, missing, damaged) = (source.checker.messages(), source.checker.missing(), source.damaged);
    let sealed = source.checker.is_sealed();
    let seal = if sealed { "sealed by them" } else { "not sealed" };
    let text = match &owner {
        Some(owner) => format!(
            "export of {owner}, {seal}: {messages} messages verified, {damaged} damaged lines, {missing} earlier messages \
             are not in it\n"
        ),
        None => "nothing could be verified\n".to_owned(),
    };
    let event = json::Event::Verified { owner: owner.as_deref(), sealed, messages, damaged, missing };
    super::print(if is_json { json::write(event, crate::net::unix_ms()) } else { text });
    Ok(source.exit())
}

/// Takes in what a file holds: through the running client, or alone.
pub(super) async fn run(is_json: bool, options: &Import, dir: &DataDir) -> Result<Exit, Fatal> {
    let mut source = Source::open(&options.file)?;
    let mut into = Into { hand: Hand::reach(dir).await?, owner: String::new(), batch: Vec::new(), len: 0 };
    let mut total = Tally::default();
    while let Some(line) = source.next()? {
        let what = match line {
            Ok(Checked::Start { owner }) => {
                into.owner = owner.to_string();
                continue;
            }
            Ok(Checked::Conversation | Checked::End | Checked::Seal) => continue,
            Ok(Checked::Contact(contact)) => contact.into(),
            Ok(Checked::Message(message)) => {
                into.len += u64::try_from(message.signed.len()).unwrap_or(u64::MAX);
                (*message).into()
            }
            Err(damage) if damage.is_final() || !options.skip_damaged => break,
            Err(_) => continue,
        };
        into.batch.push(Entry { line: source.checker.line(), what });
        if into.batch.len() >= BATCH || into.len >= BATCH_LEN {
            into.restore(&mut source, &mut total).await?;
            if source.damaged > 0 && !options.skip_damaged {
                break;
            }
        }
    }
    into.restore(&mut source, &mut total).await?;
    into.hand.close().await;
    let Tally { added, known, waiting, .. } = total;
    let damaged = source.damaged;
    let stopped =
        if damaged > 0 && !options.skip_damaged { "; what follows the damage was not read" } else { "" };
    let text = format!(
        "{added} messages imported, {known} were here already, {waiting} wait for earlier ones, \
         {damaged} damaged lines{stopped}\n"
    );
    let event = json::Event::Imported { added, known, waiting, damaged };
    super::print(if is_json { json::write(event, crate::net::unix_ms()) } else { text });
    Ok(source.exit())
}

/// Where the messages go.
struct Into {
    hand: Hand,
    owner: String,
    batch: Vec<Entry>,
    /// Bytes of the messages in `batch`.
    len: u64,
}

impl Into {
    /// Hands over what was read so far.
    async fn restore(&mut self, source: &mut Source<'_>, total: &mut Tally) -> Result<(), Fatal> {
        self.len = 0;
        let entries = std::mem::take(&mut self.batch);
        if entries.is_empty() {
            return Ok(());
        }
        let reply = self.hand.ask(Request::Import { owner: self.owner.clone(), entries }).await?;
        if reply.exit != Exit::Good {
            return Err(Fatal { exit: reply.exit, message: reply.text });
        }
        total.added += reply.tally.added;
        total.known += reply.tally.known;
        total.waiting += reply.tally.waiting;
        for (line, reason) in reply.tally.refused {
            source.tell(line, &reason);
        }
        Ok(())
    }
}
