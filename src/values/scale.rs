//! The scalers as window functions. Each reads its partition once, at the first row, and keeps what it fitted.

use base::order;
use pgrx::{IntoDatum, pg_sys};
use values::scale::Scale;
use values::stats::Stats;

use super::window::Window;
use super::{float_datum, not_finite, overflow};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};

/// What is kept of a partition.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Fitted {
    /// 0 before the first row, 1 after it.
    ready: u64,
    /// Numbers that were fitted, without NULL and NaN.
    count: u64,
    scale: Scale,
}

pub(crate) fn standard_scaler(call: &Call) -> Answer {
    scaler(call, |window| Ok(Scale::standard(&read_stats(window)?)))
}

pub(crate) fn min_max_scaler(call: &Call) -> Answer {
    scaler(call, |window| Ok(Scale::min_max(&read_range(window)?)))
}

pub(crate) fn max_abs_scaler(call: &Call) -> Answer {
    scaler(call, |window| Ok(Scale::max_abs(&read_range(window)?)))
}

pub(crate) fn robust_scaler(call: &Call) -> Answer {
    scaler(call, |window| {
        let rows = window.rows()?;
        let mut scratch = Scratch::of(rows as usize);
        let count = read_sorted(window, rows, scratch.slice(), true)?;
        Ok(Scale::robust(&scratch.slice()[..count]))
    })
}

fn scaler(call: &Call, fit: impl Fn(Window) -> Result<Option<Scale>>) -> Answer {
    let window = Window::of(call)?;
    let (fitted, _) = window.memory::<Fitted>(0)?;
    if fitted.ready == 0 {
        if let Some(scale) = fit(window)? {
            (fitted.scale, fitted.count) = (scale, 1);
        }
        fitted.ready = 1;
    }
    let Some(datum) = window.current(0) else { return Ok(None) };
    // Of NaN alone there is nothing to fit.
    let x = f64::from_bits(datum.value() as u64);
    Ok(Some(float_datum(if fitted.count == 0 { f64::NAN } else { fitted.scale.apply(x) })))
}

/// Reads the numbers of a partition; NaN is left out, as scikit-learn does, and infinity refused.
fn read_numbers(window: Window, rows: i64, mut push: impl FnMut(f64) -> bool) -> Result<()> {
    let mut infinite = None;
    let mut fits = true;
    window.read(rows, |x| {
        if x.is_finite() {
            fits = push(x);
            return fits;
        }
        if !x.is_nan() {
            infinite = Some(x);
        }
        infinite.is_none()
    });
    match infinite {
        Some(x) => Err(not_finite("x", x)),
        None if !fits => Err(overflow()),
        None => Ok(()),
    }
}

fn read_stats(window: Window) -> Result<Stats> {
    let mut stats = Stats::EMPTY;
    read_numbers(window, window.rows()?, |x| stats.push(x).is_ok())?;
    Ok(stats)
}

/// The range alone, which cannot overflow.
fn read_range(window: Window) -> Result<Stats> {
    let (mut count, mut min, mut max) = (0, f64::INFINITY, f64::NEG_INFINITY);
    read_numbers(window, window.rows()?, |x| {
        (count, min, max) = (1, min.min(x), max.max(x));
        true
    })?;
    Ok(if count == 0 { Stats::EMPTY } else { Stats::of_range(min, max) })
}

/// Puts the numbers of a partition into `values`, which has room for all rows, and sorts them; how many they are.
fn read_sorted(window: Window, rows: i64, values: &mut [f64], only_finite: bool) -> Result<usize> {
    let mut count = 0;
    let mut keep = |x: f64| {
        values[count] = order::canonical(x);
        count += 1;
        true
    };
    if only_finite {
        read_numbers(window, rows, keep)?;
    } else {
        window.read(rows, |x| x.is_nan() || keep(x));
    }
    let mut scratch = Scratch::of(count);
    order::sort(&mut values[..count], scratch.slice(), || {
        crate::pg::memory::interrupts();
    });
    Ok(count)
}

/// What is kept of a partition in buckets: the lower bounds, or all numbers where they are fewer than bounds.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Buckets {
    /// How many buckets there are; 0 before the first row.
    buckets: u64,
    /// 1 where bounds are kept.
    by_bounds: u64,
    /// Floats after this.
    kept: u64,
}

/// The bucket of each value among buckets of about equally many values. As ntile(), asks the first row how many.
pub(crate) fn quantile_bucketize(call: &Call) -> Answer {
    let window = Window::of(call)?;
    let rows = window.rows()?;
    let (state, kept) = window.memory::<Buckets>(rows as usize)?;
    // SAFETY: the memory has as many floats after the struct as the partition has rows, in this call and all others.
    let kept = unsafe { std::slice::from_raw_parts_mut(kept, rows as usize) };
    if state.buckets == 0 {
        let Some(buckets) = window.current(1) else { return Ok(None) };
        let buckets = buckets.value() as i32;
        if buckets < 1 {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"num_buckets\" must be at least 1, got {buckets}"),
            ));
        }
        let count = read_sorted(window, rows, kept, false)?;
        let bounds = order::bounds(&mut kept[..count], buckets as u32);
        state.by_bounds = u64::from(bounds.is_some());
        state.kept = bounds.unwrap_or(count) as u64;
        state.buckets = buckets as u64;
    }
    let Some(datum) = window.current(0) else { return Ok(None) };
    let x = f64::from_bits(datum.value() as u64);
    if x.is_nan() {
        return Ok(None);
    }
    let kept = &kept[..state.kept as usize];
    let bucket = if state.by_bounds == 1 {
        order::bucket_by(kept, x)
    } else {
        order::bucket(kept, x, state.buckets as u32)
    };
    Ok((bucket as i32).into_datum())
}

/// Floats in the current memory context, freed with this.
struct Scratch {
    start: *mut f64,
    length: usize,
}

impl Scratch {
    fn of(length: usize) -> Scratch {
        // SAFETY: asks for zeroed memory of more than a gigabyte if need be; an ERROR where there is none.
        let start = unsafe {
            pg_sys::palloc_extended(
                length.max(1) * 8,
                (pg_sys::MCXT_ALLOC_HUGE | pg_sys::MCXT_ALLOC_ZERO) as i32,
            )
        };
        Scratch { start: start.cast(), length }
    }

    fn slice(&mut self) -> &mut [f64] {
        // SAFETY: the memory has this many zeroed floats and belongs to this alone.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: allocated by `of`, freed once, in the same memory context.
        unsafe { pg_sys::pfree(self.start.cast()) }
    }
}
