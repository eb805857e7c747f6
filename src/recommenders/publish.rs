//! `persona.publish` and `persona.publish_own`: the typed functions of a recommender once more, in a schema that PostgREST
//! serves, and one that answers whoever calls for himself alone.

use std::ffi::CString;

use pgrx::pg_sys;

use super::WORD;
use super::functions::{self, Published, TypedFunction, functions_beside, published};
use crate::models::identity::{self, Named, Place, as_owner};
use crate::models::locks;
use crate::models::registry::scan::Seen;
use crate::models::registry::stored::id_type;
use crate::pg::access;
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, qualified, quote, shown};
use crate::pg::snapshot::Snapshot;
use crate::pg::sql::execute;

/// `persona.publish(model, schema, security_definer)`. The functions belong to the owner of the model, so that what drops the
/// model can drop them.
pub(crate) fn publish(call: &Call) -> Answer {
    locks::writable(c"persona.publish()");
    let security_definer = call.get(2) == Some(true);
    let model = Publication::of(call)?;
    let _snapshot = Snapshot::latest();
    let _owner = as_owner(&model.named)?;
    for function in functions_beside(&model.place, &model.user, &model.item) {
        model.create(&function, security_definer)?;
    }
    Ok(None)
}

/// `persona.publish_own(model, schema, setting, claim)`: the list of the user whom a setting of the session names. No
/// argument says whose it is.
pub(crate) fn publish_own(call: &Call) -> Answer {
    locks::writable(c"persona.publish_own()");
    let setting = call.required_text(2, "setting")?;
    let claim = call.text(3)?;
    known(&setting)?;
    if claim.as_ref().is_some_and(|claim| claim.is_empty() || claim.len() > LONGEST) {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"claim\" must have 1 to {LONGEST} bytes"),
        ));
    }
    let model = Publication::of(call)?;
    let _snapshot = Snapshot::latest();
    let _owner = as_owner(&model.named)?;
    let value = format!("NULLIF(pg_catalog.current_setting({}, true), '')", literal(&setting));
    let (user, shown) = match &claim {
        Some(claim) => (
            format!("NULLIF({value}::pg_catalog.json OPERATOR(pg_catalog.->>) {}, '')", literal(claim)),
            format!("{} of {setting}", literal(claim)),
        ),
        None => (value, setting),
    };
    let relation = format!("{}::pg_catalog.regclass", literal(&model.place.beside("")));
    let item = &model.item;
    model.create(
        &TypedFunction {
            suffix: "_recommend_own",
            arguments: "k int DEFAULT 10".into(),
            types: "int".into(),
            source: format!("persona._recommend({relation}, {user}, k, NULL::{item}[], NULL::{item}[])"),
            comment: format!(
                "The best k items for the user that the session names: {shown}. Popular ones where it names nobody."
            ),
        },
        true,
    )?;
    Ok(None)
}

/// The longest name of a setting or a claim, in bytes.
const LONGEST: usize = 200;

/// 42704 for a setting that there cannot be: what is none of Postgres is words with dots between them. Asked for by a
/// misspelt name, everybody would be nobody.
fn known(setting: &str) -> Result<()> {
    let is_word = |word: &str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$')
    };
    let words = setting.len() <= LONGEST && setting.split('.').all(is_word);
    let name = CString::new(setting).unwrap_or_default();
    // SAFETY: the name lives through the call, which answers NULL for a setting that is missing.
    let is_known =
        || !unsafe { pg_sys::GetConfigOptionByName(name.as_ptr(), std::ptr::null_mut(), true) }.is_null();
    if words && (setting.contains('.') || is_known()) {
        return Ok(());
    }
    Err(fail(
        Code::ERRCODE_UNDEFINED_OBJECT,
        format!("unrecognized configuration parameter {}", shown(setting)),
    )
    .set_hint("A setting of an application has a dot in its name: app.user_id."))
}

/// A recommender whose functions are published, and where.
struct Publication {
    named: Named,
    place: Place,
    schema: String,
    user: String,
    item: String,
}

impl Publication {
    /// The model and the schema of the first two arguments. The model stays until the transaction ends.
    fn of(call: &Call) -> Result<Publication> {
        let name = call.required_text(0, "model")?;
        let schema = call.name(1).ok_or_else(|| null_argument("schema"))?;
        let (named, model) = identity::model(&name, Seen::Latest)?;
        access::require_owner(named.relation, &named.name)?;
        if !identity::hold(named.relation) {
            return Err(identity::no_model(&named.name));
        }
        // Two at once would write the same rows of the catalog.
        locks::deploying(named.relation)?;
        if model.kind != WORD {
            return Err(fail(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("model {} recommends nothing", shown(&name)),
            ));
        }
        let (user, item) = (id_type(&model.spec, "user_type")?, id_type(&model.spec, "item_type")?);
        let Some(place) = Place::of(named.relation) else { return Err(identity::no_model(&named.name)) };
        Ok(Publication { named, place, schema, user, item })
    }

    /// Makes a function in the schema, or again; 42723 where another one has its name. The caller acts as the owner.
    fn create(&self, function: &TypedFunction, security_definer: bool) -> Result<()> {
        let TypedFunction { suffix, arguments, types, source, comment } = function;
        let short = format!("{}{suffix}", self.place.name);
        let full = qualified(&self.schema, &short);
        let before = published(self.named.relation, &self.schema, &short)?;
        let create = match before {
            Published::Nothing => "CREATE",
            Published::Ours { .. } => "CREATE OR REPLACE",
            Published::Other => {
                return Err(fail(
                    Code::ERRCODE_DUPLICATE_FUNCTION,
                    format!("function {full} already exists"),
                )
                .set_detail("A name in a published schema stands for one function, and this one was not published from this model.")
                .set_hint(format!("Drop it, or publish into another schema than {}.", quote(&self.schema))));
            }
        };
        let security = if security_definer {
            "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        } else {
            "SECURITY INVOKER"
        };
        execute(&format!(
            "{create} FUNCTION {full}({arguments}) {} {security}
             BEGIN ATOMIC SELECT r.item_id, r.score, r.rank, r.source FROM {source} AS r; END",
            functions::result_of(&self.item),
        ))?;
        execute(&format!(
            "COMMENT ON FUNCTION {full}({types}) IS {}",
            literal(&format!("{comment}{}", functions::PUBLISHED))
        ))?;
        match before {
            _ if security_definer => execute(&format!("REVOKE ALL ON FUNCTION {full}({types}) FROM PUBLIC")),
            // What everybody may call of a function that needs rights on the model, nobody could while it needed none.
            Published::Ours { security_definer: true } => {
                execute(&format!("GRANT EXECUTE ON FUNCTION {full}({types}) TO PUBLIC"))
            }
            _ => Ok(()),
        }
    }
}
