//! A look at thrift's compact encoding ahead of the real reader, for the claims that cost memory, stack or time.
//!
//! The real reader passes over booleans in lists without reading a byte, so that ten bytes may claim two thousand million
//! of them, which it counts through. Neither a file's metadata nor a page's header has such a list: one that does is
//! refused, and everything else takes at least a byte for what it claims.

/// Deepest nesting of a schema.
const MAX_DEPTH: usize = 64;
/// Most entries of a schema.
const MAX_ENTRIES: u64 = 10_000;

const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A position in encoded bytes. Every method answers `None` where the bytes do not fit.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Unpacked and packed size of a page header, which are its second and third field; all of it must be there.
    pub(super) fn page_sizes(&mut self) -> Option<(i32, i32)> {
        let mut sizes = [0; 3];
        let mut last = 0;
        for (index, size) in sizes.iter_mut().enumerate() {
            if self.field(&mut last)? != Some((I32, index as i64 + 1)) {
                return None;
            }
            *size = i32::try_from(self.zigzag()?).ok()?;
        }
        while let Some((kind, _)) = self.field(&mut last)? {
            self.skip(kind, 0)?;
        }
        Some((sizes[1], sizes[2]))
    }

    /// Whether a file's metadata holds what it claims, and its schema is of a sane size and depth.
    pub(super) fn metadata_is_sane(&mut self) -> Option<()> {
        let mut last = 0;
        while let Some((kind, id)) = self.field(&mut last)? {
            match (kind, id) {
                (LIST, 2) => self.schema()?,
                _ => self.skip(kind, 0)?,
            }
        }
        Some(())
    }

    fn schema(&mut self) -> Option<()> {
        let (kind, entries) = self.list()?;
        if kind != STRUCT || entries > MAX_ENTRIES {
            return None;
        }
        // How many children each open level still waits for.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..entries {
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            let children = self.children()?;
            if children > 0 {
                open.push(children);
            }
            if open.len() > MAX_DEPTH || children > MAX_ENTRIES {
                return None;
            }
        }
        Some(())
    }

    /// Reads one schema entry: its field 5 is the number of its children.
    fn children(&mut self) -> Option<u64> {
        let (mut last, mut children) = (0, 0);
        while let Some((kind, id)) = self.field(&mut last)? {
            if (kind, id) == (I32, 5) {
                children = u64::try_from(self.zigzag()?).ok()?;
            } else {
                self.skip(kind, 0)?;
            }
        }
        Some(children)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Kind and number of the next field; `Some(None)` at the end of the struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<(u8, i64)>> {
        let head = self.byte()?;
        if matches!(head & 0x0f, 0) {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.zigzag()?,
            delta => last.checked_add(i64::from(delta))?,
        };
        Some(Some((head & 0x0f, *last)))
    }

    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Some((head & 0x0f, length))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.take(8)?,
            8 => {
                let length = self.varint()?;
                self.take(length)?;
            }
            LIST | 10 => {
                let (kind, length) = self.list()?;
                if kind <= 2 {
                    return None;
                }
                for _ in 0..length {
                    self.skip(kind, depth + 1)?;
                }
            }
            11 => {
                let length = self.varint()?;
                if length > 0 {
                    let kinds = self.byte()?;
                    let kinds = [kinds >> 4, kinds & 0x0f];
                    if kinds.iter().any(|kind| *kind <= 2) {
                        return None;
                    }
                    for _ in 0..length {
                        for kind in kinds {
                            self.skip(kind, depth + 1)?;
                        }
                    }
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some((kind, _)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn take(&mut self, length: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}
