//! A small valid image with two segments that have models of their own.

use base::Control;
use base::ids::Ids;
use base::image::AlignedBytes;
use recommenders::content::Content;
use recommenders::factors::Factors;
use recommenders::partition::{NONE, Partition, cut};
use recommenders::recommender::{Learned, OfSegments, encode_segment, encode_with};

use crate::sample::Sample;

/// The image of a sample whose users are integers.
pub(crate) fn image(sample: &Sample) -> AlignedBytes {
    let control = Control::unlimited();
    let item_users = sample.user_items.transpose(sample.items.len());
    let of = |user: usize| if user % 5 == 4 { NONE } else { user as u32 % 2 };
    let names = vec!["one".into(), "two".into()];
    let partition = Partition { names, of_user: (0..sample.users.len()).map(of).collect() };
    let image = |slice: &_| {
        let (user_items, _) = cut(&sample.user_items, None, slice, sample.items.len(), &control).unwrap();
        let rows = |of: &[f32], rows: &[u32]| -> Vec<f32> {
            let width = sample.factors.factors;
            rows.iter().flat_map(|&row| of[row as usize * width..][..width].to_vec()).collect()
        };
        let factors = Factors {
            factors: sample.factors.factors,
            users: rows(&sample.factors.users, &slice.users),
            items: rows(&sample.factors.items, &slice.items),
        };
        let sides = (&user_items, &user_items.transpose(slice.items.len()));
        encode_segment(slice, sides, Learned::Factors(&factors), (0.5, 2.0), 1, &control).unwrap()
    };
    let images: Vec<_> = partition.slices(&item_users, &control).unwrap().iter().map(image).collect();
    let (members, of_member) = (Ids::Integer(vec![-5, 1000, 1001]), [0, 1, NONE]);
    let segments =
        OfSegments { partition: &partition, images: &images, members: &members, of_member: &of_member };
    let parts = sample.parts(&item_users);
    encode_with(&parts, Content::default(), Some(segments), *b"golden or sample", 1, &control).unwrap()
}
