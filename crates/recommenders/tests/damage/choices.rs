//! Where a mutation takes its decisions from: a seeded generator in tests, the fuzzer's bytes in fuzz/.

/// A source of decisions.
pub(crate) trait Choices {
    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize;

    /// Any number.
    fn number(&mut self) -> u64;

    /// Yes or no.
    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// One of several.
pub(crate) fn one_of<T: Copy>(choices: &mut dyn Choices, from: &[T]) -> T {
    from[choices.below(from.len())]
}

/// A number of the sort that breaks arithmetic, or any.
pub(crate) fn extreme(choices: &mut dyn Choices) -> u64 {
    match choices.below(4) {
        0 => one_of(choices, &[0, 1, u64::MAX, u64::MAX - 1, i64::MAX as u64, 1 << 63, 1 << 32, 1 << 62]),
        1 => 1 << choices.below(64),
        2 => choices.below(1 << 16) as u64,
        _ => choices.number(),
    }
}

/// A factor or a bound of the sort that breaks arithmetic, or any.
pub(crate) fn extreme_float(choices: &mut dyn Choices) -> f32 {
    match choices.below(3) {
        0 => one_of(
            choices,
            &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::from_bits(1), 0.0, -0.0],
        ),
        1 => choices.below(200) as f32 - 100.0,
        _ => f32::from_bits(choices.number() as u32),
    }
}
