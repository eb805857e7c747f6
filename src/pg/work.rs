//! The runner of long work: the computation has its own threads, the backend's main thread waits, answers
//! interrupts and reports progress. No thread outlives the call.

mod exit;

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use base::reserve::room_for_a_thread;
use base::{Control, Error};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

use super::error::{Code, OrReport, Result, fail};
use super::{memory, settings};
pub(crate) use exit::AtExit;

/// How long the main thread waits between two looks at interrupts.
const TICK: Duration = Duration::from_millis(20);

/// How long a backend that ends waits for its threads: they need 50 ms, and one that hangs must not keep it alive.
const PATIENCE: Duration = Duration::from_secs(2);

/// Cancels the computation when the waiting thread leaves early, by an error that an interrupt raised.
struct CancelOnDrop<'a>(&'a Control);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// All signals blocked, until the value ends: threads inherit the mask of the thread that starts them, and a
/// signal handler of Postgres must never run on one of ours.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn now() -> SignalsBlocked {
        // SAFETY: both sets are plain data that the calls fill; the mask is this thread's own.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut former: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut former);
            SignalsBlocked(former)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: gives this thread the mask back that it had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// A thread that computes under a control.
struct Worker<'scope, T> {
    handle: ScopedJoinHandle<'scope, T>,
    /// If the process ends first, the thread is cancelled and has ended before Postgres takes anything down.
    _exit: AtExit,
}

/// Starts a thread that takes no signals.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    control: &Control,
    body: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<Worker<'scope, T>> {
    let (alive, ended) = channel::<Infallible>();
    let canceller = control.canceller();
    let exit = AtExit::run(move || {
        canceller.cancel();
        // Nothing is ever sent: the other end goes with the thread.
        let _ = ended.recv_timeout(PATIENCE);
    });
    if !room_for_a_thread() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let _blocked = SignalsBlocked::now();
    let body = move || {
        let _alive = alive;
        body()
    };
    let handle = std::thread::Builder::new().name("persona".to_string()).spawn_scoped(scope, body)?;
    Ok(Worker { handle, _exit: exit })
}

/// The error of a thread that the system refused.
fn refused(error: io::Error) -> ErrorReport {
    if error.kind() == io::ErrorKind::OutOfMemory {
        return memory::refused_for("a thread");
    }
    fail(Code::ERRCODE_INSUFFICIENT_RESOURCES, "could not start a thread").set_detail(format!("{error}."))
}

/// Runs `work` on another thread and waits for it. `tick` runs on the main thread every 20 ms and may call
/// Postgres. An interrupt that ends the statement (cancel, statement_timeout) cancels the work, which is
/// joined before the error goes on. So does one that ends the backend. A panic of the work becomes one of the caller.
pub(crate) fn run<T: Send>(
    control: &Control,
    tick: impl FnMut(),
    work: impl FnOnce() -> base::Result<T> + Send,
) -> Result<T> {
    run_if_started(control, tick, work)?.map_err(refused)
}

