//! The inverse of a symmetric positive definite matrix, in place: the sweep operator by tiles.
//!
//! Sweeping the block `k` of a symmetric matrix `A` puts `-D` in the place of `A_kk`, with `D` its inverse, `A_ik D` in that
//! of `A_ik`, and `A_ij - A_ik D A_kj` elsewhere. After every block was swept once `A` is minus its inverse (Goodnight, A
//! Tutorial on the SWEEP Operator, The American Statistician 33, 1979). It takes as many operations as a Cholesky
//! factorization that is inverted and multiplied, `n^3`, but needs no order within a step: all tiles are independent, so
//! threads share them without waiting and nothing depends on how. Without pivoting it is as stable as Cholesky for such
//! matrices: every pivot is that of a Schur complement, whose eigenvalues lie within those of the matrix.

use base::aligned::Buffer;
use base::control::Control;
use base::error::{Error, Result};
use base::jobs::share;
use base::simd::Level;

use crate::tasks::EASE;

use super::kernel::{AREA, TILE, add_product, left, right};
use super::{Params, Triangle};

/// Puts minus its inverse in the place of the matrix.
pub(super) fn invert(level: Level, tiles: &mut Triangle, params: &Params, control: &Control) -> Result<()> {
    let blocks = tiles.blocks;
    let panels = || Buffer::<f64>::zeros(EASE, blocks * AREA, control);
    // The column of tiles at hand, and the same times the inverse of its pivot.
    let (mut column, mut scaled) = (panels()?, panels()?);
    let mut pivot = Buffer::<f64>::zeros(EASE, AREA, control)?;
    let mut packed = Buffer::<f64>::zeros(EASE, AREA, control)?;
    for k in 0..blocks {
        control.check()?;
        pivot.copy_from_slice(tiles.tile(k, k));
        invert_pivot(&mut pivot, params.regularization)?;
        for (at, &number) in pivot.iter().enumerate() {
            packed[left(at / TILE, at % TILE)] = number;
        }
        let source: &Triangle = tiles;
        let jobs = column.chunks_mut(AREA).zip(scaled.chunks_mut(AREA)).enumerate().filter(|(i, _)| *i != k);
        share(jobs, params.threads.min(blocks), control, |jobs| {
            let mut product = Buffer::<f64>::zeros(EASE, AREA, control)?;
            while let Some((i, (column, scaled))) = jobs.next()? {
                read(source, k, i, column);
                product.fill(0.0);
                add_product(level, &packed, column, 1.0, &mut product);
                for (at, &number) in product.iter().enumerate() {
                    scaled[left(at % TILE, at / TILE)] = number;
                }
            }
            Ok(())
        })?;
        let (column, scaled, pivot): (&[f64], &[f64], &[f64]) = (&column, &scaled, &pivot);
        let jobs = Triangle::places(blocks).zip(tiles.numbers.chunks_mut(AREA));
        share(jobs, params.threads.min(blocks), control, |jobs| {
            while let Some(((i, j), tile)) = jobs.next()? {
                match (i == k, j == k) {
                    (true, true) => tile.iter_mut().zip(pivot).for_each(|(to, from)| *to = -from),
                    (false, true) => {
                        let scaled = &scaled[i * AREA..][..AREA];
                        tile.iter_mut()
                            .enumerate()
                            .for_each(|(at, to)| *to = scaled[left(at / TILE, at % TILE)]);
                    }
                    (true, false) => {
                        let scaled = &scaled[j * AREA..][..AREA];
                        tile.iter_mut()
                            .enumerate()
                            .for_each(|(at, to)| *to = scaled[left(at % TILE, at / TILE)]);
                    }
                    (false, false) => {
                        add_product(
                            level,
                            &scaled[i * AREA..][..AREA],
                            &column[j * AREA..][..AREA],
                            -1.0,
                            tile,
                        );
                    }
                }
                control.advance(1);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The tile of the rows of block `i` and the columns of block `k`, as a right panel whose depths are those columns.
fn read(tiles: &Triangle, k: usize, i: usize, panel: &mut [f64]) {
    if i > k {
        for (at, &number) in tiles.tile(i, k).iter().enumerate() {
            panel[right(at % TILE, at / TILE)] = number;
        }
    } else {
        for (at, &number) in tiles.tile(k, i).iter().enumerate() {
            panel[right(at / TILE, at % TILE)] = number;
        }
    }
}

/// The inverse of one tile, of which the lower half counts. About 1 ms.
///
/// No pivot of the whole matrix can be below lambda but by rounding, and then nothing of lambda is left.
fn invert_pivot(tile: &mut [f64], lambda: f64) -> Result<()> {
    for row in 0..TILE {
        for column in 0..row {
            tile[column * TILE + row] = tile[row * TILE + column];
        }
    }
    let mut line = [0.0; TILE];
    for at in 0..TILE {
        line.copy_from_slice(&tile[at * TILE..][..TILE]);
        let pivot = line[at];
        if pivot.is_nan() || pivot < lambda / 2.0 {
            return Err(Error::Parameter {
                name: "regularization",
                expected: "greater for interactions as many as these".into(),
                got: lambda.to_string(),
            });
        }
        for (row, numbers) in tile.chunks_exact_mut(TILE).enumerate() {
            let by = line[row] / pivot;
            if row == at {
                numbers.iter_mut().zip(&line).for_each(|(to, from)| *to = from / pivot);
                numbers[at] = -1.0 / pivot;
            } else {
                numbers.iter_mut().zip(&line).for_each(|(to, from)| *to -= by * from);
                numbers[at] = by;
            }
        }
    }
    tile.iter_mut().for_each(|number| *number = -*number);
    Ok(())
}
