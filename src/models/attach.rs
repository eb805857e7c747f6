//! `persona.attach` and `persona.detach`: the triggers that queue the changes of a model's source.

use pgrx::{Spi, Uuid, pg_sys};

use super::owned::{owned_to_train, trained_from};
use super::registry::scan::Seen;
use super::registry::{self, queue};
use super::{kind, locks};
use crate::pg::access::{self, Identity};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, qualified_name, quote, shown};
use crate::pg::options::Options;
use crate::pg::snapshot::Snapshot;
use crate::pg::sql::execute;

/// What fires, with the rows that it passes; the word ends the trigger's name.
const STATEMENTS: [(&str, &str, &str); 4] = [
    ("insert", "INSERT", "REFERENCING NEW TABLE AS new_rows"),
    ("update", "UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ("delete", "DELETE", "REFERENCING OLD TABLE AS old_rows"),
    ("truncate", "TRUNCATE", ""),
];

/// The word of the trigger for rows that replication brings in.
const ROWS: &str = "replica";

/// A table at or below a source.
struct Table {
    relation: pg_sys::Oid,
    name: String,
    /// Whether rows lie in it, and not in its partitions alone.
    has_rows: bool,
}

/// `persona.attach(model, options)`.
pub(crate) fn attach(call: &Call) -> Answer {
    locks::writable(c"persona.attach()");
    let (named, model) = owned_to_train(call)?;
    let replica = Options::new(call.object(1, "options")?, &["replica"])?.boolean("replica")?;
    kind::of(&model.kind)?.check_follows(&named)?;
    let source = trained_from(&named, &model)?;
    let tables = tables(source)?;
    for trigger in triggers(model.model_id)? {
        if !tables.iter().any(|table| table.relation == trigger.relation) {
            lock(trigger.relation, pg_sys::AccessExclusiveLock);
        }
    }
    // As they are once nobody can change them any more.
    let present = triggers(model.model_id)?;
    let replica = replica.unwrap_or_else(|| present.iter().any(|trigger| trigger.word == ROWS));
    let mut wanted = Vec::new();
    for table in &tables {
        wanted.extend(STATEMENTS.iter().map(|(word, ..)| (table, *word)));
        if replica && table.has_rows {
            wanted.push((table, ROWS));
        }
    }
    for trigger in &present {
        if !wanted.iter().any(|(table, word)| trigger.is(table, word)) {
            trigger.drop();
        }
    }
    let mut made = false;
    for (table, word) in wanted {
        let found = present.iter().find(|trigger| trigger.is(table, word));
        if found.is_none() {
            create(model.model_id, table, word)?;
            made = true;
        }
        // After a TRUNCATE that replication brings in, statement triggers fire too.
        let enable = match (word, replica) {
            (ROWS, _) => "ENABLE REPLICA",
            ("truncate", true) => "ENABLE ALWAYS",
            _ => "ENABLE",
        };
        let name = found.map_or_else(|| trigger_name(model.model_id, word), |trigger| trigger.name.clone());
        if enable != "ENABLE" || found.is_some_and(|trigger| trigger.enabled != b'O' as i8) {
            execute(&format!("ALTER TABLE ONLY {} {enable} TRIGGER {}", table.name, quote(&name)))?;
        }
    }
    let moved = queue::follow(model.model_id)?;
    // Nobody knows what changed before there was a trigger.
    if made || moved {
        queue::append(model.model_id, None)?;
    }
    Ok(None)
}

/// `persona.detach(model)`.
pub(crate) fn detach(call: &Call) -> Answer {
    locks::writable(c"persona.detach()");
    let (_, model) = owned_to_train(call)?;
    drop_triggers(model.model_id)?;
    queue::delete_attachment(model.model_id)?;
    Ok(None)
}

/// Drops the triggers of a model, whoever owns the tables now: they belong to the model.
pub(crate) fn drop_triggers(model_id: Uuid) -> Result<()> {
    for trigger in triggers(model_id)? {
        lock(trigger.relation, pg_sys::AccessExclusiveLock);
    }
    // Whoever dropped one, or its table, has done so by now.
    triggers(model_id)?.iter().for_each(Trigger::drop);
    Ok(())
}

/// Waits until nobody writes to the tables that a model follows, and keeps it so until the transaction ends.
pub(crate) fn wait_for_writers(model_id: Uuid) -> Result<()> {
    for table in registry::attached(model_id, Seen::Latest)? {
        lock(table, pg_sys::ShareRowExclusiveLock);
    }
    Ok(())
}

fn lock(relation: pg_sys::Oid, mode: u32) {
    // SAFETY: a lock that the transaction keeps.
    unsafe { pg_sys::LockRelationOid(relation, mode as _) };
}

/// The source and all that lies below it, locked against further partitions; each must be the caller's own and able to
/// have the triggers.
fn tables(source: pg_sys::Oid) -> Result<Vec<Table>> {
    own(source)?;
    // The lock that CREATE TRIGGER takes.
    lock(source, pg_sys::ShareRowExclusiveLock);
    let mut tables = Vec::new();
    for relation in below(source)? {
        lock(relation, pg_sys::ShareRowExclusiveLock);
        let name = own(relation)?;
        // SAFETY: a system cache look-up.
        let kind = unsafe { pg_sys::get_rel_relkind(relation) } as u8;
        match kind {
            pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => {
                tables.push(Table { relation, name, has_rows: kind == pg_sys::RELKIND_RELATION });
            }
            _ => return Err(unfit(&name, kind, relation == source)),
        }
    }
    Ok(tables)
}

fn unfit(name: &str, kind: u8, is_source: bool) -> pgrx::pg_sys::panic::ErrorReport {
    let what = match kind {
        pg_sys::RELKIND_VIEW => "a view",
        pg_sys::RELKIND_MATVIEW => "a materialized view",
        pg_sys::RELKIND_FOREIGN_TABLE => "a foreign table",
        _ => "no table",
    };
    let shown = shown(name);
    let error = fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, format!("changes of {shown} cannot be queued"));
    if is_source {
        return error
            .set_detail(format!("It is {what}, which has no triggers with the rows of a statement."))
            .set_hint("Train the model from the table below it, or bring it up to date by time.");
    }
    error
        .set_detail(format!("It is {what} below the source: Postgres would refuse statements on the source."))
        .set_hint("Bring the model up to date by time.")
}

