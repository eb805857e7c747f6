//! A set of 128-bit keys in flat words, with room for further words beside each key. Whoever owns the words makes
//! them longer; nothing here allocates.

/// Words of a key.
const KEY: usize = 2;

/// Words of a table with this many entries of `W` words, a power of two.
pub const fn words<const W: usize>(capacity: usize) -> usize {
    1 + capacity * W
}

/// A view of the words: the number of keys, then entries of `W` words, the first two of which are the key. An entry
/// of no key is all zero. Zeroed words are an empty table.
pub struct Table<'a, const W: usize> {
    words: &'a mut [u64],
}

impl<'a, const W: usize> Table<'a, W> {
    /// A view of words as long as `words` says.
    pub fn new(words: &'a mut [u64]) -> Table<'a, W> {
        Table { words }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.words[0] as usize
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries there are room for.
    pub fn capacity(&self) -> usize {
        capacity::<W>(self.words)
    }

    /// The entry of a key, made where there is none; None where the table is too full for a new one.
    pub fn entry(&mut self, key: u128) -> Option<&mut [u64]> {
        let [low, high] = split(key);
        let mask = self.capacity() - 1;
        let mut slot = mix(low ^ high.rotate_left(32)) as usize & mask;
        loop {
            let at = 1 + slot * W;
            let found = [self.words[at], self.words[at + 1]];
            if found == [0, 0] {
                // Three quarters at most: a search always ends.
                if (self.len() + 1) * 4 > (mask + 1) * 3 {
                    return None;
                }
                (self.words[at], self.words[at + 1]) = (low, high);
                self.words[0] += 1;
                return Some(&mut self.words[at + KEY..at + W]);
            }
            if found == [low, high] {
                return Some(&mut self.words[at + KEY..at + W]);
            }
            slot = (slot + 1) & mask;
        }
    }
}

fn capacity<const W: usize>(words: &[u64]) -> usize {
    (words.len() - 1) / W
}

/// The entries that have a key: key and words beside it.
pub fn entries<const W: usize>(words: &[u64]) -> impl Iterator<Item = (u128, &[u64])> {
    words[1..].chunks_exact(W).filter_map(|entry| {
        let key = u128::from(entry[0]) | u128::from(entry[1]) << 64;
        (key != 0).then_some((key, &entry[KEY..]))
    })
}

/// Whether words that came from elsewhere are a table.
pub fn is_table<const W: usize>(words: &[u64]) -> bool {
    if words.is_empty() || !(words.len() - 1).is_multiple_of(W) || !capacity::<W>(words).is_power_of_two() {
        return false;
    }
    let keys: Vec<u128> = entries::<W>(words).map(|(key, _)| key).collect();
    if keys.len() as u64 != words[0] || keys.len() * 4 > capacity::<W>(words) * 3 {
        return false;
    }
    // Each key must be where a search for it ends.
    let mut copy = words.to_vec();
    let mut table = Table::<W>::new(&mut copy);
    keys.iter().all(|&key| table.entry(key).is_some()) && table.len() == keys.len()
}

fn split(key: u128) -> [u64; 2] {
    // All zero is an empty entry.
    match [key as u64, (key >> 64) as u64] {
        [0, 0] => [0, 1],
        other => other,
    }
}

/// The finalizer of MurmurHash3.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// FNV-1a in 128 bits: keys of texts that must be the same on every machine and in every version.
pub fn key_of(bytes: &[u8]) -> u128 {
    const PRIME: u128 = (1 << 88) + 0x13b;
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}
