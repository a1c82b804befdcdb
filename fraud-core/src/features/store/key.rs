//! Identifiers as the store holds them, and how they are hashed.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

use crate::transaction::{Id, IdRef};

/// Set in [`Key::high`] of every text, never of an integer.
const TEXT: u64 = 1 << 63;

/// An identifier in 16 bytes: integers exactly, texts as 127 bits of a keyed hash.
///
/// Without the secret nobody can construct two texts with one key; by chance they meet once in 2⁶³ texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Key {
    pub low: u64,
    /// 0 for an integer.
    pub high: u64,
}

impl Key {
    /// Whether it is an integer, which [`Key::low`] alone holds.
    pub fn is_integer(self) -> bool {
        self.high == 0
    }

    /// Whether some identifier has this key.
    pub fn is_valid(self) -> bool {
        self.high == 0 || self.high & TEXT != 0
    }
}

/// What a store mixes into every key and hash, so that nobody can aim at a bucket. Rides in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    pub words: [u64; 5],
}

impl Secret {
    pub fn random() -> Self {
        // The only source of randomness in the standard library.
        let random = RandomState::new();
        Self { words: [1_u64, 2, 3, 4, 5].map(|word| random.hash_one(word)) }
    }

    pub fn key(&self, id: &Id) -> Key {
        match id.as_ref() {
            IdRef::Integer(value) => Key { low: value.cast_unsigned(), high: 0 },
            IdRef::Text(text) => {
                let hash = SipHasher13::new_with_keys(self.words[0], self.words[1]).hash(text.as_bytes());
                Key { low: hash.h1, high: hash.h2 | TEXT }
            }
        }
    }

    /// 64 well mixed bits.
    pub fn hash(&self, key: Key) -> u64 {
        let first = fold(key.low ^ self.words[2], self.words[3]);
        fold(first ^ key.high ^ self.words[4], self.words[3].rotate_left(32) ^ self.words[2])
    }
}

/// The halves of the full product, put together: every bit of the result depends on every bit of both.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right | 1);
    #[allow(clippy::cast_possible_truncation)] // The lower half is meant.
    let low = product as u64;
    low ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_texts_never_share_a_key() {
        let secret = Secret::random();
        let integer = secret.key(&Id::from(-1));
        let text = secret.key(&Id::from_text("minus one").expect("valid"));
        assert!(integer.is_integer() && !text.is_integer());
        assert!(integer.is_valid() && text.is_valid());
        assert_eq!(secret.key(&Id::from_text("-1").expect("valid")), integer);
        assert_ne!(Secret::random(), secret);
    }

    #[test]
    fn hashes_of_neighbours_spread_over_shards_and_buckets() {
        let secret = Secret::random();
        for shift in [0, 20, 40, 57] {
            let mut seen = [0_u32; 64];
            for low in 0..64_000 {
                seen[(secret.hash(Key { low, high: 0 }) >> shift) as usize % 64] += 1;
            }
            assert!(seen.iter().all(|count| (700..1_300).contains(count)), "{shift}: {seen:?}");
        }
    }
}
