//! The paths below `/debug/`, and what is written for each.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use taskleak_profile::census::Findings;
use taskleak_profile::query::Query;
use taskleak_profile::raw::RawTask;
use taskleak_profile::render::{Format, Options, render};

use super::body::RenderError;
use crate::detector::Shared;
use crate::reporter::{self, Scope};

/// Where a request leads.
#[derive(Debug, Clone)]
pub(super) enum Route {
    Redirect(&'static str),
    Answer(Answer),
}

/// A request that is not served, and why, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) why: String,
    /// The methods that there are, if it is for the method.
    pub(super) allow: Option<&'static str>,
}

/// What is to be written.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Tasks {
        query: Query,
        options: Options,
        which: Which,
    },
    Index,
    Cmdline,
    /// What `go tool pprof` asks for when a profile has addresses without names.
    Symbol,
}

/// Of which tasks an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    All,
    /// Those that a verdict is about.
    Leaks,
    /// The one with this id.
    Only(u64),
}

const PATHS: &str = "there are /debug/tasks, /debug/tasks/ID, /debug/leaks, /debug/pprof/, \
                     /debug/pprof/tasks, /debug/pprof/taskleaks and /debug/pprof/cmdline";

impl Refused {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Refused {
        Refused {
            status,
            why: why.into(),
            allow: None,
        }
    }
}

pub(super) fn find(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Refused> {
    // A server that nests the service at `/debug` takes that off before it asks.
    let below = path.strip_prefix("/debug").unwrap_or(path);
    refuse_method(method, below)?;
    match below {
        "/tasks" => tasks(query, Which::All, Format::Text),
        "/leaks" => tasks(query, Which::Leaks, Format::Text),
        "/pprof/tasks" => tasks(query, Which::All, Format::Pprof),
        "/pprof/taskleaks" => tasks(query, Which::Leaks, Format::Pprof),
        // Relative, so that it holds wherever the service is mounted.
        "/pprof" => Ok(Route::Redirect("pprof/")),
        "/pprof/" => Ok(Route::Answer(Answer::Index)),
        "/pprof/cmdline" => Ok(Route::Answer(Answer::Cmdline)),
        "/pprof/symbol" => Ok(Route::Answer(Answer::Symbol)),
        _ => match below.strip_prefix("/tasks/").map(task_id) {
            Some(Some(id)) => tasks(query, Which::Only(id), Format::Text),
            Some(None) => {
                let why = format!("{path} names no task: an id is a number");
                Err(Refused::new(StatusCode::NOT_FOUND, why))
            }
            None => {
                let why = format!("there is nothing at {path}; {PATHS}");
                Err(Refused::new(StatusCode::NOT_FOUND, why))
            }
        },
    }
}

/// `go tool pprof` does not read a profile without names if it can't post their addresses. What
/// it posts is not looked at: there are no more names than those in the profile.
fn refuse_method(method: &Method, below: &str) -> Result<(), Refused> {
    let (allowed, header): (&[_], _) = match below {
        "/pprof/symbol" => (
            &[Method::GET, Method::HEAD, Method::POST],
            "GET, HEAD, POST",
        ),
        _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
    };
    if allowed.contains(method) {
        return Ok(());
    }
    let why = format!("the method {method} is not allowed; there are {header}");
    Err(Refused {
        allow: Some(header),
        ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, why)
    })
}

fn tasks(query: Option<&str>, which: Which, format: Format) -> Result<Route, Refused> {
    let query = Query::parse(query).map_err(|error| {
        let status = match error.is_not_built() {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::BAD_REQUEST,
        };
        Refused::new(status, error.to_string())
    })?;
    let mut options = query.options(format);
    options.each_task |= matches!(which, Which::Only(_));
    Ok(Route::Answer(Answer::Tasks {
        query,
        options,
        which,
    }))
}

/// Digits alone: `parse` would take a sign too.
fn task_id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl Answer {
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Answer::Tasks { options, .. } => options.format.content_type(),
            _ => "text/plain; charset=utf-8",
        }
    }

    pub(super) fn disposition(&self) -> Option<&'static str> {
        match self {
            Answer::Tasks {
                options:
                    Options {
                        format: Format::Pprof,
                        ..
                    },
                which,
                ..
            } => Some(match which {
                Which::Leaks => "attachment; filename=\"taskleaks.pb.gz\"",
                Which::All | Which::Only(_) => "attachment; filename=\"tasks.pb.gz\"",
            }),
            _ => None,
        }
    }

    pub(super) fn write(&self, shared: &Shared, to: &mut dyn Write) -> Result<(), RenderError> {
        match self {
            Answer::Tasks {
                query,
                options,
                which,
            } => tasks_of(shared, query, options, *which, to),
            Answer::Index => Ok(write_index(shared, to)?),
            Answer::Cmdline => Ok(write_cmdline(to)?),
            Answer::Symbol => Ok(writeln!(to, "num_symbols: 1")?),
        }
    }
}

