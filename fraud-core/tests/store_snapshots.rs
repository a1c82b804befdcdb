//! Snapshots: whole or not at all, and never believed without a check.

mod store_reference;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fraud_core::error::SnapshotError;
use fraud_core::features::{FeaturePlan, FeatureSet, Label, MemoryStore, Profile, StoreSettings};
use proptest::prelude::*;
use store_reference::transaction;

const START: i64 = 1_700_000_000;

fn plan() -> FeaturePlan {
    FeaturePlan::compile(&FeatureSet::handbook())
}

fn filled(count: i64) -> MemoryStore {
    let (store, plan) = (MemoryStore::new(StoreSettings::default()), plan());
    let mut profile = Profile::default();
    for id in 0..count {
        let tx = transaction(id, (id % 7, id % 5), (START + id * 60, id * 100));
        store.observe(&tx, plan.profile(), &mut profile).expect("observed");
        for late in 0..id % 4 {
            store.label(&tx.transaction_id, Label { fraud: late % 2 == 0, observed_at: tx.time + late * 1_000 });
        }
    }
    store
}

fn restore(path: &Path) -> Result<(MemoryStore, Vec<u8>), SnapshotError> {
    MemoryStore::restore(path, StoreSettings::default())
}

#[test]
fn any_altered_byte_and_any_cut_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, broken) = (folder.path().join("store"), folder.path().join("broken"));
    filled(40).snapshot(&path, b"offsets").expect("written");
    let bytes = fs::read(&path).expect("read");
    let (_, meta) = restore(&path).expect("whole");
    assert_eq!(meta, b"offsets");
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        fs::write(&broken, &altered).expect("written");
        let error = restore(&broken).expect_err("altered");
        match at {
            0..8 => assert!(matches!(error, SnapshotError::Foreign { .. }), "{error}"),
            8..12 => assert!(matches!(error, SnapshotError::Version { supported: 1, .. }), "{error}"),
            _ => assert!(matches!(error, SnapshotError::Damaged { .. }), "byte {at}: {error}"),
        }
    }
    for length in 0..bytes.len() {
        fs::write(&broken, &bytes[..length]).expect("written");
        let error = restore(&broken).expect_err("cut");
        assert!(matches!(error, SnapshotError::Foreign { .. } | SnapshotError::Damaged { .. }), "{length}: {error}");
    }
    let mut longer = bytes;
    longer.extend_from_slice(b"more");
    fs::write(&broken, &longer).expect("written");
    assert!(matches!(restore(&broken), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn foreign_files_are_refused_without_being_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("zeros");
    fs::File::create(&path).and_then(|file| file.set_len(100 << 20)).expect("created");
    let start = Instant::now();
    assert!(matches!(restore(&path), Err(SnapshotError::Foreign { .. })));
    println!("100 MB of zeros refused in {:?}", start.elapsed());
    assert!(matches!(restore(folder.path()), Err(SnapshotError::Foreign { .. } | SnapshotError::Io { .. })));
    assert!(matches!(restore(&folder.path().join("none")), Err(SnapshotError::Io { action: "open", .. })));
    // A right beginning, then a block of four gigabytes that is not there.
    let mut hostile = b"FRAUDST\n\x01\0\0\0".to_vec();
    hostile.extend_from_slice(&[0xff; 64]);
    fs::write(&path, hostile).expect("written");
    assert!(matches!(restore(&path), Err(SnapshotError::Damaged { .. })));
}

/// Puts checksums that fit on whatever the blocks hold.
fn sealed(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"FRAUDST\n\x01\0\0\0".to_vec();
    for (place, payload) in (0..).zip(blocks) {
        file.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes());
        file.extend_from_slice(&xxhash_rust::xxh3::xxh3_64_with_seed(payload, place).to_le_bytes());
        file.extend_from_slice(payload);
    }
    file
}

fn blocks(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &file[12..];
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[..4].try_into().expect("four")) as usize;
        blocks.push(rest[12..12 + length].to_vec());
        rest = &rest[12 + length..];
    }
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Someone who knows the format and means harm: an error or some store, never a panic.
    #[test]
    fn blocks_may_hold_anything(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        filled(20).snapshot(&path, b"").expect("written");
        let mut blocks = blocks(&fs::read(&path).expect("read"));
        for (block, byte, value) in edits {
            let block = block.get_mut(&mut blocks);
            let at = byte.index(block.len());
            block[at] = value;
        }
        if let Some(cut) = cut {
            let block = cut.get_mut(&mut blocks);
            block.truncate(block.len() / 2);
        }
        fs::write(&path, sealed(&blocks)).expect("written");
        if let Ok((store, _)) = restore(&path) {
            let mut profile = Profile::default();
            let _any = store.observe(&transaction(3, (1, 1), (START + 5_000, 1)), plan().profile(), &mut profile);
            let _any = store.peek(&transaction(4, (4, 4), (START + 240, 400)), plan().profile(), &mut profile);
        }
    }
}

#[test]
fn a_failed_snapshot_leaves_the_old_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    filled(10).snapshot(&path, b"old").expect("written");
    fs::create_dir(folder.path().join("store.tmp")).expect("in the way");
    let store = filled(20);
    assert!(matches!(store.snapshot(&path, b"new"), Err(SnapshotError::Io { .. })));
    assert_eq!(restore(&path).expect("the old one").1, b"old");
    fs::remove_dir(folder.path().join("store.tmp")).expect("out of the way");
    store.snapshot(&path, b"new").expect("written");
    assert_eq!(restore(&path).expect("the new one").1, b"new");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn an_empty_store_and_a_large_meta_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let meta: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    MemoryStore::new(StoreSettings::default()).snapshot(&path, &meta).expect("written");
    let (store, found) = restore(&path).expect("restored");
    assert!(found == meta && store.time().is_none() && store.stats().events == 0);
}

/// One thread records in order; whatever moment a snapshot catches, it holds the first so many and no other.
#[test]
fn a_snapshot_under_load_is_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(0);
    let plan = plan();
    let stop = AtomicBool::new(false);
    // Payments are years apart now and then, so that customers expire and their places are taken again.
    let nth = |id: i64| transaction(id, (id, id % 11), (START + id * 40 + id / 5_000 * 5_000_000, id % 1_000));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut profile = Profile::default();
            let mut id = 0;
            while !stop.load(Ordering::Relaxed) {
                store.observe(&nth(id), plan.profile(), &mut profile).expect("observed");
                id += 1;
            }
            id
        });
        let mut longest = std::time::Duration::ZERO;
        for round in 0..12 {
            let path = folder.path().join("store");
            let info = store.snapshot(&path, b"").expect("written");
            longest = longest.max(info.pause);
            let (copy, _) = restore(&path).expect("restored");
            let Some(now) = copy.time() else { continue };
            let mut profile = Profile::default();
            let mut known = |id: i64| {
                copy.peek(&nth(id), plan.profile(), &mut profile).expect("as it was sent");
                profile.duplicate
            };
            let last = (0..10_000_000).take_while(|id| nth(*id).time <= now).last().expect("the last one");
            assert_eq!(nth(last).time, now);
            let kept = i64::from(copy.settings().history + copy.settings().lateness);
            for id in (last - 6_000).max(0)..last + 50 {
                assert_eq!(known(id), id <= last && nth(id).time > now - kept, "round {round}: {id} of {last}");
            }
            assert!(info.events <= u64::try_from(last + 1).expect("positive"));
        }
        stop.store(true, Ordering::Relaxed);
        println!("{} recorded, longest pause {longest:?}", writer.join().expect("the writer"));
    });
}
