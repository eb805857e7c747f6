//! One pass over the entries of a block: samples, their errors, their gradients.

use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::simd::lanes::{Kernel, Lanes};
use rand::Rng;

use super::blocks::{Block, below, shuffle};
use super::optimizer::Sink;
use super::params::{Loss, Sampling};
use super::side::{Row, Shared};

/// What all passes have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) loss: Loss,
    pub(super) sampling: Sampling,
    pub(super) negatives: usize,
    pub(super) regularization: f32,
    /// Subtracted from every value.
    pub(super) mean: f32,
    /// Items in all.
    pub(super) items: usize,
    pub(super) factors: usize,
    pub(super) width: usize,
    pub(super) dropout: f64,
}

/// Draws of a negative before the update is left out, for a user who has about everything.
const TRIES: usize = 10;
/// The same for [`Sampling::Popularity`], as implicit does: who has much is updated less.
const TRIES_BY_POPULARITY: usize = 1;
/// The most that a violation of [`Loss::Warp`] counts: LightFM's, beyond which factors explode.
const HEAVIEST: f32 = 10.0;

/// The losses of samples, and how many there were.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Total {
    pub(super) loss: f64,
    pub(super) samples: u64,
}

/// Adds up the losses of a block.
struct Losses {
    total: Total,
    /// Factors between 1 and 2 whose logarithms are still to be added: one logarithm each would take a sixth of the time
    /// of an epoch.
    product: f64,
    factors: u32,
}

impl Losses {
    const MOST: u32 = 512;

    fn new() -> Self {
        Self { total: Total::default(), product: 1.0, factors: 0 }
    }

    #[inline(always)]
    fn add(&mut self, loss: f32) {
        self.total.loss += f64::from(loss);
        self.total.samples += 1;
    }

    /// Adds `ln(1 + exp(-x))` and returns `1 / (1 + exp(x))`: how much a margin can still gain.
    #[inline(always)]
    fn logistic(&mut self, x: f32) -> f32 {
        // Of the smaller exponential, so that nothing overflows.
        let small = (-x.abs()).exp();
        self.add((-x).max(0.0));
        self.product *= f64::from(1.0 + small);
        self.factors += 1;
        if self.factors == Self::MOST {
            self.settle();
        }
        if x > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
    }

    /// The same with a weight, which the returned gain does not have.
    #[inline(always)]
    fn weighted(&mut self, x: f32, weight: f32) -> f32 {
        if weight == 1.0 {
            return self.logistic(x);
        }
        let small = (-x.abs()).exp();
        self.add(weight * ((-x).max(0.0) + small.ln_1p()));
        if x > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
    }

    fn settle(&mut self) {
        self.total.loss += self.product.ln();
        (self.product, self.factors) = (1.0, 0);
    }
}

impl Total {
    pub(super) fn merge(&mut self, other: Total) {
        self.loss += other.loss;
        self.samples += other.samples;
    }
}

/// Looks at the control by what was read and written.
struct Looks<'a> {
    control: &'a Control,
    left: usize,
}

impl Looks<'_> {
    /// Numbers between two looks: at most 1 ms, if every cache line of them had to come from memory.
    const PIECE: usize = 1 << 17;

    #[inline(always)]
    fn step(&mut self, numbers: usize) -> Result<()> {
        // What a row costs however short it is.
        let numbers = numbers + 64;
        if numbers < self.left {
            self.left -= numbers;
            return Ok(());
        }
        self.left = Self::PIECE;
        self.control.check()
    }
}

/// A pass over a block.
pub(super) struct Pass<'a, S> {
    pub(super) block: Block<'a>,
    pub(super) user_items: &'a Csr,
    pub(super) users: Shared,
    pub(super) items: Shared,
    pub(super) setting: Setting,
    pub(super) sink: S,
    /// One per column: what the product of the two factors counts with.
    pub(super) mask: &'a mut [f32],
    pub(super) control: &'a Control,
}

impl<S: Sink> Kernel for Pass<'_, S> {
    type Output = Result<Total>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) -> Result<Total> {
        // SAFETY: the caller vouches for the instructions.
        unsafe { if self.setting.dropout > 0.0 { self.pass::<L, true>() } else { self.pass::<L, false>() } }
    }
}

