//! How often items come together: the matrix to invert.

use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;

use super::kernel::{AREA, TILE};
use super::{Params, Triangle};

/// What an entry counts.
#[inline]
fn weight(value: f32, params: &Params) -> f64 {
    match value > 0.0 {
        true if params.weighted => f64::from(value),
        true => 1.0,
        false => 0.0,
    }
}

/// Fills zeros with `X'X + lambda I`; items past the last get lambda alone. Each row is summed by one thread in the order of
/// its users: the same bits for every number of threads.
pub(super) fn fill(
    tiles: &mut Triangle,
    user_items: &Csr,
    item_users: &Csr,
    params: &Params,
    control: &Control,
) -> Result<()> {
    let (items, blocks) = (tiles.items, tiles.blocks);
    let mut rest = tiles.numbers.as_mut_slice();
    let mut jobs: Vec<(usize, &mut [f64])> = Vec::with_capacity(blocks);
    for block in 0..blocks {
        let (row, others) = rest.split_at_mut((block + 1) * AREA);
        jobs.push((block, row));
        rest = others;
    }
    // The last are the longest.
    share(jobs.into_iter().rev(), params.threads.min(blocks), control, |jobs| {
        let mut pace = Pace::new(control);
        while let Some((block, row)) = jobs.next()? {
            for line in 0..TILE {
                let item = block * TILE + line;
                if item < items {
                    add_item(row, line, item, (user_items, item_users), params, &mut pace)?;
                    control.advance(item_users.row(item).0.len() as u64);
                }
                row[block * AREA + line * (TILE + 1)] += params.regularization;
            }
        }
        Ok(())
    })
}

/// Adds up the items that come with one, up to itself.
fn add_item(
    row: &mut [f64],
    line: usize,
    item: usize,
    (user_items, item_users): (&Csr, &Csr),
    params: &Params,
    pace: &mut Pace<'_>,
) -> Result<()> {
    let (users, values) = item_users.row(item);
    for (&user, &value) in users.iter().zip(values) {
        let by = weight(value, params);
        let (others, values) = user_items.row(user as usize);
        pace.step(others.len() + 1)?;
        for (&other, &value) in others.iter().zip(values) {
            let other = other as usize;
            if other > item {
                break;
            }
            row[other / TILE * AREA + line * TILE + other % TILE] += by * weight(value, params);
        }
    }
    Ok(())
}
