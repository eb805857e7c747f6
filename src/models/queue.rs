//! `persona._queue_changes()`: the trigger of an attached table. It queues the users of the rows that a statement
//! changed and never fails the statement: what goes wrong is undone in a subtransaction, the queue gets a mark that
//! makes the next work-off read everything, and one WARNING tells.

use std::collections::HashSet;
use std::ffi::CStr;

use pgrx::{Uuid, pg_sys};

use super::registry::scan::Seen;
use super::registry::{self, queue};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};
use crate::pg::fault::point;
use crate::pg::ids::{Class, Id, read_integer};
use crate::pg::names::{qualified_name, quote, shown};
use crate::pg::notice;
use crate::pg::subtransaction::{attempt, report};

/// More users of one statement than this are not listed: reading everything is then the shorter way.
const MOST_USERS: usize = 1 << 20;

/// Bytes of ids in a row of the queue: below what Postgres would compress.
const ROW: usize = 1500;

/// Bytes of ids that a statement may list.
const MOST_BYTES: usize = 64 << 20;

/// Rows between two looks at interrupts.
const ROWS: usize = 1024;

/// A firing of the trigger.
struct Firing {
    data: *mut pg_sys::TriggerData,
}

impl Firing {
    /// 39P01 where nobody fired it.
    fn of(call: &Call) -> Result<Firing> {
        // SAFETY: fmgr passes a valid fcinfo; a node is read as what its tag says.
        unsafe {
            let context = (*call.fcinfo()).context;
            if !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_TriggerData {
                return Ok(Firing { data: context.cast() });
            }
        }
        Err(fail(
            Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            "persona._queue_changes() can only be called as a trigger",
        )
        .set_hint("SELECT persona.attach(...) makes the triggers of a model."))
    }

    fn relation(&self) -> pg_sys::Relation {
        // SAFETY: the data and the relation live as long as the call.
        unsafe { (*self.data).tg_relation }
    }

    /// The name of the table.
    fn table(&self) -> String {
        // SAFETY: the relation is open.
        qualified_name(unsafe { (*self.relation()).rd_id }).unwrap_or_default()
    }

    fn is_truncate(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_TRUNCATE }
    }

    /// The rows of the statement, old and new.
    fn stores(&self) -> impl Iterator<Item = *mut pg_sys::Tuplestorestate> {
        // SAFETY: as above.
        unsafe { [(*self.data).tg_oldtable, (*self.data).tg_newtable] }
            .into_iter()
            .filter(|store| !store.is_null())
    }

    /// The row of a trigger for each row, old and new.
    fn slots(&self) -> impl Iterator<Item = *mut pg_sys::TupleTableSlot> {
        // SAFETY: as above; a trigger for each row has its row in these slots.
        unsafe {
            let each_row = (*self.data).tg_event & pg_sys::TRIGGER_EVENT_ROW != 0;
            let update = (*self.data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
            let first = each_row.then(|| (*self.data).tg_trigslot);
            let second = (each_row && update).then(|| (*self.data).tg_newslot);
            first.into_iter().chain(second)
        }
    }

    /// Whether the statement changed anything.
    fn is_empty(&self) -> bool {
        // SAFETY: the stores belong to the running statement.
        let no_rows = self.stores().all(|store| unsafe { pg_sys::tuplestore_tuple_count(store) } == 0);
        !self.is_truncate() && no_rows && self.slots().next().is_none()
    }

    /// The id of the model, which is the argument of the trigger.
    fn model_id(&self) -> Option<Uuid> {
        // SAFETY: a trigger has as many NUL-terminated arguments as it says.
        let text = unsafe {
            let trigger = (*self.data).tg_trigger;
            if (*trigger).tgnargs != 1 {
                return None;
            }
            CStr::from_ptr(*(*trigger).tgargs).to_string_lossy()
        };
        let hex: String = text.chars().filter(|&letter| letter != '-').collect();
        let value = u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)?;
        Some(Uuid::from_bytes(value.to_be_bytes()))
    }
}

/// `persona._queue_changes()`.
pub(crate) fn queue_changes(call: &Call) -> Answer {
    let firing = Firing::of(call)?;
    if !firing.is_empty() {
        record(&firing);
    }
    // A trigger answers a null pointer, and no NULL.
    Ok(Some(pg_sys::Datum::null()))
}

/// Queues what changed, or marks that something did, or tells that neither was possible.
fn record(firing: &Firing) {
    let Some(model_id) = firing.model_id() else {
        return tell(firing, "the model", "the argument of the trigger is no model id", &farewell(firing));
    };
    let Err(caught) = attempt(|| changes(firing, model_id)) else { return };
    let reason = report(&caught).message().to_string();
    let marked = attempt(|| {
        point("mark");
        follows(firing, model_id)?;
        queue::append(model_id, None)
    });
    let mut name = String::new();
    let _ = attempt(|| {
        let view = registry::view_of(model_id, Seen::Latest)?;
        name = view.and_then(qualified_name).unwrap_or_default();
        Ok(())
    });
    let shown = if name.is_empty() { format!("model {model_id}") } else { format!("model {}", shown(&name)) };
    let hint = match marked {
        Ok(()) => {
            "The next work-off of the queue reads the whole source; persona.check() may tell more.".into()
        }
        Err(_) if name.is_empty() => farewell(firing),
        Err(_) => {
            "Not even that could be noted: see persona.check(), attach the model again and retrain it.".into()
        }
    };
    tell(firing, &shown, &reason, &hint);
}

