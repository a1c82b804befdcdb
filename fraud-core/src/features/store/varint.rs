//! Whole numbers in as many bytes as they need, seven bits to each, lowest first.

/// Most bytes of a 64-bit number.
pub(crate) const MAX_LEN: usize = 10;

pub(crate) fn put(out: &mut Vec<u8>, mut value: u128) {
    // Nearly all fit into 64 bits, where shifts are cheap.
    let mut low = loop {
        match u64::try_from(value) {
            Ok(low) => break low,
            Err(_) => out.push((value & 0x7f) as u8 | 0x80),
        }
        value >>= 7;
    };
    while low >= 0x80 {
        out.push((low & 0x7f) as u8 | 0x80);
        low >>= 7;
    }
    out.push((low & 0x7f) as u8);
}

/// Small numbers of either sign to small ones without.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, u128::from(value.cast_unsigned() << 1 ^ (value >> 63).cast_unsigned()));
}

/// Reads from bytes that may be anything: `None` where they end early or a number is too great.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(length)?;
        self.bytes = tail;
        Some(head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        let (first, tail) = self.bytes.split_first()?;
        self.bytes = tail;
        Some(*first)
    }

    pub fn u32_le(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub fn u64_le(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub fn u128(&mut self) -> Option<u128> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.u8()?;
            let part = u128::from(byte & 0x7f);
            if shift == 126 && part > 3 {
                return None;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.u128()?.try_into().ok()
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.u128()?.try_into().ok()
    }

    pub fn usize(&mut self) -> Option<usize> {
        self.u128()?.try_into().ok()
    }

    pub fn signed(&mut self) -> Option<i64> {
        let value = self.u64()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u128::from(u64::MAX), u128::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.u128(), Some(value));
            assert_eq!(reader.left(), 0);
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).u128(), None);
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            assert_eq!(Reader::new(&bytes).signed(), Some(value));
        }
        assert_eq!(Reader::new(&[0xff; 19]).u128(), None);
    }
}
