//! A version of a model of segments goes live: its tables follow. And labels, which belong to the model, not to a
//! version.

use segments::Segments;
use serde_json::{Map, Value};

use super::beside::{KMEANS, RFM, SegmentTables, has_segments};
use super::members::{Members, Purchases};
use super::refresh::{Fresh, Tables, highest_id, labels, refresh, relabel};
use crate::models::identity::{self, Named, as_owner};
use crate::models::images::{self, Held, Loaded};
use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Model, Version, models};
use crate::models::train::{Target, same_types};
use crate::models::{deploy, locks, owned};
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::shown;
use crate::source::Source;

/// Brings the tables of a model in line with a stored version that goes live: reads the source anew, as the owner of the
/// model. The caller holds the deploy lock.
pub(crate) fn go_live(named: &Named, model: &Model, version: &Version, loaded: &Loaded) -> Result<()> {
    let segments = crate::segments::serve::segments(loaded)?;
    let _owner = as_owner(named)?;
    let source = Source::open(owned::trained_from(named, model)?)?;
    let members = members(named, model, version, &segments, &source)?;
    let tables = Tables::new(model.model_id)?;
    let labels = labels(model.model_id, &segments)?;
    let fresh = Fresh { members: &members, model: &segments, labels: &labels, version: version.version };
    refresh(&tables, &fresh, &mut |_| ())
}

/// The source of the members of a version: the model's present relation, the version's own features or reference time.
fn members(
    named: &Named,
    model: &Model,
    version: &Version,
    segments: &Segments<'_>,
    source: &Source,
) -> Result<Members> {
    let spec = &model.spec;
    let id_name = text(spec, "id_column");
    let id = source.column(&id_name)?;
    let form = if model.kind == RFM.word { &RFM } else { &KMEANS };
    same_types(&named.name, spec, &SegmentTables::new(id, form)?)?;
    if model.kind != RFM.word {
        let names: Vec<String> =
            (0..segments.features.len()).map(|at| segments.features.get(at).to_string()).collect();
        return Ok(Members::rows(source, id, &source.features(&id_name, Some(&names))?));
    }
    let order = spec.get("order_column").and_then(Value::as_str);
    let columns = [id_name.as_str(), &text(spec, "time_column"), &text(spec, "amount_column")];
    let purchases = Purchases::open(source, columns, order)?;
    Ok(Members::customers(&purchases, &text(&version.hyperparameters, "as_of")))
}

fn text(spec: &Map<String, Value>, key: &str) -> String {
    spec.get(key).and_then(Value::as_str).unwrap_or_default().to_string()
}

/// `persona.label_segment(model, segment_id, label)`: names a segment for good; NULL gives the generated label back.
pub(crate) fn label_segment(call: &Call) -> Answer {
    locks::writable(c"persona.label_segment()");
    let name = call.required_text(0, "model")?;
    let segment_id: i32 = call.get(1).ok_or_else(|| null_argument("segment_id"))?;
    let label = call.text(2)?;
    if label.as_ref().is_some_and(|label| label.trim().is_empty() || label.chars().count() > 200) {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            "\"label\" must have 1 to 200 characters that are not all blank",
        ));
    }
    let (named, model) = deploy::locked(&name)?;
    if !has_segments(&model.kind) {
        return Err(fail(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("model {} has no segments", shown(&name))));
    }
    let live = registry::live(model.model_id, Seen::Latest)?.ok_or_else(|| identity::not_deployed(&named))?;
    let loaded = images::prepare(&named, model.model_id, live.image_id, live.version)?;
    let segments = crate::segments::serve::segments(&loaded)?;
    let Some(at) = segments.ids.iter().position(|&id| i64::from(id) == i64::from(segment_id)) else {
        let mut ids = segments.ids.to_vec();
        ids.sort_unstable();
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        return Err(fail(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("model {} has no segment {segment_id}", shown(&name)),
        )
        .set_detail(format!("The segments of version {} are {}.", live.version, ids.join(", "))));
    };
    models::set_label(model.model_id, segment_id, label.as_deref())?;
    let shown = label.unwrap_or_else(|| segments.labels.get(at).to_string());
    let tables = Tables::new(model.model_id)?;
    let _owner = as_owner(&named)?;
    relabel(&tables, segment_id, &shown)?;
    Ok(None)
}

/// The first id that no segment of a model ever had.
pub(super) fn next_id(target: &Target) -> Result<u32> {
    let noted = registry::version(target.model_id, None, Seen::Latest)?
        .and_then(|newest| newest.hyperparameters.get("next_segment_id").and_then(Value::as_u64))
        .unwrap_or(1);
    // A table that a restore left without its model has had segments too.
    let outputs = registry::outputs(target.model_id, Seen::Latest)?;
    let shown = highest_id(&outputs)?;
    Ok(noted.max(u64::from(shown) + 1).min(u64::from(u32::MAX / 2)) as u32)
}

/// The image of the live version, where there is one to be had: a training must not need what it may be there to
/// replace.
pub(super) fn live_image(target: &Target) -> Result<Option<Held>> {
    let Some(live) = registry::live(target.model_id, Seen::Latest)? else { return Ok(None) };
    if !registry::has_image(live.image_id, Seen::Latest)? {
        return Ok(None);
    }
    let named = Named { relation: target.relation, name: target.name.clone() };
    Ok(images::prepare(&named, target.model_id, live.image_id, live.version).ok())
}
