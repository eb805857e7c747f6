//! What a training will take, known as soon as the interactions are sorted: so that it can say no before it has worked
//! for an hour. An upper bound, at most a quarter above what is really taken.

use base::csr::Csr;
use base::need::Need;
use vectors::search::section_bytes;

use crate::als::gram_bytes;
use crate::evaluate::Records;
use crate::interactions::Interactions;

/// What is to be trained.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Numbers per user and per item.
    pub factors: usize,
    /// Of a fit on all interactions, or on all but the held-out ones.
    pub fit: Need,
    /// Threads of every phase.
    pub threads: usize,
    /// Users that a holdout samples at most, and the cutoffs that it is measured at.
    pub holdout: Option<(usize, &'a [usize])>,
}

/// Bytes beside the interactions, phase by phase, each with what it holds from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Holding out, the first fit and measuring; 0 without a holdout.
    pub holdout: u64,
    /// The fit on everything, and what an image has beside it.
    pub training: u64,
}

/// An estimate of everything that follows on the interactions.
pub fn estimate(of: &Interactions, plan: &Plan<'_>) -> Estimate {
    let (users, items, entries) = (of.users.len(), of.items.len(), of.user_items.entries());
    let Plan { factors, fit, threads, holdout } = *plan;
    let sections = |rows: usize| section_bytes(rows, factors) as u64;
    let gram = (factors * factors * 4) as u64;
    let item_list = items as u64 * 4;
    /// Of `popularity::order`.
    const DIGITS: u64 = 4 << 16;

    // Beside what lies elsewhere already.
    let lists = 3 * item_list + DIGITS;
    let products = if factors == 0 { 0 } else { gram_bytes(items, factors.next_multiple_of(16)) };
    let image = sections(users) + sections(items) + gram + lists.max(products);
    let writing = fit.result + image;

    let measuring = holdout.map_or(0, |(sample, ks)| {
        let sample = sample.min(users);
        let split = Csr::bytes_of(users, entries) + Csr::bytes_of(sample, 0) + sample as u64 * 4;
        // The keys of one row and its marks, while both old and new room are held; and the sample.
        let longest = of.user_items.offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let choosing = longest * 17 + (sample as u64 + 1) * 16;
        let transposed = Csr::bytes_of(items, entries);
        // Further cursors of further threads take at most 2 bytes an entry.
        let cursors = items as u64 * 8 + if threads > 1 { entries as u64 * 2 } else { 0 };
        let longest = ks.iter().copied().max().unwrap_or(0).min(items);
        let records = Records::bytes_of(sample, 1, ks.len(), longest);
        // Of popularity, beside counts and order: the marks of each thread, then the counts of what was shown.
        let figures = records + (threads as u64 * items as u64 / 8).max(item_list);
        let measuring = fit.result + sections(items) + (3 * item_list + DIGITS).max(2 * item_list + figures);
        let held = split + transposed;
        (split + choosing).max(held + cursors).max(held + fit.peak).max(held + measuring)
    });
    Estimate { holdout: measuring, training: fit.peak.max(writing) }
}
