//! A store on disk: written while others observe, replaced atomically, checked before it is believed.
//!
//! A file is the magic, the format's number, and blocks. A block is its length (4 bytes), the XXH3 of its
//! payload seeded with its place (8 bytes), and the payload, whose first byte says what it holds. The last
//! block counts what stood before it. The events stand in order of time; series are rebuilt from them.

mod body;
mod file;
mod read;

pub(crate) use read::Kept;

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Core, MemoryStore, NEVER, StoreSettings};
use crate::error::SnapshotError;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Transactions in it.
    pub events: u64,
    /// Customers in it.
    pub customers: u64,
    /// Terminals in it.
    pub terminals: u64,
    /// How long observers were held up at most.
    pub pause: Duration,
}

impl MemoryStore {
    /// Writes the store as it is at one moment to `path`, with the caller's `meta` (stream offsets, say).
    ///
    /// Others observe on; they are held up for [`SnapshotInfo::pause`] only. The file appears complete or not at
    /// all, under mode 0600; one that was there is replaced. Snapshots of one store wait for each other.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn snapshot(&self, path: &Path, meta: &[u8]) -> Result<SnapshotInfo, SnapshotError> {
        let _one_at_a_time = self.snapshots.lock();
        let mut file = file::Writer::create(path)?;
        let start = Instant::now();
        let (cut, thawing) = {
            let mut core = self.core.write();
            core.frozen = true;
            (self.cut(&core), Thaw(self))
        };
        let pause = start.elapsed();
        let counts = self.write_body(&cut, meta, &mut |payload| file.block(payload))?;
        drop(thawing);
        let bytes = file.finish()?;
        Ok(SnapshotInfo {
            bytes,
            events: counts.events,
            customers: counts.customers,
            terminals: counts.terminals,
            pause,
        })
    }

    /// The store of a snapshot, under settings of now, and the caller's meta.
    ///
    /// Settings that keep less drop what is older. Under settings that keep more, history is complete only
    /// from where the snapshot's begins. [`StoreSettings::max_bytes`] does not keep anything out here.
    ///
    /// # Errors
    /// [`SnapshotError`]: the file cannot be read, is something else, of another format, or damaged.
    pub fn restore(path: &Path, settings: StoreSettings) -> Result<(Self, Vec<u8>), SnapshotError> {
        // The checksums first: nothing is built from a file that is not whole.
        let mut check = file::Reader::open(path)?;
        while check.block()?.is_some() {}
        let mut reader = file::Reader::open(path)?;
        let mut builder = read::Builder::new(settings);
        while let Some(payload) = reader.block()? {
            builder.take(payload).map_err(|problem| file::damaged(path, problem))?;
        }
        builder.finish().map_err(|problem| file::damaged(path, problem))
    }

    /// Moves the base to the store's present time, by way of a snapshot in memory.
    pub(super) fn rebase(&self, core: &mut Core) {
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        let cut = self.cut(core);
        let written = self.write_body(&cut, &[], &mut |payload: &[u8]| {
            blocks.push(payload.to_vec());
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(_) = written;
        let mut builder = read::Builder::new(self.settings.clone());
        let built = blocks.iter().try_for_each(|payload| builder.take(payload)).and_then(|()| builder.finish());
        debug_assert!(built.is_ok(), "{:?}", built.as_ref().err());
        if let Ok((fresh, _)) = built {
            core.base = fresh.core.into_inner().base;
            take_over(&self.ids, fresh.ids);
            take_over(&self.customers, fresh.customers);
            take_over(&self.terminals, fresh.terminals);
            let bytes = fresh.bytes.into_inner();
            self.bytes.store(bytes, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Lets keys be freed again, however the snapshot ended.
struct Thaw<'a>(&'a MemoryStore);

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        self.0.core.write().frozen = false;
    }
}

fn take_over<T>(old: &[super::Shard<T>], fresh: Box<[super::Shard<T>]>) {
    for (old, fresh) in old.iter().zip(fresh) {
        *old.0.lock() = fresh.0.into_inner();
    }
}

/// The store's time as a snapshot writes it.
fn written_time(now: i64) -> Option<i64> {
    Some(now).filter(|now| *now != NEVER)
}
