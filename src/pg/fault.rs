//! Fault points: named places where a test holds a backend, makes it fail or kills it. They exist in a build with
//! the feature `fault` only, where the setting `persona.fault` arms one of them, as in 'fit:wait'; in any other
//! build all of this is nothing, which `make check-api` proves of the library.
//!
//! | action | what happens at the point |
//! |---|---|
//! | `wait` | waits, open to interrupts, until somebody removes the file `pgsql_tmp_persona.fault.<pid>` that it makes |
//! | `error` | ERROR 38000, which nothing else here raises |
//! | `panic` | a Rust panic |
//! | `kill` | SIGKILL to the own process |
//! | `thread-panic` | the work panics in its own thread; only for points within work on another thread |

#[cfg(feature = "fault")]
pub(crate) use armed::{Within, point, register};
#[cfg(not(feature = "fault"))]
pub(crate) use nothing::{Within, point, register};

#[cfg(not(feature = "fault"))]
mod nothing {
    /// A point on the main thread.
    #[inline(always)]
    pub(crate) fn point(_name: &str) {}

    /// Nothing to register.
    #[inline(always)]
    pub(crate) fn register() {}

    /// A point within work on another thread.
    #[derive(Clone, Copy)]
    pub(crate) struct Within;

    impl Within {
        #[inline(always)]
        pub(crate) fn of(_name: &str) -> Within {
            Within
        }

        /// In the thread, before work that can be cancelled.
        #[inline(always)]
        pub(crate) fn work(self, _control: &base::Control) {}

        /// In a thread that cannot wait: `thread-panic` alone.
        #[inline(always)]
        pub(crate) fn panic(self) {}

        /// On the main thread, while the work runs.
        #[inline(always)]
        pub(crate) fn tick(self) {}
    }
}

#[cfg(feature = "fault")]
mod armed {
    use std::ffi::CString;
    use std::path::PathBuf;
    use std::time::Duration;
    use std::{fs, thread};

    use base::Control;
    use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
    use pgrx::pg_sys;

    use crate::pg::call::raise;
    use crate::pg::error::{Code, fail};

    static FAULT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

    const STEP: Duration = Duration::from_millis(5);

    /// Registers `persona.fault`.
    pub(crate) fn register() {
        GucRegistry::define_string_guc(
            c"persona.fault",
            c"Arms one fault point of this test build: name:action.",
            c"",
            &FAULT,
            GucContext::Suset,
            GucFlags::default(),
        );
    }

    /// What an armed point does.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Action {
        Wait,
        Error,
        Panic,
        Kill,
        ThreadPanic,
    }

    /// The action of a point, where it is the armed one.
    fn armed(name: &str) -> Option<Action> {
        let setting = FAULT.get()?;
        let (point, action) = setting.to_str().ok()?.split_once(':')?;
        if point != name {
            return None;
        }
        Some(match action {
            "wait" => Action::Wait,
            "error" => Action::Error,
            "panic" => Action::Panic,
            "kill" => Action::Kill,
            "thread-panic" => Action::ThreadPanic,
            _ => raise(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("unrecognized action of a fault point \"{action}\""),
            )),
        })
    }

    /// The file that a waiting backend makes; a crash restart of the server removes it with its temporary files.
    fn marker() -> PathBuf {
        // SAFETY: set in every backend.
        PathBuf::from(format!("base/pgsql_tmp/pgsql_tmp_persona.fault.{}", unsafe { pg_sys::MyProcPid }))
    }

    fn make_marker() {
        let _ = fs::create_dir("base/pgsql_tmp");
        let _ = fs::write(marker(), "");
    }

    /// The marker goes with the value, also when an interrupt unwinds.
    struct Marked;

    impl Drop for Marked {
        fn drop(&mut self) {
            let _ = fs::remove_file(marker());
        }
    }

    fn strike(name: &str, action: Action) {
        match action {
            Action::Wait => {
                make_marker();
                let _marked = Marked;
                while marker().exists() {
                    pgrx::check_for_interrupts!();
                    thread::sleep(STEP);
                }
            }
            Action::Error => {
                raise(fail(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, format!("fault point {name}")))
            }
            Action::Panic => panic!("fault point {name}"),
            // SAFETY: a signal to the own process.
            Action::Kill => unsafe {
                libc::kill(pg_sys::MyProcPid, libc::SIGKILL);
            },
            Action::ThreadPanic => {}
        }
    }

    /// A point on the main thread.
    pub(crate) fn point(name: &'static str) {
        if let Some(action) = armed(name) {
            strike(name, action);
        }
    }

    /// A point within work on another thread. Settings are read on the main thread, so its action is looked up
    /// before the work begins; the work then stays where it is until the main thread has struck.
    #[derive(Clone, Copy)]
    pub(crate) struct Within {
        name: &'static str,
        action: Option<Action>,
    }

    impl Within {
        pub(crate) fn of(name: &'static str) -> Within {
            let action = armed(name);
            if action == Some(Action::Wait) {
                make_marker();
            }
            Within { name, action }
        }

        /// In a thread that cannot wait: `thread-panic` alone.
        pub(crate) fn panic(self) {
            if self.action == Some(Action::ThreadPanic) {
                panic!("fault point {} in a thread", self.name);
            }
        }

        /// In the thread, before work that can be cancelled.
        pub(crate) fn work(self, control: &Control) {
            self.panic();
            match self.action {
                None => {}
                Some(Action::Wait) => {
                    let marker = marker();
                    while marker.exists() && control.check().is_ok() {
                        thread::sleep(STEP);
                    }
                    // Late on purpose: a process that ends before its threads leaves the marker.
                    if control.check().is_err() {
                        thread::sleep(STEP * 20);
                    }
                    let _ = fs::remove_file(marker);
                }
                // The main thread strikes at its next tick, which cancels the work.
                Some(_) => {
                    while control.check().is_ok() {
                        thread::sleep(STEP);
                    }
                }
            }
        }

        /// On the main thread, while the work runs.
        pub(crate) fn tick(self) {
            if let Some(action) = self.action.filter(|&action| action != Action::Wait) {
                strike(self.name, action);
            }
        }
    }
}
