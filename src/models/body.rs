//! The body of a view that is a model: it carries the model's id.

use std::ffi::CStr;

use pgrx::{FromDatum, Uuid, pg_sys};

use crate::pg::call::{Answer, Call, datum};

/// The name of the rule that is the body of a view.
const BODY: &CStr = c"_RETURN";

/// The column `ev_action` of `pg_rewrite`.
const ACTIONS: pg_sys::AttrNumber = 8;

/// The id that a view passes to `persona.model_facts`; the caller holds a lock on the relation.
pub(crate) fn id_of_view(relation: pg_sys::Oid) -> Option<Uuid> {
    // SAFETY: the relation is locked; its rules are read while it is open, and nodes are checked for their type
    // before they are read as such.
    unsafe {
        let opened = pg_sys::relation_open(relation, pg_sys::NoLock as _);
        let rules = (*opened).rd_rules;
        let is_view = (*(*opened).rd_rel).relkind as u8 == pg_sys::RELKIND_VIEW;
        // Its body is the rule for SELECT; an owner may add rules for other commands.
        let count = if is_view && !rules.is_null() { (*rules).numLocks as usize } else { 0 };
        let id = (0..count)
            .map(|at| *(*rules).rules.add(at))
            .find(|&rule| (*rule).event == pg_sys::CmdType::CMD_SELECT)
            .and_then(|rule| id_in_actions((*rule).actions));
        pg_sys::relation_close(opened, pg_sys::NoLock as _);
        id
    }
}

/// The same without a lock, from the catalog as it stands: what only looks must not wait for anybody, and neither for
/// a DROP that waits itself.
fn id_in_catalog(relation: pg_sys::Oid) -> Option<Uuid> {
    // SAFETY: system cache look-ups that answer NULL for what is missing; the row is used before it is given back, and
    // its text is that of a list of queries, which Postgres itself reads in this way.
    unsafe {
        if pg_sys::get_rel_relkind(relation) as u8 != pg_sys::RELKIND_VIEW {
            return None;
        }
        let cache = pg_sys::SysCacheIdentifier::RULERELNAME as i32;
        let row = pg_sys::SearchSysCache2(cache, relation.into(), pg_sys::Datum::from(BODY.as_ptr()));
        if row.is_null() {
            return None;
        }
        let mut missing = false;
        let stored = pg_sys::SysCacheGetAttr(cache, row, ACTIONS, &mut missing);
        let text =
            if missing { std::ptr::null_mut() } else { pg_sys::text_to_cstring(stored.cast_mut_ptr()) };
        pg_sys::ReleaseSysCache(row);
        if text.is_null() { None } else { id_in_actions(pg_sys::stringToNode(text).cast()) }
    }
}

/// `persona_internal.model_of(relation)`: the id that the body of a view carries.
pub(crate) fn model_of(call: &Call) -> Answer {
    Ok(id_in_catalog(call.required(0, "relation")?).and_then(datum))
}

/// # Safety
/// The list holds the queries of a rule.
unsafe fn id_in_actions(actions: *mut pg_sys::List) -> Option<Uuid> {
    // SAFETY: promised by the caller.
    unsafe { cells::<pg_sys::Query>(actions).next().and_then(|query| id_in_query(query)) }
}

/// The pointers of a list.
///
/// # Safety
/// The list is NULL or a valid list of pointers to `T` that outlives the iterator.
unsafe fn cells<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: promised by the caller; a list has as many elements as its length says.
    let length = if list.is_null() { 0 } else { unsafe { (*list).length } };
    // SAFETY: as above.
    (0..length as usize).map(move |at| unsafe { (*(*list).elements.add(at)).ptr_value.cast::<T>() })
}

/// # Safety
/// The query is a valid one, such as the action of a rule.
unsafe fn id_in_query(query: *mut pg_sys::Query) -> Option<Uuid> {
    // SAFETY: promised by the caller; a node is read as what its tag says.
    unsafe {
        for entry in cells::<pg_sys::RangeTblEntry>((*query).rtable) {
            if (*entry).rtekind != pg_sys::RTEKind::RTE_FUNCTION {
                continue;
            }
            for function in cells::<pg_sys::RangeTblFunction>((*entry).functions) {
                let call = (*function).funcexpr.cast::<pg_sys::FuncExpr>();
                if !pgrx::is_a(call.cast(), pg_sys::NodeTag::T_FuncExpr) || !is_model_facts((*call).funcid) {
                    continue;
                }
                let argument = cells::<pg_sys::Const>((*call).args).next()?;
                let is_id = pgrx::is_a(argument.cast(), pg_sys::NodeTag::T_Const)
                    && (*argument).consttype == pg_sys::UUIDOID;
                return if is_id {
                    Uuid::from_datum((*argument).constvalue, (*argument).constisnull)
                } else {
                    None
                };
            }
        }
    }
    None
}

fn is_model_facts(function: pg_sys::Oid) -> bool {
    // SAFETY: system cache look-ups; a function that is gone has no name.
    unsafe {
        let name = pg_sys::get_func_name(function);
        !name.is_null()
            && CStr::from_ptr(name) == c"model_facts"
            && pg_sys::get_func_namespace(function) == pg_sys::get_namespace_oid(c"persona".as_ptr(), true)
    }
}
