//! Which vector instructions this machine has. Whole loops are compiled once per level and chosen by one match.

pub mod doubles;
pub mod lanes;

use std::sync::OnceLock;

/// Instruction sets that loops are compiled for, from slow to fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has (SSE2 on x86-64, NEON on aarch64).
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// The best level of this processor, found once.
#[inline]
pub fn level() -> Level {
    *LEVEL.get_or_init(detect)
}

/// Makes a level that this processor can run that of the whole process. Only before anything was computed: false says that it
/// is too late. For tests of whole trainings; those of single loops choose among [`levels`].
pub fn settle(on: Level) -> bool {
    on <= detect() && LEVEL.set(on).is_ok()
}

/// Every level that this processor can run: what tests iterate over.
pub fn levels() -> impl Iterator<Item = Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&each| each <= level())
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}
