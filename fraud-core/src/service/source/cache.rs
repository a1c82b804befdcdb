//! The registry's last good version on disk, to start from when the registry is away.
//!
//! A folder per source: `current.json` says which version it is, `<sha256>.onnx` is its file. Both are written
//! whole and then renamed, readable by their owner alone. What is read back is verified like a download.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::mlflow::Release;
use super::origin::Wanted;

const CURRENT: &str = "current.json";

/// What `current.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    source: String,
    name: String,
    version: String,
    sha256: String,
    signature: Option<String>,
    file: String,
}

/// The versions kept of one source.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    source: String,
}

impl Cache {
    /// The part of a cache folder that belongs to a source.
    #[must_use]
    pub fn new(folder: &Path, wanted: &Wanted) -> Self {
        let source = wanted.to_string();
        let name: String = source
            .trim_start_matches("models:/")
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || "@-_.".contains(letter) { letter } else { '+' })
            .collect();
        Self { folder: folder.join(name), source }
    }

    /// The version that was last in service; none where there is none.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        let text = std::fs::read(self.folder.join(CURRENT)).ok()?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        let named = written.source == self.source && is_hash(&written.sha256);
        named.then_some(Release {
            name: written.name,
            version: written.version,
            sha256: Some(written.sha256),
            signature: written.signature,
            file: written.file,
            rolled_back: None,
        })
    }

    /// The file of a version, as it lies there: to be verified.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, release: &Release, limit: u64) -> Result<Vec<u8>, super::SourceError> {
        super::read(&self.file_of(release), limit)
    }

    /// Keeps a version's file, and says that it is the one in service.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(&self, release: &Release, bytes: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        replace(&self.file_of(release), bytes)?;
        self.point_at(release)
    }

    /// Says that a version kept before is the one in service.
    ///
    /// # Errors
    /// The system's; not found where its file is not there.
    pub fn point_at(&self, release: &Release) -> io::Result<()> {
        std::fs::metadata(self.file_of(release))?;
        let release = release.clone();
        let written = Written {
            source: self.source.clone(),
            name: release.name,
            version: release.version,
            sha256: release.sha256.unwrap_or_default(),
            signature: release.signature,
            file: release.file,
        };
        replace(&self.folder.join(CURRENT), serde_json::to_string_pretty(&written)?.as_bytes())
    }

    /// Removes the files of all versions but some.
    pub fn forget_all_but(&self, kept: &[&Release]) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let kept: Vec<PathBuf> = kept.iter().map(|release| self.file_of(release)).collect();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "onnx") && !kept.contains(&path) {
                // A file too many costs room and nothing else.
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn file_of(&self, release: &Release) -> PathBuf {
        // A hash is digits and letters; anything else is no name of a file here.
        let hash = release.sha256.as_deref().filter(|hash| is_hash(hash)).unwrap_or("none");
        self.folder.join(format!("{hash}.onnx"))
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Writes a file beside its place and moves it there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::super::origin::Pick;
    use super::super::verify::sha256;
    use super::*;

    fn release(version: &str, bytes: &[u8]) -> Release {
        Release {
            name: "fraud".to_owned(),
            version: version.to_owned(),
            sha256: Some(sha256(bytes)),
            signature: None,
            file: "model.onnx".to_owned(),
            rolled_back: None,
        }
    }

    #[test]
    fn the_last_version_kept_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = |alias: &str| Wanted { name: "fraud".to_owned(), version: Pick::Alias(alias.to_owned()) };
        let cache = Cache::new(folder.path(), &wanted("champion"));
        assert_eq!(cache.release(), None);
        let (one, two) = (release("1", b"one"), release("2", b"two"));
        cache.keep(&one, b"one").unwrap();
        cache.keep(&two, b"two").unwrap();
        assert_eq!(cache.release(), Some(two.clone()));
        assert_eq!(cache.read(&two, 100).unwrap(), b"two");
        cache.point_at(&one).unwrap();
        assert_eq!(cache.release(), Some(one.clone()));
        cache.forget_all_but(&[&one]);
        assert!(cache.read(&two, 100).is_err() && cache.point_at(&two).is_err());
        assert_eq!(cache.release(), Some(one));
        // Another source has a part of its own, and a torn file is none.
        assert_eq!(Cache::new(folder.path(), &wanted("candidate")).release(), None);
        std::fs::write(folder.path().join("fraud@champion/current.json"), b"{\"source\"").unwrap();
        assert_eq!(cache.release(), None);
    }
}
