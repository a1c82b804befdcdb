//! The bytes of a Parquet file: every length that the file claims is held against what there is.

use std::io::{Read, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::Scan;
use crate::files::Source;

/// Largest page, packed or unpacked. Writers make pages of about a megabyte.
const MAX_PAGE_BYTES: i32 = 64 << 20;

/// A file whose reads are checked. Clones share it.
#[derive(Clone)]
pub(super) struct Input {
    source: Arc<Mutex<Box<dyn Source>>>,
    length: u64,
}

impl Input {
    pub(super) fn new(source: Box<dyn Source>, length: u64) -> Self {
        Self { source: Arc::new(Mutex::new(source)), length }
    }

    /// Fills the buffer from that position.
    fn read_at(&self, start: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let mut source = self.source.lock();
        source.seek(SeekFrom::Start(start))?;
        source.read_exact(buffer)
    }

    fn check(&self, start: u64, length: u64) -> Result<()> {
        match start.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(general(format!(
                "it points at {length} bytes from {start}, the file ends at {}: it was cut or is damaged",
                self.length
            ))),
        }
    }
}

pub(super) fn general(problem: String) -> ParquetError {
    ParquetError::General(problem)
}

impl Length for Input {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Input {
    type T = HeaderReader;

    /// Only page headers are read this way.
    fn get_read(&self, start: u64) -> Result<HeaderReader> {
        // Nearly every header fits into the first of these; statistics of long texts make long ones.
        const LENGTHS: [u64; 3] = [512, 16 << 10, 1 << 20];
        self.check(start, 1)?;
        let mut header = Vec::new();
        let mut sizes = None;
        for length in LENGTHS {
            header.resize(length.min(self.length - start) as usize, 0);
            self.read_at(start, &mut header)?;
            sizes = Scan::new(&header).page_sizes();
            if sizes.is_some() || header.len() < length as usize {
                break;
            }
        }
        let (unpacked, packed) = sizes
            .ok_or_else(|| general(format!("the page at byte {start} has no readable header of at most 1 MiB")))?;
        if !(0..=MAX_PAGE_BYTES).contains(&unpacked) || !(0..=MAX_PAGE_BYTES).contains(&packed) {
            return Err(general(format!(
                "the page at byte {start} claims {unpacked} bytes ({packed} packed), at most {MAX_PAGE_BYTES} are \
                 read: write it with smaller pages"
            )));
        }
        Ok(HeaderReader { input: self.clone(), position: start, buffer: Vec::new(), next: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.check(start, length as u64)?;
        let mut buffer = vec![0; length];
        self.read_at(start, &mut buffer)?;
        Ok(buffer.into())
    }
}

/// A page header, byte by byte.
pub(super) struct HeaderReader {
    input: Input,
    position: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl Read for HeaderReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        const CHUNK: u64 = 512;
        if self.next == self.buffer.len() {
            let length = CHUNK.min(self.input.length.saturating_sub(self.position)) as usize;
            self.buffer.resize(length, 0);
            self.input.read_at(self.position, &mut self.buffer)?;
            self.position += length as u64;
            self.next = 0;
        }
        let part = &self.buffer[self.next..];
        let length = part.len().min(out.len());
        out[..length].copy_from_slice(&part[..length]);
        self.next += length;
        Ok(length)
    }
}

/// A column's pages; a dictionary's claimed size is held against its bytes, and who refers to one must have one.
pub(super) struct Pages<P> {
    inner: P,
    /// The least bytes that one value of the column takes.
    value_bytes: usize,
    has_dictionary: bool,
}

impl<P: PageReader> Pages<P> {
    pub(super) fn new(inner: P, value_bytes: usize) -> Self {
        Self { inner, value_bytes, has_dictionary: false }
    }

    fn check(&mut self, page: Page) -> Result<Page> {
        let refers = matches!(page.encoding(), Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        match page {
            Page::DictionaryPage { .. } => self.has_dictionary = true,
            _ if refers && !self.has_dictionary => {
                return Err(general("a page refers to a dictionary, and none comes before it".to_owned()));
            }
            _ => {}
        }
        let claimed = page.num_values() as usize;
        let room = page.buffer().len();
        let fits = match &page {
            Page::DictionaryPage { .. } => claimed <= room / self.value_bytes,
            // A page may repeat one value very often, but nobody writes more rows than this into one.
            _ => claimed <= MAX_PAGE_BYTES as usize,
        };
        if fits { Ok(page) } else { Err(general(format!("a page claims {claimed} values in {room} bytes"))) }
    }
}

impl<P: PageReader> Iterator for Pages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for Pages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.inner.get_next_page()?.map(|page| self.check(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}
