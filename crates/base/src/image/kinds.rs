//! Section kinds. A number never changes its meaning and is never used again; new kinds are added at the end, and
//! readers ignore those they do not know.

/// User ids, integers: `[i64]`, strictly rising.
pub const USER_IDS_INTEGER: u32 = 1;
/// User ids of 16 bytes: `[[u8; 16]]`, strictly rising.
pub const USER_IDS_FIXED: u32 = 2;
/// User ids, any bytes, one after the other: `[u8]`.
pub const USER_IDS_BYTES: u32 = 3;
/// Where each of `USER_IDS_BYTES` starts and the last one ends: `[u64]`.
pub const USER_IDS_OFFSETS: u32 = 4;
/// Item ids, integers: `[i64]`, strictly rising.
pub const ITEM_IDS_INTEGER: u32 = 5;
/// Item ids of 16 bytes: `[[u8; 16]]`, strictly rising.
pub const ITEM_IDS_FIXED: u32 = 6;
/// Item ids, any bytes, one after the other: `[u8]`.
pub const ITEM_IDS_BYTES: u32 = 7;
/// Where each of `ITEM_IDS_BYTES` starts and the last one ends: `[u64]`.
pub const ITEM_IDS_OFFSETS: u32 = 8;
/// User factors: `[f32]`, row by row.
pub const USER_FACTORS: u32 = 9;
/// Item factors: `[f32]`, row by row.
pub const ITEM_FACTORS: u32 = 10;
/// User factors in 8 bits: `[i8]`, as `search::quantize` arranges them.
pub const USER_QUANTIZED: u32 = 11;
/// Bounds of the error of `USER_QUANTIZED`: `[search::Bounds]`.
pub const USER_BOUNDS: u32 = 12;
/// Item factors in 8 bits: `[i8]`, as `search::quantize` arranges them.
pub const ITEM_QUANTIZED: u32 = 13;
/// Bounds of the error of `ITEM_QUANTIZED`: `[search::Bounds]`.
pub const ITEM_BOUNDS: u32 = 14;
/// Gram matrix of the item factors, to fold in new users: `[f32]`.
pub const GRAM: u32 = 15;
/// Entries of each item: `[u32]`.
pub const POPULARITY: u32 = 16;
/// Where the seen items of each user start: `[u64]`, one more than users.
pub const SEEN_OFFSETS: u32 = 17;
/// Seen items of all users: `[u32]`, rising for each user.
pub const SEEN_INDICES: u32 = 18;
/// What is not an array: `[recommender::Facts]`, one.
pub const FACTS: u32 = 19;
/// Items by falling popularity, equal ones by rising id: `[u32]`.
pub const BY_POPULARITY: u32 = 20;
/// What is not an array of a model of segments: `[segments::Facts]`, one.
pub const SEGMENT_FACTS: u32 = 21;
/// Names of the features, UTF-8, one after the other: `[u8]`.
pub const FEATURE_NAMES: u32 = 22;
/// Where each of `FEATURE_NAMES` starts and the last one ends: `[u64]`.
pub const FEATURE_OFFSETS: u32 = 23;
/// What is known of each feature, and how it is scaled: `[scale::columns::Column]`.
pub const FEATURE_COLUMNS: u32 = 24;
/// Centroids of the segments, as points of the frame that follows from the columns: `[f64]`, row by row.
pub const CENTROIDS: u32 = 25;
/// Ids of the segments: `[u32]`.
pub const SEGMENT_IDS: u32 = 26;
/// Labels of the segments, UTF-8, one after the other: `[u8]`.
pub const SEGMENT_LABELS: u32 = 27;
/// Where each of `SEGMENT_LABELS` starts and the last one ends: `[u64]`.
pub const SEGMENT_LABEL_OFFSETS: u32 = 28;
/// Cut points of the three measures, one fewer than scores each: `[f64]`.
pub const CUT_POINTS: u32 = 29;
/// The segment of each cell of `rfm::scores::Labels`: `[u8]`, 25.
pub const SCORE_GRID: u32 = 30;
/// Where the neighbours of each item start: `[u64]`, one more than items.
pub const NEIGHBOUR_OFFSETS: u32 = 31;
/// Neighbours of all items: `[u32]`, rising for each item.
pub const NEIGHBOUR_ITEMS: u32 = 32;
/// The weight of each of `NEIGHBOUR_ITEMS`: `[f32]`.
pub const NEIGHBOUR_WEIGHTS: u32 = 33;
/// Each item's share of all interactions, those of long ago counted less: `[f64]`.
pub const POPULARITY_SHARES: u32 = 34;
/// What is not an array of a model of ratings: `[recommender::RatingFacts]`, one.
pub const RATING_FACTS: u32 = 35;
/// What the ratings of each user lie above or below those of all: `[f32]`.
pub const USER_BIASES: u32 = 36;
/// Users whose factors follow from their features alone: `[u32]`, rising. Missing where there are none.
pub const CONTENT_USERS: u32 = 37;
/// Items whose factors follow from their features alone: `[u32]`, rising. Missing where there are none.
pub const CONTENT_ITEMS: u32 = 38;
/// The value of each of `SEEN_INDICES`: `[f32]`, none where all are 1.
pub const SEEN_VALUES: u32 = 39;
/// The segment of each user, by number: `[u32]`, `partition::NONE` for who is in none. Missing where a model has no segments.
pub const USER_SEGMENTS: u32 = 40;
/// Names of the segments, UTF-8, one after the other, rising: `[u8]`.
pub const SEGMENT_NAMES: u32 = 41;
/// How a user becomes factors, where not as `recommenders::als::fold_in` does it: `[u32]`, one, 1 for the sum of the rows
/// of the user's items. `GRAM` is then missing.
pub const FOLDING: u32 = 42;
/// Where each of `SEGMENT_NAMES` starts and the last one ends: `[u64]`.
pub const SEGMENT_NAME_OFFSETS: u32 = 43;
/// What is known of each segment, one after the other: whole images, whose ids are row numbers of this one: `[u8]`.
pub const SEGMENT_IMAGES: u32 = 44;
/// Where each of `SEGMENT_IMAGES` starts and the last one ends: `[u64]`.
pub const SEGMENT_IMAGE_OFFSETS: u32 = 45;
/// Who has a segment and no interactions, as the kinds of user ids.
pub const MEMBER_IDS_INTEGER: u32 = 46;
/// See above.
pub const MEMBER_IDS_FIXED: u32 = 47;
/// See above.
pub const MEMBER_IDS_BYTES: u32 = 48;
/// See above.
pub const MEMBER_IDS_OFFSETS: u32 = 49;
/// The segment of each of those, by number: `[u32]`.
pub const MEMBER_SEGMENTS: u32 = 50;
/// What the optimizer of a factorization by stochastic gradients has summed up of each user, as of
/// `recommenders::sgd::Squares`: `[f32]`, zeros where it sums up nothing.
pub const USER_SQUARES: u32 = 51;
/// The same of each item.
pub const ITEM_SQUARES: u32 = 52;
