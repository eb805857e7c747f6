//! The one access check, and the switch of identities.

use std::ffi::CString;

use pgrx::pg_sys;

use super::error::{Code, Result, fail};

/// Whether the current user owns the relation, is a member of its owner, or is a superuser.
pub(crate) fn owns(relation: pg_sys::Oid) -> bool {
    // SAFETY: reads the system caches; a missing relation raises an error.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, pg_sys::GetUserId());
    }
}

/// 42501 unless the current user may change the model: train, deploy, drop.
pub(crate) fn require_owner(relation: pg_sys::Oid, name: &str) -> Result<()> {
    if owns(relation) {
        return Ok(());
    }
    Err(not_owner(name))
}

/// 42501 for who may not change a model.
pub(crate) fn not_owner(name: &str) -> pgrx::pg_sys::panic::ErrorReport {
    fail(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("must be owner of model {}", crate::pg::names::shown(name)),
    )
}

/// 42501 unless the current user may be served by the model: SELECT on its view.
pub(crate) fn require_select(relation: pg_sys::Oid, name: &str) -> Result<()> {
    // SAFETY: reads the system caches; a missing relation raises an error.
    let answer = unsafe { pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), pg_sys::ACL_SELECT as _) };
    if answer == pg_sys::AclResult::ACLCHECK_OK {
        return Ok(());
    }
    Err(fail(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for model {}", crate::pg::names::shown(name)),
    )
    .set_hint(format!("Its owner can run: GRANT SELECT ON {name} TO <role>;")))
}

/// The current user.
pub(crate) fn user() -> pg_sys::Oid {
    // SAFETY: set in every backend.
    unsafe { pg_sys::GetUserId() }
}

/// The name of the current user.
pub(crate) fn current_user() -> String {
    // SAFETY: the current user exists; the name is copied before anything else runs.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false);
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether there is a role of this name.
pub(crate) fn role_exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: a system cache look-up of a NUL-terminated name.
    unsafe { pg_sys::get_role_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
}

/// The owner of a relation, `None` where it is gone.
pub(crate) fn owner_of(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: answers NULL for a relation that is gone; the lock ends with the look, for a training must not keep it.
    unsafe {
        let opened = pg_sys::try_relation_open(relation, pg_sys::AccessShareLock as _);
        if opened.is_null() {
            return None;
        }
        let owner = (*(*opened).rd_rel).relowner;
        pg_sys::relation_close(opened, pg_sys::AccessShareLock as _);
        Some(owner)
    }
}

/// A change of identity and search path that ends with the value, also when an error unwinds.
pub(crate) struct Identity {
    user: pg_sys::Oid,
    context: i32,
    nest_level: i32,
}

impl Identity {
    /// The current user, with a search path that nobody can plant objects in.
    pub(crate) fn pinned_path() -> Identity {
        // SAFETY: the current user is set in every backend.
        Identity::become_user(unsafe { pg_sys::GetUserId() }, false)
    }

    /// Acts as `user` with a search path that nobody can plant objects in. `restricted` adds
    /// SECURITY_RESTRICTED_OPERATION: for running what `user` named, on behalf of somebody else.
    pub(crate) fn become_user(user: pg_sys::Oid, restricted: bool) -> Identity {
        let mut saved = Identity { user: pg_sys::InvalidOid, context: 0, nest_level: 0 };
        let mut flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE;
        if restricted {
            flags |= pg_sys::SECURITY_RESTRICTED_OPERATION;
        }
        // SAFETY: main thread inside a transaction; the former identity is saved and given back by Drop.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut saved.user, &mut saved.context);
            pg_sys::SetUserIdAndSecContext(user, saved.context | flags as i32);
            saved.nest_level = pg_sys::NewGUCNestLevel();
        }
        set_local("search_path", "pg_catalog, pg_temp");
        saved
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: gives back exactly what become_user saved; after an error Postgres has its own reset, which
        // finds nothing left to do.
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.nest_level);
            pg_sys::SetUserIdAndSecContext(self.user, self.context);
        }
    }
}

/// Sets a setting until the surrounding nest level ends.
pub(crate) fn set_local(name: &str, value: &str) {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else { return };
    // SAFETY: both strings live through the call; GUC_ACTION_SAVE is undone by AtEOXact_GUC.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}