impl<S: Sink> Pass<'_, S> {
    /// # Safety
    /// The processor has the instructions of `L`. The sides have a row for each user and item of the block, of the
    /// setting's width, and no other thread uses these; the mask has as many numbers.
    #[inline(always)]
    unsafe fn pass<L: Lanes, const MASKED: bool>(&mut self) -> Result<Total> {
        let Setting { loss, negatives, mean, items, width, .. } = self.setting;
        assert!(self.mask.len() == width && width.is_multiple_of(L::N));
        shuffle(self.block.entries, &mut self.block.generator, self.control)?;
        let mut looks = Looks { control: self.control, left: Looks::PIECE };
        let mut losses = Losses::new();
        for at in 0..self.block.entries.len() {
            let entry = self.block.entries[at];
            let seen = self.user_items.row(entry.user as usize).0;
            if MASKED {
                self.draw_mask();
            }
            looks.step(3 * width)?;
            // SAFETY: the caller vouches for the instructions and for rows of these users and items. Negatives are not
            // among the user's items, so the rows of an update are distinct.
            unsafe {
                let user = self.users.row(entry.user);
                let item = self.items.row(entry.item);
                match loss {
                    Loss::Squared => {
                        let error = entry.value - mean - self.product::<L, MASKED>(&user, &item);
                        losses.add(0.5 * error * error);
                        self.point::<L, MASKED>(user, item, error);
                        for _ in 0..negatives {
                            looks.step(3 * width)?;
                            let Some(negative) = self.negative(seen) else { continue };
                            let item = self.items.row(negative);
                            let error = -mean - self.product::<L, MASKED>(&user, &item);
                            losses.add(0.5 * error * error);
                            self.point::<L, MASKED>(user, item, error);
                        }
                    }
                    Loss::Logistic => {
                        let sign = if entry.value > 0.0 { 1.0 } else { -1.0 };
                        let weight = entry.value.abs();
                        let margin = sign * self.product::<L, MASKED>(&user, &item);
                        let gain = losses.weighted(margin, weight);
                        self.point::<L, MASKED>(user, item, sign * weight * gain);
                        for _ in 0..negatives {
                            looks.step(3 * width)?;
                            let Some(negative) = self.negative(seen) else { continue };
                            let item = self.items.row(negative);
                            let gain = losses.logistic(-self.product::<L, MASKED>(&user, &item));
                            self.point::<L, MASKED>(user, item, -gain);
                        }
                    }
                    // Of what a user dislikes nothing can be said about its rank.
                    Loss::Bpr | Loss::Warp if entry.value <= 0.0 => {}
                    Loss::Bpr => {
                        for _ in 0..negatives {
                            looks.step(3 * width)?;
                            let Some(negative) = self.negative(seen) else { continue };
                            let other = self.items.row(negative);
                            let margin = self.margin::<L, MASKED>(&user, &item, &other);
                            let gain = losses.logistic(margin);
                            self.pair::<L, MASKED>(user, item, other, gain);
                        }
                    }
                    Loss::Warp => {
                        let positive = self.product::<L, MASKED>(&user, &item);
                        // Not a number where the factors are none.
                        let mut lost = 0.0 * positive;
                        for draw in 1..=negatives {
                            looks.step(width)?;
                            let drawn = self.draw();
                            let other = self.items.row(drawn);
                            let violation = 1.0 - positive + self.product::<L, MASKED>(&user, &other);
                            if violation > 0.0 && seen.binary_search(&drawn).is_err() {
                                let rank = ((items - 1) / draw).max(1) as f32;
                                let weight = rank.ln().min(HEAVIEST);
                                lost = weight * violation;
                                self.pair::<L, MASKED>(user, item, other, weight);
                                break;
                            }
                        }
                        losses.add(lost);
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.sink.finish::<L>() };
        losses.settle();
        Ok(losses.total)
    }

    /// An item of the block.
    #[inline(always)]
    fn draw(&mut self) -> u32 {
        let Block { entries, items, generator } = &mut self.block;
        match self.setting.sampling {
            Sampling::Uniform => items[below(generator, items.len())],
            Sampling::Popularity => entries[below(generator, entries.len())].item,
        }
    }

    /// An item of the block that the user does not have.
    #[inline(always)]
    fn negative(&mut self, seen: &[u32]) -> Option<u32> {
        let tries = match self.setting.sampling {
            Sampling::Uniform => TRIES,
            Sampling::Popularity => TRIES_BY_POPULARITY,
        };
        (0..tries).map(|_| self.draw()).find(|item| seen.binary_search(item).is_err())
    }

    /// Leaves factors out, never biases.
    #[inline(always)]
    fn draw_mask(&mut self) {
        let Setting { factors, dropout, .. } = self.setting;
        let scale = (1.0 / (1.0 - dropout)) as f32;
        let out = (dropout * 65536.0) as u32;
        for pair in self.mask[..factors].chunks_mut(2) {
            let bits = self.block.generator.next_u32();
            for (number, bits) in pair.iter_mut().zip([bits & 0xffff, bits >> 16]) {
                *number = if bits < out { 0.0 } else { scale };
            }
        }
    }

    /// The product of two rows.
    ///
    /// # Safety
    /// As `pass`, for both rows.
    #[inline(always)]
    unsafe fn product<L: Lanes, const MASKED: bool>(&self, user: &Row, item: &Row) -> f32 {
        // SAFETY: the caller vouches for the instructions and the rows.
        unsafe {
            let mut sum = L::zero();
            for at in (0..self.setting.width).step_by(L::N) {
                let own = self.masked::<L, MASKED>(L::load(user.numbers.add(at)), at);
                sum = own.fma(L::load(item.numbers.add(at)), sum);
            }
            total(sum)
        }
    }

    /// The product of the user's row with the difference of two items'.
    ///
    /// # Safety
    /// As `pass`, for the rows.
    #[inline(always)]
    unsafe fn margin<L: Lanes, const MASKED: bool>(&self, user: &Row, item: &Row, other: &Row) -> f32 {
        // SAFETY: the caller vouches for the instructions and the rows.
        unsafe {
            let (mut sum, minus) = (L::zero(), L::splat(-1.0));
            for at in (0..self.setting.width).step_by(L::N) {
                let own = self.masked::<L, MASKED>(L::load(user.numbers.add(at)), at);
                let item = L::load(item.numbers.add(at));
                sum = own.fma(L::load(other.numbers.add(at)).fma(minus, item), sum);
            }
            total(sum)
        }
    }

    /// An update for `score(user, item)`, by which the loss falls at the rate `gain`.
    ///
    /// # Safety
    /// As `pass`, for the rows.
    #[inline(always)]
    unsafe fn point<L: Lanes, const MASKED: bool>(&mut self, user: Row, item: Row, gain: f32) {
        // SAFETY: the caller vouches for the instructions and the rows.
        unsafe {
            let (user, item) = (self.sink.row(user), self.sink.row(item));
            let (slope, shrink) = (L::splat(-gain), L::splat(self.setting.regularization));
            for at in (0..self.setting.width).step_by(L::N) {
                let slope = self.masked::<L, MASKED>(slope, at);
                let (x, y) = (L::load(user.numbers.add(at)), L::load(item.numbers.add(at)));
                self.sink.put(&user, at, x, y.fma(slope, x.fma(shrink, L::zero())));
                self.sink.put(&item, at, y, x.fma(slope, y.fma(shrink, L::zero())));
            }
            self.sink.done(&user);
            self.sink.done(&item);
            self.sink.ended::<L>();
        }
    }

    /// An update for `score(user, item) - score(user, other)`, by which the loss falls at the rate `gain`.
    ///
    /// # Safety
    /// As `pass`, for the rows.
    #[inline(always)]
    unsafe fn pair<L: Lanes, const MASKED: bool>(&mut self, user: Row, item: Row, other: Row, gain: f32) {
        // SAFETY: the caller vouches for the instructions and the rows.
        unsafe {
            let (user, item, other) = (self.sink.row(user), self.sink.row(item), self.sink.row(other));
            let (slope, minus) = (L::splat(-gain), L::splat(-1.0));
            let shrink = L::splat(self.setting.regularization);
            for at in (0..self.setting.width).step_by(L::N) {
                let slope = self.masked::<L, MASKED>(slope, at);
                let x = L::load(user.numbers.add(at));
                let (y, z) = (L::load(item.numbers.add(at)), L::load(other.numbers.add(at)));
                let along = x.fma(slope, L::zero());
                self.sink.put(&user, at, x, z.fma(minus, y).fma(slope, x.fma(shrink, L::zero())));
                self.sink.put(&item, at, y, y.fma(shrink, along));
                self.sink.put(&other, at, z, along.fma(minus, z.fma(shrink, L::zero())));
            }
            self.sink.done(&user);
            self.sink.done(&item);
            self.sink.done(&other);
            self.sink.ended::<L>();
        }
    }

    /// Numbers of the columns from `at` on, without those that are left out.
    ///
    /// # Safety
    /// The processor has the instructions of `L`, and the mask the columns.
    #[inline(always)]
    unsafe fn masked<L: Lanes, const MASKED: bool>(&self, numbers: L, at: usize) -> L {
        if MASKED {
            // SAFETY: the caller vouches for the instructions and the columns.
            unsafe { numbers.fma(L::load(self.mask.as_ptr().add(at)), L::zero()) }
        } else {
            numbers
        }
    }
}

/// The sum within a register.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn total<L: Lanes>(of: L) -> f32 {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let zero = L::zero();
        L::sums([of, zero, zero, zero, zero, zero, zero, zero])[0]
    }
}
