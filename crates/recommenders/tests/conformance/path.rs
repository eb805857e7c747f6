//! The path of the product: rows, interactions, a fit, an image, a view of it.

use base::ids::{IdKind, IdRef, IdsRef};
use base::image::{AlignedBytes, Image};
use base::{Control, Csr, Error, Result};
use recommenders::answers::{Filter, Recommendation};
use recommenders::estimate::{Plan, estimate};
use recommenders::interactions::{Interactions, InteractionsBuilder, Repeats};
use recommenders::recommender::{Parts, Recommender, encode};

use crate::recipes::{Data, Fitted, HOW, How, Recipe};

/// A row of the source; users and items are numbers that get names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) user: u64,
    pub(crate) item: u64,
    pub(crate) value: f32,
    pub(crate) time: i64,
}

/// What ids numbers get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Names {
    /// The numbers.
    Integers,
    /// Integers in another order.
    Shuffled,
    /// Sixteen bytes each, in another order.
    Uuids,
    /// Texts, in another order.
    Texts,
}

/// An id of any kind.
pub(crate) enum Name {
    Integer(i64),
    Fixed16([u8; 16]),
    Bytes(Vec<u8>),
}

impl Name {
    fn borrow(&self) -> IdRef<'_> {
        match self {
            Name::Integer(id) => IdRef::Integer(*id),
            Name::Fixed16(id) => IdRef::Fixed16(id),
            Name::Bytes(id) => IdRef::Bytes(id),
        }
    }

    /// As a batch of one.
    fn batch<T>(&self, with: impl FnOnce(IdsRef<'_>) -> T) -> T {
        match self {
            Name::Integer(id) => with(IdsRef::Integer(&[*id])),
            Name::Fixed16(id) => with(IdsRef::Fixed16(&[*id])),
            Name::Bytes(id) => with(IdsRef::Bytes { offsets: &[0, id.len() as u64], bytes: id }),
        }
    }
}

/// A number without a pattern.
pub(crate) fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11
}

impl Names {
    fn kind(self) -> IdKind {
        match self {
            Names::Integers | Names::Shuffled => IdKind::Integer,
            Names::Uuids => IdKind::Fixed16,
            Names::Texts => IdKind::Bytes,
        }
    }

    pub(crate) fn of(self, number: u64) -> Name {
        match self {
            Names::Integers => Name::Integer(number as i64),
            Names::Shuffled => Name::Integer(mixed(number) as i64 - (1 << 52)),
            Names::Uuids => {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&mixed(number).to_be_bytes());
                id[8..].copy_from_slice(&number.to_be_bytes());
                Name::Fixed16(id)
            }
            Names::Texts => Name::Bytes(format!("{:x} of {number}", mixed(number) % 97).into_bytes()),
        }
    }
}

/// The interactions of rows. What is taken is what reading a relation takes: finite values, above 0 unless they are ratings.
pub(crate) fn read(rows: &[Row], names: Names, rates: bool, control: &Control) -> Result<Interactions> {
    let repeats = if rates { Repeats::Newest } else { Repeats::Sum };
    let mut builder = InteractionsBuilder::new(names.kind(), names.kind(), true, control).repeats(repeats);
    for row in rows.iter().filter(|row| row.value.is_finite() && (rates || row.value > 0.0)) {
        let (user, item) = (names.of(row.user), names.of(row.item));
        user.batch(|user| item.batch(|item| builder.push(user, item, &[row.value], &[row.time])))?;
    }
    builder.finish(HOW.threads)
}

/// Bytes that are given back however what holds them ends.
pub(crate) struct Held<'c> {
    pub(crate) bytes: u64,
    pub(crate) control: &'c Control,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.control.give(self.bytes);
    }
}

/// The same rule as the product's: no before there was work.
fn expect(recipe: &dyn Recipe, of: &Interactions, how: How, control: &Control) -> Result<()> {
    let fit = recipe.need(of.users.len(), of.items.len(), of.user_items.entries());
    let plan = Plan { factors: recipe.factors(), fit, threads: how.threads, holdout: None };
    control.expect(estimate(of, &plan).training, "the training", "")
}

/// Writes the image of a fit. Its bytes stay taken.
pub(crate) fn image(
    of: &Interactions,
    [user_items, item_users]: [&Csr; 2],
    fitted: &Fitted,
    control: &Control,
) -> Result<AlignedBytes> {
    let parts = Parts {
        users: &of.users,
        items: &of.items,
        user_items,
        item_users,
        learned: fitted.learned.view(),
        regularization: fitted.regularization,
        alpha: fitted.alpha,
        user_class: 1,
        item_class: 1,
    };
    encode(&parts, [7; 16], 1, control)
}

/// Trains on interactions. The bytes of the answer stay taken from the control, nothing else; after an error nothing does.
pub(crate) fn fit(
    recipe: &dyn Recipe,
    of: &Interactions,
    how: How,
    control: &Control,
) -> Result<AlignedBytes> {
    if of.user_items.entries() == 0 {
        return Err(Error::NoData);
    }
    let times = of.times.as_deref().unwrap_or_default();
    let data = Data { user_items: &of.user_items, item_users: &of.item_users, times };
    let fitted = recipe.fit(&data, how, control)?;
    let _held = Held { bytes: fitted.learned.bytes(), control };
    image(of, [&of.user_items, &of.item_users], &fitted, control)
}

/// A model and what its ids stand for.
pub(crate) struct Model {
    pub(crate) bytes: AlignedBytes,
    pub(crate) names: Names,
}

/// From rows to an image that is sound.
pub(crate) fn train(
    recipe: &dyn Recipe,
    rows: &[Row],
    names: Names,
    how: How,
    control: &Control,
) -> Result<Model> {
    let of = read(rows, names, recipe.rates(), control)?;
    let _held = Held { bytes: of.bytes(), control };
    expect(recipe, &of, how, control)?;
    let bytes = fit(recipe, &of, how, control)?;
    let opened = Image::open(&bytes)?;
    opened.verify(&Control::unlimited())?;
    Recommender::new(&opened)?.check(&Control::unlimited())?;
    Ok(Model { bytes, names })
}

/// As [`train`], of rows that can be learned from.
pub(crate) fn trained(recipe: &dyn Recipe, rows: &[Row], names: Names, how: How) -> Model {
    train(recipe, rows, names, how, &Control::unlimited()).unwrap()
}

impl Model {
    pub(crate) fn view(&self) -> Recommender<'_> {
        Recommender::new(&Image::open(&self.bytes).unwrap()).unwrap()
    }

    /// Row of a user; nothing where the model does not have it.
    pub(crate) fn user(&self, number: u64) -> Option<u32> {
        self.view().users.find(self.names.of(number).borrow())
    }

    /// Row of an item.
    pub(crate) fn item(&self, number: u64) -> Option<u32> {
        self.view().items.find(self.names.of(number).borrow())
    }

    /// The numbers of the items below `items`, by row.
    pub(crate) fn numbers(&self, items: u64) -> Vec<Option<u64>> {
        let mut numbers = vec![None; self.view().items.len()];
        for number in 0..items {
            if let Some(row) = self.item(number) {
                numbers[row as usize] = Some(number);
            }
        }
        numbers
    }

    /// The best items of a user.
    pub(crate) fn recommend(&self, user: u64, k: usize) -> Vec<Recommendation> {
        self.view().recommend(self.user(user), k, Filter::default())
    }
}
