//! Recommendations for many users at once.

use std::ops::Range;

use base::control::Control;
use base::error::Result;
use base::jobs::share;
use vectors::search::{Hit, Similarity};

use crate::answers::{Filter, Recommendation, Source};

use super::{Body, Recommender};

/// Users that a thread takes at a time: about a millisecond of work.
const CHUNK: usize = 64;

impl Recommender<'_> {
    /// The best `k` items of each user of a range of rows, without those that the user has: what
    /// [`Recommender::recommend`] answers with no filter. The same on every number of threads.
    ///
    /// Each user's items are searched for by themselves: the pass over 8-bit numbers reads a quarter of the memory that
    /// a block of matrix products would, and ranks as it goes: 73,000 users a second on two threads of a busy machine with
    /// AVX-512, for 10,000 items of 64 factors that were trained (`benches/recommend_all.rs`). Taking 64 users over each
    /// 32 kB of the items was a tenth faster, and is not worth its code. Errors: `Cancelled`.
    pub fn recommend_all(
        &self,
        users: Range<u32>,
        k: usize,
        threads: usize,
        control: &Control,
    ) -> Result<Vec<Vec<Recommendation>>> {
        let users: Vec<u32> = users.collect();
        let mut answers = vec![Vec::new(); users.len()];
        let jobs = users.chunks(CHUNK).zip(answers.chunks_mut(CHUNK));
        share(jobs, threads.max(1), control, |jobs| {
            while let Some((users, answers)) = jobs.next()? {
                for (&user, answer) in users.iter().zip(answers) {
                    *answer = self.of_user(user, k, control)?;
                }
                control.advance(users.len() as u64);
            }
            Ok(())
        })?;
        Ok(answers)
    }

    fn of_user(&self, user: u32, k: usize, control: &Control) -> Result<Vec<Recommendation>> {
        if let Some(part) = self.own_part(Some(user), None)
            && let Some(row) = part.user(user)
        {
            let found = part.out(part.model.of_user(row, k, control)?);
            return Ok(self.filled(found, k, self.seen(user), Filter::default()));
        }
        let body = match &self.body {
            Body::Factors(body) => body,
            Body::Neighbours(_) | Body::Popular(_) if (user as usize) < self.users.len() => {
                control.check()?;
                return Ok(self.recommend(Some(user), k, Filter::default()));
            }
            Body::Neighbours(_) | Body::Popular(_) => return Ok(Vec::new()),
        };
        let Some(query) = self.user_factors(user) else { return Ok(Vec::new()) };
        let seen = self.seen(user);
        let excluded = |item: u32| seen.binary_search(&item).is_ok();
        let hits = body.item_index.search_with(query, k, Similarity::InnerProduct, &excluded, control)?;
        let found = self.by_source(Some(user), hits.into_iter().map(recommended).collect());
        Ok(self.rated(found, |ratings| ratings.user_bias(user)))
    }
}

fn recommended(hit: Hit) -> Recommendation {
    Recommendation { item: hit.row, score: hit.score, source: Source::Model }
}
