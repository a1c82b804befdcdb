//! Whether a file has been exchanged.

use std::path::Path;
use std::time::SystemTime;

/// Tells whether a file is another one than last time. Renames over it, which is how files are replaced
/// safely, and the link exchange of a mounted config map are both seen, since they change what is asked for here.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

impl Fingerprint {
    /// The file's present state; that of no file when there is none.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let Ok(metadata) = std::fs::metadata(path) else { return Self::default() };
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let file = 0;
        Self { modified: metadata.modified().ok(), bytes: metadata.len(), file }
    }

    /// Whether there was a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        *self != Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        assert!(!Fingerprint::of(&path).exists());
        std::fs::write(&path, b"one").unwrap();
        let first = Fingerprint::of(&path);
        assert_eq!(first, Fingerprint::of(&path));
        std::fs::write(folder.path().join("n"), b"two").unwrap();
        std::fs::rename(folder.path().join("n"), &path).unwrap();
        assert_ne!(first, Fingerprint::of(&path));
    }
}
