//! What a model of segments has beside its view: the four tables.

use pgrx::pg_sys;

use super::kind::{KMEANS, RFM};
use super::tables::{check_id, prepare};
use crate::models::identity::{Named, Place};
use crate::models::registry::Output;
use crate::models::train::{Beside, IdType};
use crate::pg::error::Result;
use crate::pg::ids::type_name;
use crate::source::Column;

/// The tables of a model, by the column of its ids and its kind.
pub(super) struct SegmentTables {
    id: Column,
    rfm: bool,
}

impl SegmentTables {
    /// 0A000 for a column that cannot hold ids, 42701 for a name that the tables need themselves.
    pub(super) fn new(id: &Column, rfm: bool) -> Result<SegmentTables> {
        id.id_class()?;
        check_id(id, rfm)?;
        Ok(SegmentTables { id: id.clone(), rfm })
    }
}

impl Beside for SegmentTables {
    fn kind(&self) -> &'static str {
        if self.rfm { RFM } else { KMEANS }
    }

    fn id_types(&self) -> Vec<IdType> {
        vec![IdType { key: "id_type", role: "ids", name: type_name(self.id.type_oid) }]
    }

    fn create(&self, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        prepare(place, None, &self.id, self.rfm)
    }

    fn take_up(&self, named: &Named, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        prepare(place, Some(named.relation), &self.id, self.rfm)
    }
}
