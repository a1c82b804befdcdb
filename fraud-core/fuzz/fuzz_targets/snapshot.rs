//! Any file is a snapshot or refused; a restored store answers, and writes a snapshot of the same contents.
#![no_main]

use fraud_core::features::{MemoryStore, StoreSettings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder for the snapshot");
    let path = folder.path().join("state");
    std::fs::write(&path, bytes).expect("written");
    let settings = StoreSettings { shards: 2, ..StoreSettings::default() };
    if let Ok((store, meta)) = MemoryStore::restore(&path, settings.clone()) {
        store.snapshot(&path, &meta).expect("what was restored can be written");
        let (again, kept) = MemoryStore::restore(&path, settings).expect("what was written can be restored");
        assert_eq!(meta, kept);
        assert_eq!((store.time(), store.stats().events), (again.time(), again.stats().events));
    }
});