fn tasks_of(
    shared: &Shared,
    query: &Query,
    options: &Options,
    which: Which,
    to: &mut dyn Write,
) -> Result<(), RenderError> {
    // Told apart from a task that the query leaves out.
    let is_there = AtomicBool::new(false);
    let admits = |task: &RawTask, findings: &Findings| match which {
        Which::All => query.admits(task),
        Which::Leaks => query.admits_leak(task, findings),
        Which::Only(id) if task.id == id => {
            is_there.store(true, Ordering::Relaxed);
            query.admits(task)
        }
        Which::Only(_) => false,
    };
    let scope = Scope {
        whose: None,
        keep_tasks: options.each_task,
        admits: &admits,
    };
    let snapshot = reporter::snapshot(shared, &scope);
    if let Which::Only(id) = which
        && !is_there.into_inner()
    {
        return Err(RenderError::NoTask(id));
    }
    Ok(render(&query.apply(snapshot), options, to)?)
}

fn write_index(shared: &Shared, to: &mut dyn Write) -> std::io::Result<()> {
    let findings = shared.findings();
    let (mut tasks, mut leaks) = (0u64, 0u64);
    shared.recorder.copy_tasks(|task| {
        tasks += 1;
        leaks += u64::from(findings.accuse(task, None));
    });
    writeln!(to, "/debug/pprof/\n")?;
    writeln!(to, "{:>10}  {:<9}  what it is", "count", "profile")?;
    let about = "every task: where it waits, where it was created; ?debug=1 text by groups, \
                 ?debug=2 text by tasks, else for go tool pprof";
    writeln!(to, "{tasks:>10}  {:<9}  {about}", "tasks")?;
    let about = "the tasks with a verdict of the watchdog: they may wait for ever; the same forms";
    writeln!(to, "{leaks:>10}  {:<9}  {about}", "taskleaks")?;
    let about = "the command line of this process, arguments apart by NUL bytes";
    writeln!(to, "{:>10}  {:<9}  {about}", "", "cmdline")
}

fn write_cmdline(to: &mut dyn Write) -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    to.write_all(arguments.join("\0").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str, query: Option<&str>) -> u16 {
        match find(&method, path, query) {
            Ok(Route::Answer(_)) => 200,
            Ok(Route::Redirect(_)) => 308,
            Err(refused) => {
                assert!(!refused.why.contains('\n') && !refused.why.is_empty());
                refused.status.as_u16()
            }
        }
    }

    #[test]
    fn paths_lead_to_answers() {
        let check = |path: &str, query: &str, expected: u16| {
            let query = (!query.is_empty()).then_some(query);
            assert_eq!(
                status(Method::GET, path, query),
                expected,
                "{path} {query:?}"
            );
        };
        check("/debug/tasks", "", 200);
        check(
            "/debug/tasks",
            "debug=2&format=json&full=1&seconds=300&limit=1",
            200,
        );
        check("/debug/tasks/17", "", 200);
        check("/debug/pprof", "", 308);
        check("/debug/pprof/", "", 200);
        check("/debug/pprof/tasks", "debug=1", 200);
        check("/debug/pprof/cmdline", "", 200);
        check("/debug/pprof/symbol", "", 200);
        check("/debug/tasks/abc", "", 404);
        check("/debug/tasks/+17", "", 404);
        check("/debug/tasks/99999999999999999999", "", 404);
        check("/debug/tasks/", "", 404);
        check("/debug/pprof/heap", "", 404);
        check("/debug/leaks", "debug=2&seconds=300", 200);
        check("/debug/leaks/", "", 404);
        check("/debug/leaks", "seconds=soon", 400);
        check("/debug/pprof/taskleaks", "debug=1", 200);
        check("/metrics", "", 404);
        check("/debug", "", 404);
        check("/debugger/tasks", "", 404);
        check("/", "", 404);
        check("/debug/tasks", "format=svg", 404);
        check("/debug/tasks", "format=html", 404);
        check("/debug/tasks", "format=xml", 400);
        check("/debug/tasks", "seconds=0", 400);
        check("/debug/tasks", "seconds=301", 400);
        check("/debug/tasks", "limit=many", 400);
        check("/debug/tasks", "colour=red", 400);
        check("/debug/tasks", "state=asleep", 400);
    }

    #[test]
    fn a_server_may_take_the_prefix_off() {
        for path in ["/tasks", "/tasks/17", "/pprof/", "/pprof/tasks"] {
            assert_eq!(status(Method::GET, path, None), 200, "{path}");
        }
        assert_eq!(status(Method::GET, "/pprof", None), 308);
    }

    #[test]
    fn other_methods_are_refused() {
        let check = |path: &str, refused: &[Method], allow: &str| {
            for method in refused {
                let error = find(method, path, None).unwrap_err();
                assert_eq!(error.status, StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(error.allow, Some(allow));
                assert!(error.why.contains(method.as_str()), "{}", error.why);
                assert!(error.why.ends_with(allow), "{}", error.why);
            }
        };
        let (put, delete, options) = (Method::PUT, Method::DELETE, Method::OPTIONS);
        let all = [Method::POST, put.clone(), delete.clone(), options.clone()];
        check("/debug/tasks", &all, "GET, HEAD");
        check("/debug/pprof/", &all, "GET, HEAD");
        check(
            "/debug/pprof/symbol",
            &[put, delete, options],
            "GET, HEAD, POST",
        );

        assert_eq!(status(Method::HEAD, "/debug/tasks", None), 200);
        assert_eq!(status(Method::POST, "/debug/pprof/symbol", None), 200);
    }
}
