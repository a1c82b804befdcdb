//! Blocks with checksums in a file that appears complete or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::SnapshotError;

const MAGIC: [u8; 8] = *b"FRAUDST\n";
/// The format written here, and the only one read.
const FORMAT: u32 = 1;
/// Largest payload of a block, in bytes: what a reader has to hold at a time.
pub(super) const MAX_BLOCK: usize = 1 << 20;
const BLOCK_HEAD: usize = 12;

pub(super) fn damaged(path: &Path, problem: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged { path: path.to_owned(), problem: problem.into() }
}

fn io_error<'a>(path: &'a Path, action: &'static str) -> impl FnOnce(io::Error) -> SnapshotError + 'a {
    move |source| SnapshotError::Io { path: path.to_owned(), action, source }
}

/// Writes to a neighbour of the file and renames it at the end.
pub(super) struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
    blocks: u64,
    bytes: u64,
}

impl Writer {
    pub fn create(path: &Path) -> Result<Self, SnapshotError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&temporary, "remove")(error));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&temporary).map_err(io_error(&temporary, "create"))?;
        let file = Some(BufWriter::with_capacity(1 << 18, file));
        let mut writer = Self { path: path.to_owned(), temporary, file, blocks: 0, bytes: 0 };
        writer.write(&MAGIC)?;
        writer.write(&FORMAT.to_le_bytes())?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes).map_err(io_error(&self.temporary, "write"))?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    pub fn block(&mut self, payload: &[u8]) -> Result<(), SnapshotError> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.write(&length.to_le_bytes())?;
        self.write(&xxh3_64_with_seed(payload, self.blocks).to_le_bytes())?;
        self.write(payload)?;
        self.blocks += 1;
        Ok(())
    }

    /// Puts the file in its place, safe from a power cut; its size in bytes.
    pub fn finish(mut self) -> Result<u64, SnapshotError> {
        let Some(file) = self.file.take() else { return Ok(self.bytes) };
        let result = self.put_in_place(file);
        if result.is_err() {
            let _best_effort = fs::remove_file(&self.temporary);
        }
        result.map(|()| self.bytes)
    }

    fn put_in_place(&self, file: BufWriter<File>) -> Result<(), SnapshotError> {
        let file = file.into_inner().map_err(|error| io_error(&self.temporary, "write")(error.into_error()))?;
        file.sync_all().map_err(io_error(&self.temporary, "sync"))?;
        drop(file);
        fs::rename(&self.temporary, &self.path).map_err(io_error(&self.path, "replace"))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Windows cannot open a folder; there a rename is as safe as it gets.
        #[cfg(unix)]
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder, "sync"))?;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _best_effort = fs::remove_file(&self.temporary);
        }
    }
}

/// Reads block by block; never holds more than one.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes of the file not read yet.
    left: u64,
    blocks: u64,
    payload: Vec<u8>,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let metadata = file.metadata().map_err(io_error(path, "read"))?;
        if !metadata.is_file() {
            return Err(SnapshotError::Foreign { path: path.to_owned() });
        }
        let file = BufReader::with_capacity(1 << 18, file);
        let mut reader = Self { path: path.to_owned(), file, left: metadata.len(), blocks: 0, payload: Vec::new() };
        let mut magic = [0; MAGIC.len()];
        let mut format = [0; 4];
        if reader.left < magic.len() as u64 {
            return Err(SnapshotError::Foreign { path: path.to_owned() });
        }
        reader.read(&mut magic)?;
        if magic != MAGIC {
            return Err(SnapshotError::Foreign { path: path.to_owned() });
        }
        reader.read(&mut format)?;
        let found = u32::from_le_bytes(format);
        if found != FORMAT {
            return Err(SnapshotError::Version { path: path.to_owned(), found, supported: FORMAT });
        }
        Ok(reader)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), SnapshotError> {
        self.left = self.left.checked_sub(into.len() as u64).ok_or_else(|| damaged(&self.path, "it ends early"))?;
        self.file.read_exact(into).map_err(io_error(&self.path, "read"))
    }

    /// The next block's payload; `None` at the end of the file, which must be the end of a block.
    pub fn block(&mut self) -> Result<Option<&[u8]>, SnapshotError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = [0; BLOCK_HEAD];
        self.read(&mut head)?;
        let (length, hash) = head.split_at(4);
        let length = length.try_into().map_or(usize::MAX, |bytes| u32::from_le_bytes(bytes) as usize);
        let hash = hash.try_into().map_or(0, u64::from_le_bytes);
        if length > MAX_BLOCK {
            return Err(damaged(&self.path, format!("block {} claims {length} bytes", self.blocks)));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        self.read(&mut payload)?;
        self.payload = payload;
        // A fuzzer cannot guess checksums; what they guard is what it is to try.
        if !cfg!(fuzzing) && xxh3_64_with_seed(&self.payload, self.blocks) != hash {
            return Err(damaged(&self.path, format!("the checksum of block {} does not fit", self.blocks)));
        }
        self.blocks += 1;
        Ok(Some(&self.payload))
    }
}
