//! The state on disk, with the place in the streams that it belongs to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fraud_core::error::SnapshotError;
use fraud_core::features::{MemoryStore, SnapshotInfo, StoreSettings};
use serde::{Deserialize, Serialize};

use super::crash::{self, Crash, CrashPoint};
use super::error::StreamError;
use super::settings::StreamSettings;
use super::source::{Positions, Stream, Topics};
use super::state::State;
use super::waiting::Kept;

const NAME: &str = "stream.snapshot";

/// Where a state belongs in the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the next journal entry.
    pub sequence: u64,
    /// Where in the journal's topic that entry is looked for.
    pub journal_offset: i64,
    /// The next offset of every source.
    pub positions: Positions,
}

/// What stands beside the store in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    kind: String,
    version: u32,
    transactional_id: String,
    input_topic: String,
    labels_topic: Option<String>,
    sequence: u64,
    journal_offset: i64,
    input: Vec<(i32, i64)>,
    labels: Vec<(i32, i64)>,
    waiting: (i64, Vec<Kept>),
}

const KIND: &str = "fraud-stream";
const VERSION: u32 = 1;

/// The folder of snapshots.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: PathBuf,
    transactional_id: String,
    topics: Topics,
    crash: Arc<Crash>,
}

impl Snapshots {
    /// The snapshots of the settings; none where no folder is set.
    ///
    /// # Errors
    /// [`StreamError::Io`] when the folder cannot be made.
    pub(super) fn open(settings: &StreamSettings, crash: &Arc<Crash>) -> Result<Option<Self>, StreamError> {
        let Some(folder) = settings.state.folder.clone() else { return Ok(None) };
        std::fs::create_dir_all(&folder).map_err(StreamError::io(format!("make the folder {}", folder.display())))?;
        let transactional_id = settings.kafka.transactional_id.clone();
        Ok(Some(Self { folder, transactional_id, topics: Topics::new(settings), crash: crash.clone() }))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Writes a state. It replaces the one before only once it is whole and on disk.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot before stays.
    pub(super) fn write(&self, state: &State, place: &Place) -> Result<SnapshotInfo, StreamError> {
        let offsets = |stream: Stream| {
            let of_stream = place.positions.iter().filter(|(source, _)| source.stream == stream);
            of_stream.map(|(source, offset)| (source.partition, *offset)).collect()
        };
        let meta = Meta {
            kind: KIND.to_owned(),
            version: VERSION,
            transactional_id: self.transactional_id.clone(),
            input_topic: self.topics.input.clone(),
            labels_topic: self.topics.labels.clone(),
            sequence: place.sequence,
            journal_offset: place.journal_offset,
            input: offsets(Stream::Input),
            labels: offsets(Stream::Labels),
            waiting: state.waiting.save(),
        };
        let meta = serde_json::to_vec(&meta).map_err(|error| StreamError::Internal(error.to_string()))?;
        // A name of this process's own: one that was taken over must not write into a newcomer's file.
        let fresh = self.folder.join(format!("{NAME}.{}", std::process::id()));
        let watch = self.crash.due(CrashPoint::MidSnapshot).then(|| Assassin::start(&fresh));
        let written = state.store.snapshot(&fresh, &meta);
        drop(watch);
        let info = written?;
        self.crash.pass(CrashPoint::BeforeRename);
        let path = self.path();
        let replace = |source| SnapshotError::Io { path: path.clone(), action: "replace", source };
        std::fs::rename(&fresh, &path).map_err(replace)?;
        std::fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(replace)?;
        Ok(info)
    }

    /// Reads the latest state; none when there is no file.
    ///
    /// # Errors
    /// [`SnapshotError`] for a file that is damaged, [`StreamError::ForeignSnapshot`] for another stream's.
    pub(super) fn read(&self, settings: &StreamSettings) -> Result<Option<(State, Place)>, StreamError> {
        self.sweep();
        let path = self.path();
        if !path.exists() {
            return Ok(None);
        }
        let (store, meta) = MemoryStore::restore(&path, settings.store_settings())?;
        let foreign = |problem: String| StreamError::ForeignSnapshot { path: path.clone(), problem };
        let meta: Meta = serde_json::from_slice(&meta)
            .ok()
            .filter(|meta: &Meta| meta.kind == KIND && meta.version == VERSION)
            .ok_or_else(|| foreign("it does not come from this version of the stream".to_owned()))?;
        for (what, found, wanted) in [
            ("kafka.transactional_id", Some(&meta.transactional_id), Some(&self.transactional_id)),
            ("kafka.input_topic", Some(&meta.input_topic), Some(&self.topics.input)),
            ("labels.topic", meta.labels_topic.as_ref(), self.topics.labels.as_ref()),
        ] {
            if found != wanted {
                return Err(foreign(format!("its `{what}` is {found:?}, the settings say {wanted:?}")));
            }
        }
        let mut positions = Positions::new();
        for (stream, offsets) in [(Stream::Input, meta.input), (Stream::Labels, meta.labels)] {
            let topic = self.topics.name(stream);
            positions
                .extend(offsets.into_iter().map(|(partition, offset)| (self.topics.source(topic, partition), offset)));
        }
        let mut state = State::new(store, settings);
        state.waiting.load(meta.waiting);
        Ok(Some((state, Place { sequence: meta.sequence, journal_offset: meta.journal_offset, positions })))
    }

    /// Removes what snapshots that did not finish left behind.
    fn sweep(&self) {
        let Ok(files) = std::fs::read_dir(&self.folder) else { return };
        for file in files.flatten() {
            let name = file.file_name();
            if name.to_string_lossy().strip_prefix(NAME).is_some_and(|rest| rest.starts_with('.')) {
                // What cannot be removed does no harm.
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// The state of `replay --save-state`, to begin with.
///
/// # Errors
/// [`SnapshotError`].
pub(super) fn saved_state(path: &Path, settings: StoreSettings) -> Result<MemoryStore, StreamError> {
    Ok(MemoryStore::restore(path, settings)?.0)
}

/// Ends the process while a snapshot is being written: as soon as its file is there.
struct Assassin {
    off: Arc<AtomicBool>,
}

impl Assassin {
    fn start(fresh: &Path) -> Self {
        let off = Arc::new(AtomicBool::new(false));
        let (seen, mut name) = (off.clone(), fresh.as_os_str().to_owned());
        name.push(".tmp");
        std::thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                if Path::new(&name).exists() {
                    crash::kill();
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Self { off }
    }
}

impl Drop for Assassin {
    fn drop(&mut self) {
        // A snapshot faster than the watch: the crash still has to come, and now is nearest to the middle.
        if !self.off.swap(true, Ordering::AcqRel) {
            crash::kill();
        }
    }
}
