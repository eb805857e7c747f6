//! What `evaluate` is asked for beyond a cutoff: a split, slices, intervals of a bootstrap.

use base::{Control, Result as Computed};
use pgrx::pg_sys;
use recommenders::evaluate::{HeldOut, Records, activity};
use recommenders::interactions::{Interactions, Split};

use super::figures::figures;
use super::holdout::HoldoutChoice;
use super::read::InteractionColumns;
use crate::models::identity;
use crate::models::registry::Metric;
use crate::pg::error::{Code, Result, fail, named_by};
use crate::pg::names::shown;
use crate::pg::options::Options;
use crate::source::Groups;

/// Keys of the options of `evaluate`.
pub(crate) const ASK: [&str; 6] =
    ["split", "bootstrap", "slices", "group_relation", "group_id", "group_column"];

/// Which rows are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SplitChoice {
    Holdout(HoldoutChoice),
    User,
}

/// What is asked.
pub(crate) struct EvaluateOptions {
    pub(crate) k: usize,
    pub(crate) split: Option<SplitChoice>,
    bootstrap: Option<usize>,
    activity: bool,
    pub(crate) popularity: bool,
    pub(crate) group: Option<GroupBy>,
}

impl EvaluateOptions {
    /// Reads the options; a relation is looked up as the caller would find it.
    pub(crate) fn of(k: usize, options: &Options) -> Result<EvaluateOptions> {
        let split = match options.text("split")?.as_deref() {
            None => None,
            Some("user") => Some(SplitChoice::User),
            Some("time") => Some(SplitChoice::Holdout(HoldoutChoice::Time)),
            Some("hash") => Some(SplitChoice::Holdout(HoldoutChoice::Hash)),
            Some(other) => {
                return Err(fail(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("option \"split\" must be time, hash or user, got \"{other}\""),
                ));
            }
        };
        let bootstrap = options.integer("bootstrap", 100, 10_000)?.map(|resamples| resamples as usize);
        let (mut activity, mut popularity) = (false, false);
        for slice in options.texts("slices")?.unwrap_or_default() {
            match slice.as_str() {
                "activity" => activity = true,
                "popularity" => popularity = true,
                other => {
                    return Err(fail(
                        Code::ERRCODE_INVALID_PARAMETER_VALUE,
                        format!("option \"slices\" knows activity and popularity, got \"{other}\""),
                    )
                    .set_hint(
                        "For groups of a table use \"group_relation\", \"group_id\" and \"group_column\".",
                    ));
                }
            }
        }
        let group = GroupBy::of(options)?;
        Ok(EvaluateOptions { k, split, bootstrap, activity, popularity, group })
    }

    /// Whether anything but the cutoff was asked for.
    pub(crate) fn is_special(&self) -> bool {
        self.split.is_some() || self.needs_records()
    }

    /// Whether something of each user must be kept.
    fn needs_records(&self) -> bool {
        self.bootstrap.is_some() || self.activity || self.popularity || self.group.is_some()
    }

    /// 0A000 for what models of ratings do not have.
    pub(crate) fn refuse_for_ratings(&self) -> Result<()> {
        if self.split == Some(SplitChoice::User) || self.needs_records() {
            return Err(fail(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "models of ratings are measured without slices, bootstrap and split \"user\"",
            )
            .set_hint("Leave these options out, or use \"split\": \"time\" or \"hash\"."));
        }
        Ok(())
    }

    /// The figures of all users, then of each slice. No Postgres in it.
    pub(super) fn rows(
        &self,
        records: &Records,
        split: &Split,
        groups: &[Group],
        seed: i64,
        threads: usize,
        control: &Control,
    ) -> Computed<Vec<Metric>> {
        let mut found = Vec::new();
        let mut add = |slice: &str, users: &[u32], class: Option<usize>| -> Computed<()> {
            for each in records.figures(users, class, control)? {
                let drawn = match self.bootstrap {
                    Some(resamples) => {
                        records.bootstrap(users, class, 0, (resamples, seed as u64), threads, control)?
                    }
                    None => None,
                };
                found.extend(figures(slice, &each, drawn.as_ref(), class.is_some()));
            }
            Ok(())
        };
        add("all", records.all(), None)?;
        if self.activity {
            for (name, users) in activity(split, control)?.classes {
                add(&format!("activity={name}"), &users, None)?;
            }
        }
        if self.popularity {
            for (class, name) in HeldOut::NAMES.iter().enumerate() {
                add(&format!("popularity={name}"), records.all(), Some(class))?;
            }
        }
        for group in groups {
            add(&group.name, &group.users, None)?;
        }
        Ok(found)
    }
}

/// Measured users who belong together.
pub(crate) struct Group {
    /// Name of the slice.
    name: String,
    /// Their positions, rising.
    users: Vec<u32>,
}

/// A column that says which group a user belongs to.
pub(crate) struct GroupBy {
    relation: pg_sys::Oid,
    id: String,
    column: String,
}

impl GroupBy {
    fn of(options: &Options) -> Result<Option<GroupBy>> {
        let (relation, id, column) =
            (options.text("group_relation")?, options.text("group_id")?, options.text("group_column")?);
        match (relation, id, column) {
            (None, None, None) => Ok(None),
            (Some(relation), Some(id), Some(column)) => {
                let named = identity::lookup(&relation)?.ok_or_else(|| {
                    let name = shown(&relation);
                    named_by("group_relation")(fail(
                        Code::ERRCODE_UNDEFINED_TABLE,
                        format!("relation {name} does not exist"),
                    ))
                })?;
                Ok(Some(GroupBy { relation: named.relation, id, column }))
            }
            _ => Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "options \"group_relation\", \"group_id\" and \"group_column\" belong together",
            )
            .set_hint(
                "For example {\"group_relation\": \"customers\", \"group_id\": \"customer_id\", \"group_column\": \"country\"}.",
            )),
        }
    }

    /// Opens the relation as the current user and checks its columns.
    pub(crate) fn open(&self, columns: &InteractionColumns) -> Result<Groups> {
        let of = (&columns.user, columns.user_class);
        Groups::open(self.relation, &self.id, &self.column, of, ["group_id", "group_column"])
    }
}

/// The groups of these users, by name. Who is not in the relation, or has NULL there, is in none. Errors as those of
/// [`Groups::read`].
pub(crate) fn groups_of(groups: &Groups, interactions: &Interactions, users: &[u32]) -> Result<Vec<Group>> {
    let mut of_user: Vec<Option<u32>> = vec![None; users.len()];
    let names = groups.read(&mut |id, number| {
        let row = interactions.users.view().find(id);
        let Some(position) = row.and_then(|row| users.binary_search(&row).ok()) else { return Ok(true) };
        Ok(of_user[position].replace(number).is_none_or(|before| before == number))
    })?;
    let mut found: Vec<Group> = names
        .iter()
        .map(|name| Group { name: format!("{}={name}", groups.title()), users: Vec::new() })
        .collect();
    for (position, group) in (0..).zip(of_user) {
        if let Some(group) = group {
            found[group as usize].users.push(position);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.retain(|group| !group.users.is_empty());
    Ok(found)
}
