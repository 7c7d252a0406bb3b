//! What the corpus is made of: services that leak, their fixed twins, and clean ones.
//!
//! The rules of a program:
//! 1. It runs under load until it is dropped, and takes nothing from another program.
//! 2. What leaks is taken by some of its requests; the others end normally, in milliseconds.
//! 3. The async fns that wait have names of their own in the leaky and in the fixed program, so
//!    that a stack tells which of them it is of.

use std::pin::Pin;

use taskleak_profile::snapshot::Wait;

/// A leak that services have, as a leaky and a fixed program.
pub(crate) struct Pattern {
    pub(crate) name: &'static str,
    /// Where it was met: a thread, or the list of the design; `ours` if nowhere yet.
    pub(crate) source: &'static str,
    pub(crate) leaky: fn() -> Program,
    pub(crate) fixed: fn() -> Program,
    /// The function in which the leaked tasks wait: the end of the path that the profile shows.
    /// A task without wakers waits nowhere: there it is the function that spawned it.
    pub(crate) function: &'static str,
    /// Everything that they wait for at once.
    pub(crate) waits: &'static [Wait],
}

/// A clean program: no verdict, whatever the load.
pub(crate) struct Control {
    pub(crate) name: &'static str,
    pub(crate) program: fn() -> Program,
    /// `suspect` is allowed: why it can't be told apart.
    pub(crate) suspect: Option<&'static str>,
}

/// A service under load; runs until it is dropped.
pub(crate) type Program = Pin<Box<dyn Future<Output = ()> + Send>>;