/// The same, but a thread that the system refuses is an answer.
fn run_if_started<T: Send>(
    control: &Control,
    mut tick: impl FnMut(),
    work: impl FnOnce() -> base::Result<T> + Send,
) -> Result<io::Result<T>> {
    std::thread::scope(|scope| {
        let cancel = CancelOnDrop(control);
        let (sender, receiver) = channel();
        let worker = start(scope, control, move || {
            // The receiver is gone only when the main thread has left, and then nobody waits for the answer.
            let _ = sender.send(work());
        });
        let worker = match worker {
            Ok(worker) => worker,
            Err(error) => return Ok(Err(error)),
        };
        let answer = loop {
            match receiver.recv_timeout(TICK) {
                Ok(answer) => break Some(answer),
                Err(RecvTimeoutError::Timeout) => {
                    memory::interrupts();
                    tick();
                }
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        std::mem::forget(cancel);
        match (answer, worker.handle.join()) {
            (Some(answer), Ok(())) => answer.or_report().map(Ok),
            (_, Err(panic)) => std::panic::resume_unwind(panic),
            (None, Ok(())) => {
                Err(fail(Code::ERRCODE_INTERNAL_ERROR, "a computation ended without an answer"))
            }
        }
    })
}

/// Runs `work` as above, or on this thread where the system refuses another one (RLIMIT_NPROC, pids.max): for what serving
/// cannot do without.
pub(crate) fn run_or_here<T: Send>(work: impl Fn(&Control) -> base::Result<T> + Sync) -> Result<T> {
    let control = Control::unlimited();
    match run_if_started(&control, || {}, || work(&control))? {
        Ok(answer) => Ok(answer),
        Err(_) => here(work),
    }
}

/// Runs `work` on this thread. It ends for an interrupt, and begins again if that one did not end the statement; after
/// many, as when a server is being flooded with signals, it goes through.
pub(crate) fn here<T>(work: impl Fn(&Control) -> base::Result<T>) -> Result<T> {
    const PATIENT: usize = 20;
    // SAFETY: a variable of the server that is as long and as aligned, and lives as long as the process.
    let interrupted: &'static AtomicI32 = unsafe { AtomicI32::from_ptr(&raw mut pg_sys::InterruptPending) };
    for _ in 0..PATIENT {
        memory::interrupts();
        // Where interrupts are held off, the flag stays.
        if interrupted.load(Relaxed) == 0 {
            match work(&Control::new(settings::max_memory()).watching(interrupted)) {
                Err(Error::Cancelled) => {}
                answer => return answer.or_report(),
            }
        }
    }
    work(&Control::new(settings::max_memory())).or_report()
}

/// The main thread's end of a pipe: full buffers go, empty ones come back.
pub(crate) struct Feeder<B> {
    full: SyncSender<B>,
    empty: Receiver<B>,
}

impl<B> Feeder<B> {
    /// Hands a full buffer over and gets an empty one; `None` where the consumer has failed.
    pub(crate) fn exchange(&self, full: B) -> Option<B> {
        self.full.send(full).ok()?;
        self.empty.recv().ok()
    }
}

/// Runs `produce` on the main thread, where it may call Postgres, and `consume` on another one, which owns
/// `state`. However `produce` ends, by an error that unwinds too, the consumer is joined before that goes on. Where
/// the consumer fails, `exchange` says so and the consumer's error is the answer.
pub(crate) fn pipe<S: Send, B: Send, T>(
    control: &Control,
    mut state: S,
    spare: Vec<B>,
    consume: impl Fn(&mut S, &mut B) -> base::Result<()> + Send,
    produce: impl FnOnce(Feeder<B>) -> Result<T>,
) -> Result<(T, S)> {
    std::thread::scope(|scope| {
        let cancel = CancelOnDrop(control);
        // Room for every buffer there is: sending never waits, only an exchange without spare ones does.
        let (full_sender, full) = sync_channel(spare.len() + 1);
        let (empty_sender, empty) = sync_channel(spare.len() + 1);
        for each in spare {
            let _ = empty_sender.send(each);
        }
        let consumer = start(scope, control, move || {
            loop {
                // Cancelled when the main thread unwinds, or ends the process and closes nothing.
                control.check()?;
                match full.recv_timeout(TICK) {
                    Ok(mut buffer) => {
                        consume(&mut state, &mut buffer)?;
                        // At the end nobody takes the empty ones back.
                        let _ = empty_sender.send(buffer);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(state),
                }
            }
        })
        .map_err(refused)?;
        let produced = produce(Feeder { full: full_sender, empty });
        std::mem::forget(cancel);
        match consumer.handle.join() {
            Ok(Ok(state)) => Ok((produced?, state)),
            Ok(Err(error)) => Err(error).or_report(),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What a training holds goes back to the system, piece by piece when it is freed and the rest at the end. By
/// itself the C library would keep up to a few hundred megabytes for a backend that may never train again, and hold
/// them beside what the next phase takes.
pub(crate) struct GiveMemoryBack(());

impl GiveMemoryBack {
    /// From now on; the end of the value is the end of the training.
    pub(crate) fn from_now() -> GiveMemoryBack {
        // Without this, each large piece that is freed raises the size from which on pieces go back.
        map_from(256 << 10);
        GiveMemoryBack(())
    }
}

impl Drop for GiveMemoryBack {
    fn drop(&mut self) {
        // Where it would have risen to.
        map_from(32 << 20);
        #[cfg(target_env = "gnu")]
        // SAFETY: only returns what nobody uses.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Pieces of memory of so many bytes are mapped, and unmapped when they are freed.
fn map_from(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, for allocations to come.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}
