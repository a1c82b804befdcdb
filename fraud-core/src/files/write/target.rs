use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::FileError;

/// Two writers of one process may aim at the same file.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// Names tried, where a killed process of the same number has left its own.
const ATTEMPTS: usize = 1_000;

/// A file that appears under its name only when it is complete; dropped before that, it leaves nothing.
#[derive(Debug)]
pub(super) struct Target {
    file: Option<File>,
    partial: PathBuf,
    path: PathBuf,
    bytes: u64,
}

impl Target {
    /// Opens a hidden file beside `path`, on the same file system, so that the rename is atomic.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        // A link keeps pointing where it points: its target is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| FileError::Io { path: path.clone(), action: "create", source };
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?.to_owned();
        for _ in 0..ATTEMPTS {
            let mut hidden = OsString::from(".");
            hidden.push(&name);
            hidden.push(format!(".{}-{}.partial", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            let partial = path.with_file_name(hidden);
            // Never through a file or link that someone else put there.
            match OpenOptions::new().write(true).create_new(true).open(&partial) {
                Ok(file) => return Ok(Self { file: Some(file), partial, path, bytes: 0 }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Writes go to `device`; what would be renamed is not there.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn on_device(device: &Path, path: &Path) -> Self {
        let file = OpenOptions::new().write(true).open(device).ok();
        Self { file, partial: path.with_extension("partial"), path: path.to_owned(), bytes: 0 }
    }

    /// Where the file will be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the complete file in its place and returns its size in bytes.
    pub(super) fn commit(mut self) -> Result<u64, FileError> {
        let failed = |action, source| FileError::Io { path: self.path.clone(), action, source };
        if let Some(file) = &self.file {
            // After a power cut the name must never stand for half a file.
            file.sync_all().map_err(|source| failed("write", source))?;
        }
        fs::rename(&self.partial, &self.path).map_err(|source| failed("rename the finished file", source))?;
        self.file = None;
        Ok(self.bytes)
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let written = file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing can be done about a failure here, and the name says what the file is.
            drop(fs::remove_file(&self.partial));
        }
    }
}
