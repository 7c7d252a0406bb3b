//! `taskleak::scope`: a request, a job, whose tasks should end with it.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::scopes::{self, Opener, ScopeId};
use crate::{in_force, polls, tokio_trace};

/// Runs a future as a scope: what it spawns, through any number of spawns, belongs to it. Tasks
/// that are alive when it has ended have `outlived` it, which the watchdog takes as evidence of a
/// leak; the profile shows them with the scope's name.
///
/// ```
/// # async fn handle(request: &str) {}
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// taskleak::scope("request", handle("/cart")).await;
/// # });
/// ```
///
/// The scope ends when the future does, or is dropped. Scopes nest; a task belongs to the
/// innermost. Name what there are few of, a route and not a request's id: there is room for
/// 65,536 names of tasks and scopes in a process.
///
/// What is meant to outlive it (a pool that the first request starts) takes
/// [`daemon`](crate::daemon) or an allow rule.
///
/// # Limits
///
/// It sees what tasks spawn, and `spawn_blocking`. What a thread of your own spawns belongs to no
/// scope. A process has room for 1,048,576 scopes at once, those included that tasks have
/// outlived; further ones count for nothing, and the snapshot's `health` says how many.
pub fn scope<F: Future>(name: &'static str, future: F) -> Scope<F> {
    Scope {
        name,
        future,
        opened: Opened::NotYet,
    }
}

pin_project! {
    /// The future that [`scope`] gives.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        name: &'static str,
        // Before the scope: a guard in it goes first.
        #[pin]
        future: F,
        opened: Opened,
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = {
            let _within = this.opened.enter(this.name);
            this.future.poll(cx)
        };
        if polled.is_ready() {
            *this.opened = Opened::Over;
        }
        polled
    }
}

#[derive(Debug)]
enum Opened {
    /// It opens at the first poll: then it is known what it is within.
    NotYet,
    Now(Holding),
    /// It has ended, or found no room.
    Over,
}

/// The scope ends with it.
#[derive(Debug)]
struct Holding {
    own: ScopeId,
    /// The scope of a guard that was made within, while it lives: what it spawns into instead. The
    /// guard left its hold here.
    guard: Option<ScopeId>,
}

impl Opened {
    fn enter(&mut self, name: &str) -> Option<Within<'_>> {
        if matches!(self, Opened::NotYet) {
            *self = Opened::open(name);
        }
        let Opened::Now(holding) = self else {
            return None;
        };
        let current = holding.guard_that_lives().unwrap_or(holding.own);
        let outer = polls::replace_scope(Some(current));
        Some(Within { holding, outer })
    }

    fn open(name: &str) -> Opened {
        let parent = in_force::scope_here();
        let own = scopes::open(tokio_trace::intern_name(name), parent, Opener::Future);
        own.map_or(Opened::Over, |own| {
            Opened::Now(Holding { own, guard: None })
        })
    }
}

impl Holding {
    fn guard_that_lives(&mut self) -> Option<ScopeId> {
        let guard = self.guard?;
        if scopes::let_through(guard) != Some(guard) {
            scopes::release(guard);
            self.guard = None;
        }
        self.guard
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.guard.inspect(|guard| scopes::release(*guard));
        scopes::end(self.own);
        scopes::release(self.own);
    }
}

/// While its future is polled; also a poll that panics leaves the scope.
struct Within<'a> {
    holding: &'a mut Holding,
    outer: Option<ScopeId>,
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        let left = polls::replace_scope(self.outer);
        self.holding.guard = left.filter(|left| *left != self.holding.own);
    }
}
