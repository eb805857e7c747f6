//! A hash that never changes: samples are chosen by it.

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every output bit depends on every input bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hash of `bytes` and `seed`: words of 8 bytes, little-endian, the last one filled with zeros, then the length.
pub(super) fn stable(bytes: &[u8], seed: u64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = mix(seed.wrapping_add(STEP));
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = mix((state ^ u64::from_le_bytes(word)).wrapping_add(STEP));
    }
    mix(state ^ bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::stable;

    #[test]
    fn the_hash_stays_what_it_is() {
        // Computed independently from the definition above.
        assert_eq!(stable(b"", 0), 0x4821_8226_ff3c_d4bf);
        assert_eq!(stable(&5i64.to_le_bytes(), 1), 0xfb1c_f117_df55_0e4e);
        assert_eq!(stable("überall".as_bytes(), 42), 0xeab1_8bf6_df6a_35be);
    }

    #[test]
    fn length_and_seed_count() {
        assert_ne!(stable(b"\0", 0), stable(b"\0\0", 0));
        assert_ne!(stable(b"a", 0), stable(b"a", 1));
    }
}