/// How to be rid of the trigger of a model that does not come back.
fn farewell(firing: &Firing) -> String {
    // SAFETY: the trigger's name is a string of its own.
    let trigger = unsafe { CStr::from_ptr((*(*firing.data).tg_trigger).tgname) }.to_string_lossy();
    let trigger = quote(&trigger);
    format!("Where the model is gone for good: DROP TRIGGER {trigger} ON {};", firing.table())
}

fn tell(firing: &Firing, model: &str, reason: &str, hint: &str) {
    let table = shown(&firing.table());
    notice::warning(&format!("changes of {table} were not queued for {model}: {reason}"), hint);
}

fn gone() -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_UNDEFINED_OBJECT, "the model does not exist")
}

/// Fails unless the model is there and follows the table: anybody can make a trigger on a table of his own.
fn follows(firing: &Firing, model_id: Uuid) -> Result<()> {
    let view = registry::view_of(model_id, Seen::Latest)?.ok_or_else(gone)?;
    if qualified_name(view).is_none() {
        return Err(gone());
    }
    // SAFETY: the relation is open.
    let relation = unsafe { (*firing.relation()).rd_id };
    if registry::attached(model_id, Seen::Latest)?.contains(&relation) {
        return Ok(());
    }
    Err(fail(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "the table is not attached to it"))
}

/// Queues the users of the changed rows.
fn changes(firing: &Firing, model_id: Uuid) -> Result<()> {
    follows(firing, model_id)?;
    point("queue");
    if firing.is_truncate() {
        return queue::append(model_id, None);
    }
    let model = registry::model(model_id, Seen::Latest)?.ok_or_else(gone)?;
    let column = model.spec.get("user_column").and_then(serde_json::Value::as_str).unwrap_or_default();
    let Some((class, users)) = users(firing, column)? else { return queue::append(model_id, None) };
    let (mut row, mut bytes) = (Vec::new(), 0);
    for user in users {
        let user = class.text(user.borrow());
        bytes += user.len() + 8;
        row.push(user);
        if bytes > ROW {
            queue::append(model_id, Some(&row))?;
            row.clear();
            bytes = 0;
            crate::pg::memory::interrupts();
        }
    }
    if row.is_empty() { Ok(()) } else { queue::append(model_id, Some(&row)) }
}

/// The users of the changed rows, each once; nothing where they are too many to be listed.
fn users(firing: &Firing, column: &str) -> Result<Option<(Class, HashSet<Id>)>> {
    let relation = firing.relation();
    let missing = || fail(Code::ERRCODE_UNDEFINED_COLUMN, format!("column \"{column}\" does not exist"));
    // SAFETY: the descriptor belongs to the open relation.
    let (number, type_oid) = unsafe {
        let descriptor = (*relation).rd_att;
        let name = std::ffi::CString::new(column).map_err(|_| missing())?;
        let number = pg_sys::SPI_fnumber(descriptor, name.as_ptr());
        if number <= 0 {
            return Err(missing());
        }
        (number, pg_sys::SPI_gettypeid(descriptor, number))
    };
    let class = Class::of(type_oid).ok_or_else(|| {
        fail(Code::ERRCODE_DATATYPE_MISMATCH, format!("column \"{column}\" can hold ids no longer"))
    })?;
    let (mut users, mut bytes) = (HashSet::new(), 0);
    // SAFETY: the slot holds a row of the relation, whose column has this number and type; a row without the user
    // is none that a model learns from.
    let mut take = |slot: *mut pg_sys::TupleTableSlot| unsafe {
        if i32::from((*slot).tts_nvalid) < number {
            pg_sys::slot_getsomeattrs_int(slot, number);
        }
        let at = number as usize - 1;
        if *(*slot).tts_isnull.add(at) {
            return Ok(true);
        }
        let value = *(*slot).tts_values.add(at);
        let user = match class {
            Class::SmallInt | Class::Integer | Class::BigInt | Class::Date => {
                Id::Integer(read_integer(class, value))
            }
            _ => class.read(value, type_oid)?,
        };
        let size = if let Id::Bytes(text) = &user { text.len() } else { 0 };
        // Without memory for the list, reading everything is the way as well.
        if users.try_reserve(1).is_err() {
            return Ok(false);
        }
        if users.insert(user) {
            bytes += size;
        }
        Ok::<bool, pgrx::pg_sys::panic::ErrorReport>(users.len() <= MOST_USERS && bytes <= MOST_BYTES)
    };
    for slot in firing.slots() {
        take(slot)?;
    }
    for store in firing.stores() {
        // SAFETY: the store belongs to the running statement; a read pointer of our own disturbs nobody else's.
        unsafe {
            let slot = pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &pg_sys::TTSOpsMinimalTuple);
            let pointer = pg_sys::tuplestore_alloc_read_pointer(store, pg_sys::EXEC_FLAG_REWIND as _);
            pg_sys::tuplestore_select_read_pointer(store, pointer);
            pg_sys::tuplestore_rescan(store);
            let (mut few, mut rows) = (true, 0);
            while few && pg_sys::tuplestore_gettupleslot(store, true, false, slot) {
                few = take(slot)?;
                rows += 1;
                if rows % ROWS == 0 {
                    crate::pg::memory::interrupts();
                }
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            if !few {
                return Ok(None);
            }
        }
    }
    Ok(Some((class, users)))
}
