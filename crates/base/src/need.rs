//! What a fit takes of the memory.

/// Memory of a fit, beside its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// While it computes, its result included.
    pub peak: u64,
    /// Of the result.
    pub result: u64,
}
