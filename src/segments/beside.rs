//! What a model of segments has beside its view: the four tables. And its two forms, which differ in what members have.

use pgrx::pg_sys;

use super::tables::{self, Definition, check_id, prepare};
use crate::models::identity::{Named, Place};
use crate::models::registry::Output;
use crate::models::train::{IdType, Outputs};
use crate::pg::error::Result;
use crate::pg::ids::type_name;
use crate::source::Column;

/// A form of models of segments.
pub(super) struct Form {
    /// The word of the registry.
    pub(super) word: &'static str,
    /// What members have besides.
    members: &'static [Definition],
}

/// Clusters of rows of numbers.
pub(super) static KMEANS: Form = Form { word: "kmeans", members: &[] };

/// Customers by recency, frequency and monetary value.
pub(super) static RFM: Form = Form { word: "rfm", members: &tables::RFM };

/// Whether models of a kind have segments.
pub(super) fn has_segments(word: &str) -> bool {
    [&KMEANS, &RFM].iter().any(|form| form.word == word)
}

/// The tables of a model, by the column of its ids and its form.
pub(super) struct SegmentTables {
    id: Column,
    form: &'static Form,
}

impl SegmentTables {
    /// 0A000 for a column that cannot hold ids, 42701 for a name that the tables need themselves.
    pub(super) fn new(id: &Column, form: &'static Form) -> Result<SegmentTables> {
        id.id_class()?;
        check_id(id, form.members)?;
        Ok(SegmentTables { id: id.clone(), form })
    }
}

impl Outputs for SegmentTables {
    fn kind(&self) -> &'static str {
        self.form.word
    }

    fn id_types(&self) -> Vec<IdType> {
        vec![IdType { key: "id_type", role: "ids", name: type_name(self.id.type_oid) }]
    }

    fn create(&self, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        prepare(place, None, &self.id, self.form.members)
    }

    fn take_up(&self, named: &Named, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        prepare(place, Some(named.relation), &self.id, self.form.members)
    }
}