/// 42501 unless the caller owns the table; its name.
fn own(relation: pg_sys::Oid) -> Result<String> {
    let name = qualified_name(relation).ok_or_else(|| {
        fail(Code::ERRCODE_UNDEFINED_TABLE, format!("relation with OID {} does not exist", relation.to_u32()))
    })?;
    if access::owns(relation) {
        return Ok(name);
    }
    Err(fail(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, format!("must be owner of table {}", shown(&name)))
        .set_detail("Following a table means triggers on it, and these are its owner's to make."))
}

/// A relation and all that inherits from it, partitions among them.
fn below(source: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    let query = format!(
        "WITH RECURSIVE below AS (
           SELECT {}::oid AS relation
           UNION SELECT i.inhrelid FROM pg_inherits i JOIN below b ON i.inhparent = b.relation)
         SELECT relation FROM below ORDER BY relation",
        source.to_u32()
    );
    read(&query, |row| Ok(row.get::<pg_sys::Oid>(1)?.unwrap_or(pg_sys::InvalidOid)))
}

/// A trigger of a model.
struct Trigger {
    oid: pg_sys::Oid,
    relation: pg_sys::Oid,
    name: String,
    word: &'static str,
    enabled: i8,
}

impl Trigger {
    fn is(&self, table: &Table, word: &str) -> bool {
        self.relation == table.relation && self.word == word
    }

    /// Drops it without asking for a right on its table.
    fn drop(&self) {
        // The order of DROP TRIGGER: the table is locked first.
        lock(self.relation, pg_sys::AccessExclusiveLock);
        // SAFETY: the trigger is one of this library's, found under a lock of its table.
        unsafe {
            let object = pg_sys::ObjectAddress {
                classId: pg_sys::TriggerRelationId,
                objectId: self.oid,
                objectSubId: 0,
            };
            pg_sys::performDeletion(&object, pg_sys::DropBehavior::DROP_RESTRICT, 0);
        }
        // What follows must see the table without it.
        // SAFETY: inside a transaction.
        unsafe { pg_sys::CommandCounterIncrement() };
    }
}

/// The triggers of a model on any table, by what they call and for whom.
fn triggers(model_id: Uuid) -> Result<Vec<Trigger>> {
    let query = format!(
        "SELECT t.oid, t.tgrelid, t.tgname::text, t.tgtype::int, t.tgenabled FROM pg_trigger t
         WHERE t.tgfoid = 'persona._queue_changes()'::regprocedure
           AND encode(t.tgargs, 'escape') = {} ORDER BY t.tgrelid, t.tgname",
        literal(&format!("{model_id}\\000"))
    );
    read(&query, |row| {
        let kind = row.get::<i32>(4)?.unwrap_or_default() as u32;
        let word = match kind {
            _ if kind & pg_sys::TRIGGER_TYPE_ROW != 0 => ROWS,
            _ if kind & pg_sys::TRIGGER_TYPE_INSERT != 0 => "insert",
            _ if kind & pg_sys::TRIGGER_TYPE_UPDATE != 0 => "update",
            _ if kind & pg_sys::TRIGGER_TYPE_DELETE != 0 => "delete",
            _ => "truncate",
        };
        Ok(Trigger {
            oid: row.get(1)?.unwrap_or(pg_sys::InvalidOid),
            relation: row.get(2)?.unwrap_or(pg_sys::InvalidOid),
            name: row.get(3)?.unwrap_or_default(),
            word,
            enabled: row.get(5)?.unwrap_or_default(),
        })
    })
}

fn trigger_name(model_id: Uuid, word: &str) -> String {
    let hex: String = model_id.to_string().chars().filter(|&letter| letter != '-').collect();
    format!("persona_{hex}_{word}")
}

/// Makes a trigger as the caller.
fn create(model_id: Uuid, table: &Table, word: &str) -> Result<()> {
    let name = quote(&trigger_name(model_id, word));
    let (event, rows, each) = match STATEMENTS.iter().find(|(each, ..)| *each == word) {
        Some(&(_, event, rows)) => (event, rows, "STATEMENT"),
        None => ("INSERT OR UPDATE OR DELETE", "", "ROW"),
    };
    execute(&format!(
        "CREATE TRIGGER {name} AFTER {event} ON {} {rows} FOR EACH {each}
         EXECUTE FUNCTION persona._queue_changes({})",
        table.name,
        literal(&model_id.to_string())
    ))
}

/// Reads the catalog.
fn read<T>(
    query: &str,
    take: impl Fn(pgrx::spi::SpiHeapTupleData<'_>) -> pgrx::spi::Result<T>,
) -> Result<Vec<T>> {
    let _path = Identity::pinned_path();
    let _snapshot = Snapshot::latest();
    Spi::connect(|client| client.select(query, None, &[])?.map(take).collect::<pgrx::spi::Result<Vec<_>>>())
        .map_err(|error| fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the catalog: {error}")))
}
