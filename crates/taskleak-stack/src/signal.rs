//! Who asks the process to end: a SIGTERM, with the process that sent it.
//!
//! The handler is one of signal-hook-registry's, so others (tokio's, for one) are called as well.
//! It does what a handler may: it stores a number and writes a byte to a pipe, which a thread
//! reads.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

/// Has `tell` called, on a thread of its own, each time that this process gets a SIGTERM, with the
/// id of the process that sent it.
///
/// The signal does nothing else from then on: whoever is told decides.
///
/// # Errors
///
/// No handler, pipe or thread can be had.
pub fn on_sigterm(mut tell: impl FnMut(u32) + Send + 'static) -> io::Result<()> {
    let (mut told, teller) = UnixStream::pair()?;
    teller.set_nonblocking(true)?;
    let sender = Arc::new(AtomicI32::new(0));
    let of_handler = Arc::clone(&sender);
    let handle = move |info: &libc::siginfo_t| {
        // SAFETY: the kernel fills in the sender where one process signals another, and where it
        // does not, the bytes read here are those of another number.
        let by = unsafe { info.si_pid() };
        of_handler.store(by, Ordering::Relaxed);
        // SAFETY: `write` may be called in a handler, the descriptor is owned by this closure,
        // which is never unregistered, and the byte lives. A full pipe tells already.
        unsafe { libc::write(teller.as_raw_fd(), [0u8].as_ptr().cast(), 1) };
    };
    let watch = move || {
        let mut byte = [0];
        while told.read_exact(&mut byte).is_ok() {
            tell(sender.load(Ordering::Relaxed).unsigned_abs());
        }
    };
    thread::Builder::new()
        .name("taskleak-sigterm".into())
        .spawn(watch)?;
    // SAFETY: the handler neither locks, allocates nor panics, and it leaves `errno` to
    // signal-hook-registry, which restores it.
    unsafe { signal_hook_registry::register_sigaction(libc::SIGTERM, handle) }?;
    Ok(())
}

/// Ends the process as a SIGTERM does that nobody handles.
pub fn die_of_sigterm() {
    // SAFETY: both calls are allowed at any time; the action is given back to the default before
    // the signal is raised.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
        libc::raise(libc::SIGTERM);
    }
}
