//! Files that commands write: whole or not at all, for their user alone, and never over another file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Fatal;

/// A file that is not there until it is whole.
#[derive(Debug)]
pub(super) struct NewFile {
    target: PathBuf,
    /// What is written until then; gone when this is dropped.
    unfinished: PathBuf,
    file: File,
}

impl NewFile {
    /// Begins a file at `target`, which must not exist.
    pub(super) fn create(target: &Path) -> Result<Self, Fatal> {
        if target.symlink_metadata().is_ok() {
            return Err(Fatal::failed(format!("{} exists; name a file that does not", target.display())));
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let unfinished = target.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&unfinished).map_err(|error| explain(target, &error))?;
        Ok(Self { target: target.to_owned(), unfinished, file })
    }

    /// Where it is until it is whole, for those who write it by its name.
    pub(super) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Writes more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Fatal> {
        self.file.write_all(bytes).map_err(|error| explain(&self.target, &error))
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(self) -> Result<(), Fatal> {
        let explain = |error: io::Error| explain(&self.target, &error);
        self.file.sync_all().map_err(explain)?;
        // A link, unlike a rename, fails if somebody made the file meanwhile; some file systems have none.
        match fs::hard_link(&self.unfinished, &self.target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(explain(error)),
            Err(_) => fs::rename(&self.unfinished, &self.target).map_err(explain),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // It has its own name by now, or is not wanted.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// What is wrong with a file that the user named.
pub(super) fn explain(path: &Path, error: &io::Error) -> Fatal {
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; nothing was left behind",
        _ => "",
    };
    Fatal::failed(format!("{}: {error}{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("export");
        let mut file = NewFile::create(&target).unwrap();
        file.write(b"half").unwrap();
        assert!(!target.exists());
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut file = NewFile::create(&target).unwrap();
        file.write(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(NewFile::create(&target).unwrap_err().to_string().contains("exists"));
        assert!(NewFile::create(&dir.path().join("a/b")).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let mut full = NewFile {
            target: "export".into(),
            unfinished: "/nowhere/export.part".into(),
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
        };
        let error = full.write(b"x").unwrap_err().to_string();
        assert!(error.contains("nothing was left behind"), "{error}");
    }
}
