//! A file that appears under its name when it is complete.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::replay::error::ReplayError;
use crate::replay::options::is_special;

const BUFFER_BYTES: usize = 1 << 18;

/// Dropped before [`PendingFile::finish`] it leaves nothing behind.
pub(super) struct PendingFile {
    path: PathBuf,
    out: Out,
}

enum Out {
    /// Beside the target, with a name of its own.
    Beside(BufWriter<NamedTempFile>),
    /// A device or a pipe.
    Straight(BufWriter<File>),
}

impl PendingFile {
    pub(super) fn create(path: &Path) -> Result<Self, ReplayError> {
        let out = if is_special(path) {
            let file = File::options().write(true).open(path).map_err(ReplayError::io(path, "open"))?;
            Out::Straight(BufWriter::with_capacity(BUFFER_BYTES, file))
        } else {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let file = NamedTempFile::new_in(folder).map_err(ReplayError::io(path, "create"))?;
            Out::Beside(BufWriter::with_capacity(BUFFER_BYTES, file))
        };
        Ok(Self { path: path.to_owned(), out })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ReplayError> {
        match &mut self.out {
            Out::Beside(out) => out.write_all(bytes),
            Out::Straight(out) => out.write_all(bytes),
        }
        .map_err(ReplayError::io(&self.path, "write"))
    }

    pub(super) fn finish(self) -> Result<(), ReplayError> {
        let path = &self.path;
        match self.out {
            Out::Straight(mut out) => out.flush().map_err(ReplayError::io(path, "write")),
            Out::Beside(out) => {
                let file = out.into_inner().map_err(|error| ReplayError::io(path, "write")(error.into_error()))?;
                readable_as_usual(&file, path)?;
                file.persist(path).map_err(|error| ReplayError::io(path, "put in place")(error.error))?;
                Ok(())
            }
        }
    }
}

/// A temporary file is for its owner only; give it the mode that a new file would have here.
#[cfg(unix)]
fn readable_as_usual(file: &NamedTempFile, path: &Path) -> Result<(), ReplayError> {
    use std::os::unix::fs::PermissionsExt;
    // What the umask leaves of 0666 is known only from a file made without a mode of its own.
    let meta = std::fs::metadata(path).or_else(|_| File::create(path).and_then(|file| file.metadata()));
    let mode = meta.map_err(ReplayError::io(path, "create"))?.permissions().mode();
    let permissions = std::fs::Permissions::from_mode(mode & 0o777);
    file.as_file().set_permissions(permissions).map_err(ReplayError::io(path, "set the mode of"))
}

#[cfg(not(unix))]
fn readable_as_usual(_: &NamedTempFile, _: &Path) -> Result<(), ReplayError> {
    Ok(())
}
