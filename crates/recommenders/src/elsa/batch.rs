//! What a batch of users says about the rows of all items.

use base::aligned::Buffer;
use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;
use base::simd::Level;
use bytemuck::Zeroable;

use super::Params;
use super::kernel::{PANEL, pack, products, sum_rows};

/// Users of a job.
const USERS: usize = 16;

/// Items looked at between two looks at the control: 1 ms at 256 factors.
pub(super) const PIECE: usize = 1 << 11;

/// The entries that count.
pub(super) fn counted<'a>(items: &'a [u32], values: &'a [f32]) -> impl Iterator<Item = u32> + 'a {
    items.iter().zip(values).filter(|&(_, &value)| value > 0.0).map(|(&item, _)| item)
}

/// What a user's prediction says of its loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Zeroable)]
pub(super) struct Told {
    pub(super) loss: f64,
    /// How much the user's sum counts in the gradient of an item of the user.
    pub(super) sum: f64,
    /// How much its product with the Gram matrix counts there; and, for every item, the square of the sum.
    pub(super) square: f64,
}

/// The loss of a user of `count` items and its derivatives; `length` is the square of the sum `u` of their rows, and `all` is
/// `u'Gu`. A prediction that is zero but for rounding has no direction: its loss counts as 2 and says nothing.
pub(super) fn tell(count: usize, length: f64, all: f64) -> Told {
    let count = count as f64;
    let along = length - count;
    let square = all - 2.0 * length + count;
    // Sums of f32: six digits are right.
    if square.is_nan() || square <= 1e-5 * (all + length + count) {
        return Told { loss: 2.0, ..Told::default() };
    }
    let norm = square.sqrt();
    let a = -2.0 / (norm * count.sqrt());
    let b = along / (square * norm * count.sqrt());
    Told { loss: 2.0 + a * along, sum: 2.0 * a - 4.0 * b, square: 2.0 * b }
}

/// The users of a step.
pub(super) struct Batch<'a> {
    user_items: &'a Csr,
    width: usize,
    /// The sum of the rows of each user's items.
    sums: Buffer<'a, f32>,
    /// What each user adds to the gradient of the user's items.
    pub(super) gradients: Buffer<'a, f32>,
    told: Vec<Told>,
    /// The sums with users in columns.
    turned: Buffer<'a, f32>,
    /// The sums in panels, each times what its square counts.
    weighed: Buffer<'a, f32>,
    /// The sum of the squares, each times what it counts.
    outer: Buffer<'a, f32>,
    /// Where the users of each item begin in `users`; one more, where the last end.
    starts: Vec<u32>,
    /// The users of each item, by their places in the batch.
    users: Vec<u32>,
}

/// Entries that a batch of so many users has at most.
fn most(items: usize, entries: usize, count: usize) -> usize {
    entries.min(items.saturating_mul(count))
}

/// Numbers set or added up between two looks at the control.
const NUMBERS: usize = 1 << 18;

impl<'a> Batch<'a> {
    /// Memory of a batch.
    pub(super) fn bytes(users: usize, items: usize, entries: usize, params: &Params) -> u64 {
        let (count, width) = (params.batch_of(users), params.width());
        let numbers = 4 * count * width + width * width + items + 1 + most(items, entries, count);
        (numbers * 4 + count * size_of::<Told>()) as u64
    }

    pub(super) fn new(
        user_items: &'a Csr,
        items: usize,
        params: &Params,
        budget: &mut Budget<'a>,
    ) -> Result<Self> {
        let (count, width) = (params.batch_of(user_items.rows()), params.width());
        let control = budget.control();
        let vectors = || Buffer::zeros(TRAINING, count * width, control);
        Ok(Self {
            user_items,
            width,
            sums: vectors()?,
            gradients: vectors()?,
            told: budget.zeroed(count)?,
            turned: vectors()?,
            weighed: vectors()?,
            outer: Buffer::zeros(TRAINING, width * width, control)?,
            starts: budget.zeroed(items + 1)?,
            users: budget.zeroed(most(items, user_items.entries(), count))?,
        })
    }

    /// The users of the batch who have an item.
    pub(super) fn users_of(&self, item: usize) -> &[u32] {
        &self.users[self.starts[item] as usize..self.starts[item + 1] as usize]
    }

