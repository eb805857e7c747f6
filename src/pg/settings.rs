//! The settings `persona.*`.

use std::ffi::CStr;
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;

static MAX_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static MAX_IMAGE_CACHE: GucSetting<i32> = GucSetting::<i32>::new(4 * 1024 * 1024);
static IMAGE_IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static MAX_THREADS: GucSetting<i32> = GucSetting::<i32>::new(2);
static VERBOSE: GucSetting<bool> = GucSetting::<bool>::new(false);

const PREFIX: &CStr = c"persona";

/// Registers the settings; runs once a backend, when the library is loaded.
pub(crate) fn register() {
    GucRegistry::define_int_guc(
        c"persona.max_memory",
        c"Memory that one training may take, or the models that one connection holds in private memory.",
        c"Training estimates its need and stops with an error above this. It lies outside work_mem.",
        &MAX_MEMORY,
        1024,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"persona.max_image_cache",
        c"Space of all shared images of this server: models of 8 MB and more as files that all connections map.",
        c"The images opened longest ago make room for new ones. 0 maps nothing: each connection has its own copy.",
        &MAX_IMAGE_CACHE,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"persona.image_idle_timeout",
        c"Time after which a connection without transactions unmaps the shared images that it was served from.",
        c"Mapped images count for persona.max_image_cache and cannot make room. 0 keeps them mapped.",
        &IMAGE_IDLE_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"persona.max_threads",
        c"Threads that one training may use.",
        c"More threads train faster and take cores from other connections. Valid range is 1..64.",
        &MAX_THREADS,
        1,
        64,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"persona.verbose",
        c"Reports the phases of a training as INFO messages.",
        c"",
        &VERBOSE,
        GucContext::Userset,
        GucFlags::default(),
    );
    crate::pg::fault::register();
    // SAFETY: called from _PG_init on the main thread with a NUL-terminated literal.
    unsafe { pg_sys::MarkGUCPrefixReserved(PREFIX.as_ptr()) };
}

/// `persona.max_memory` in bytes.
pub(crate) fn max_memory() -> u64 {
    MAX_MEMORY.get() as u64 * 1024
}

/// `persona.max_image_cache` in bytes.
pub(crate) fn max_image_cache() -> u64 {
    MAX_IMAGE_CACHE.get() as u64 * 1024
}

/// `persona.image_idle_timeout`; zero for never.
pub(crate) fn image_idle_timeout() -> Duration {
    Duration::from_millis(IMAGE_IDLE_TIMEOUT.get() as u64)
}

/// `persona.max_threads`.
pub(crate) fn max_threads() -> usize {
    MAX_THREADS.get() as usize
}

/// `persona.verbose`.
pub(crate) fn verbose() -> bool {
    VERBOSE.get()
}
