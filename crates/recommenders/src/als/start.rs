//! Random start factors.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::error::Result;
use base::jobs::share;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::factors::Factors;

use super::Params;

/// Rows per stream of the generator: part of what makes a seed reproducible.
const ROWS: usize = 1024;

/// Factors to start the training from: normally distributed around 0 with standard deviation 0.01. A seed
/// gives the same bits with every number of threads: each block of 1,024 rows has its own ChaCha8 stream.
///
/// Errors: `Parameter`, `Cancelled`, `Memory`, `NoMemory`. [`Factors::bytes`] stay taken from `control`.
pub fn start(users: usize, items: usize, params: &Params, control: &Control) -> Result<Factors> {
    params.check()?;
    normal([users, items], params.factors, 0.01, params.seed, params.threads, control)
}

/// Factors for so many users and items, normally distributed around 0; otherwise as [`start`].
pub(crate) fn normal(
    [users, items]: [usize; 2],
    factors: usize,
    deviation: f64,
    seed: u64,
    threads: usize,
    control: &Control,
) -> Result<Factors> {
    let mut budget = Budget::new(control, TRAINING);
    let mut zeros = |rows: usize| budget.zeroed(rows * factors);
    let mut start = Factors { factors, users: zeros(users)?, items: zeros(items)? };
    let blocks = users.div_ceil(ROWS) + items.div_ceil(ROWS);
    let users = start.users.chunks_mut(ROWS * factors).zip((0u64..).step_by(2));
    let items = start.items.chunks_mut(ROWS * factors).zip((1u64..).step_by(2));
    share(users.chain(items), threads.min(blocks), control, |jobs| {
        while let Some((block, stream)) = jobs.next()? {
            control.check()?;
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(stream);
            for number in block {
                let normal: f64 = StandardNormal.sample(&mut generator);
                *number = (normal * deviation) as f32;
            }
        }
        Ok(())
    })?;
    budget.keep(start.bytes());
    Ok(start)
}