    /// Takes the users of a step: their losses, added up, and what they say. `gram` is that of `rows`, in panels.
    pub(super) fn look(
        &mut self,
        level: Level,
        (rows, gram): (&[f32], &[f32]),
        users: &[u32],
        params: &Params,
        control: &Control,
    ) -> Result<f64> {
        self.sort(users, control)?;
        let (user_items, width) = (self.user_items, self.width);
        let jobs = self.sums.chunks_mut(USERS * width).zip(self.gradients.chunks_mut(USERS * width));
        let jobs = users.chunks(USERS).zip(jobs).zip(self.told.chunks_mut(USERS));
        let threads = params.threads.min(users.len().div_ceil(USERS));
        share(jobs, threads, control, |jobs| {
            let mut piece = Vec::new();
            while let Some(((of, (sums, gradients)), told)) = jobs.next()? {
                let sums = &mut sums[..of.len() * width];
                let gradients = &mut gradients[..of.len() * width];
                sums.fill(0.0);
                let mut counts = [0; USERS];
                for ((&user, sum), count) in of.iter().zip(sums.chunks_exact_mut(width)).zip(&mut counts) {
                    let (items, values) = user_items.row(user as usize);
                    for (items, values) in items.chunks(PIECE).zip(values.chunks(PIECE)) {
                        control.check()?;
                        piece.clear();
                        piece.extend(counted(items, values));
                        sum_rows(level, rows, width, &piece, sum);
                        *count += piece.len();
                    }
                }
                products(level, (sums, width), gram, gradients, control)?;
                let vectors = sums.chunks_exact(width).zip(gradients.chunks_exact_mut(width));
                for ((&count, (sum, gradient)), told) in counts.iter().zip(vectors).zip(told) {
                    *told = tell(count, dot(sum, sum), dot(sum, gradient));
                    let (by_sum, by_square) = (told.sum as f32, told.square as f32);
                    for (gradient, &sum) in gradient.iter_mut().zip(sum) {
                        *gradient = by_sum * sum + by_square * *gradient;
                    }
                }
            }
            Ok(())
        })?;
        Ok(self.told[..users.len()].iter().map(|told| told.loss).sum())
    }

    /// Sorts the entries of the batch by item: a counting sort, so the users of an item stay in order.
    fn sort(&mut self, users: &[u32], control: &Control) -> Result<()> {
        let Self { user_items, starts, users: sorted, .. } = self;
        let mut pace = Pace::new(control);
        for starts in starts.chunks_mut(NUMBERS) {
            control.check()?;
            starts.fill(0);
        }
        // Each item's number of users, one place behind; then, where the next one's begin, which is where its own end when
        // they are set from the last.
        for &user in users {
            let (items, values) = user_items.row(user as usize);
            for (items, values) in items.chunks(PIECE).zip(values.chunks(PIECE)) {
                pace.step(items.len())?;
                counted(items, values).for_each(|item| starts[item as usize] += 1);
            }
        }
        let mut sum = 0;
        for starts in starts.chunks_mut(NUMBERS) {
            control.check()?;
            for start in starts {
                sum += *start;
                *start = sum;
            }
        }
        for (place, &user) in users.iter().enumerate().rev() {
            let (items, values) = user_items.row(user as usize);
            for (items, values) in items.chunks(PIECE).zip(values.chunks(PIECE)) {
                pace.step(items.len())?;
                for item in counted(items, values) {
                    let start = &mut starts[item as usize];
                    *start -= 1;
                    sorted[*start as usize] = place as u32;
                }
            }
        }
        Ok(())
    }

    /// Writes the sum of the squares of `count` users, each times what it counts, into panels.
    pub(super) fn outer(
        &mut self,
        level: Level,
        count: usize,
        panels: &mut [f32],
        params: &Params,
        control: &Control,
    ) -> Result<()> {
        let Self { width, sums, told, turned, weighed, outer, .. } = self;
        let width = *width;
        let weighed = &mut weighed[..count * width];
        let turned = &mut turned[..count * width];
        let jobs = weighed.chunks_mut(count * PANEL).zip(turned.chunks_mut(count * PANEL)).enumerate();
        share(jobs, params.threads.min(width / PANEL), control, |jobs| {
            while let Some((panel, (weighed, turned))) = jobs.next()? {
                for (user, (sum, told)) in sums.chunks_exact(width).zip(&told[..count]).enumerate() {
                    for (column, &number) in sum[panel * PANEL..][..PANEL].iter().enumerate() {
                        weighed[user * PANEL + column] = told.square as f32 * number;
                        turned[column * count + user] = number;
                    }
                }
            }
            Ok(())
        })?;
        let weighed = &*weighed;
        let jobs = turned.chunks(PANEL * count).zip(outer.chunks_mut(PANEL * width));
        share(jobs, params.threads.min(width / PANEL), control, |jobs| {
            while let Some((turned, outer)) = jobs.next()? {
                products(level, (turned, count), weighed, outer, control)?;
            }
            Ok(())
        })?;
        pack(outer, width, panels, control)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
