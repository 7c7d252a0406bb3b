//! The words that people read for a state, a kind and a wait, and for what a group is doing.
//!
//! Every renderer, the query and the group's id take their words from here; they are the same as
//! in JSON.

use std::fmt;

use crate::snapshot::{Group, Kind, State, Wait};

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Running, Self::Runnable, Self::Waiting, Self::Blocking];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Runnable => "runnable",
            Self::Waiting => "waiting",
            Self::Blocking => "blocking",
        }
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Task, Self::Local, Self::BlockOn, Self::Blocking];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Local => "local",
            Self::BlockOn => "block_on",
            Self::Blocking => "blocking",
        }
    }
}

impl Wait {
    /// Every wait.
    pub const ALL: [Self; 14] = [
        Self::ChanReceive,
        Self::ChanSend,
        Self::Sleep,
        Self::Io,
        Self::Join,
        Self::MutexLock,
        Self::RwLockRead,
        Self::RwLockWrite,
        Self::Semaphore,
        Self::Notify,
        Self::Barrier,
        Self::SubExecutor,
        Self::Other,
        Self::Nothing,
    ];

    /// The word for it, Go's where Go has one.
    pub fn word(self) -> &'static str {
        match self {
            Self::ChanReceive => "chan receive",
            Self::ChanSend => "chan send",
            Self::Sleep => "sleep",
            Self::Io => "IO wait",
            Self::Join => "join",
            Self::MutexLock => "mutex lock",
            Self::RwLockRead => "rwlock read",
            Self::RwLockWrite => "rwlock write",
            Self::Semaphore => "semaphore acquire",
            Self::Notify => "notify",
            Self::Barrier => "barrier",
            Self::SubExecutor => "sub-executor",
            Self::Other => "other",
            Self::Nothing => "nothing",
        }
    }
}

impl Group {
    /// What its tasks do, in Go's words: `chan receive`, `select (chan receive, sleep)`,
    /// `running`. A `?` stands for wakers whose stack is not known, `waiting` for a task whose
    /// wakers can't be seen at all.
    pub fn doing(&self) -> impl fmt::Display + '_ {
        Doing(self)
    }

    /// Its waits with how often each occurs, in the order of their first.
    fn waits_counted(&self) -> Vec<(Wait, usize)> {
        let mut counted: Vec<(Wait, usize)> = Vec::new();
        for &wait in &self.wait {
            match counted.iter_mut().find(|(seen, _)| *seen == wait) {
                Some((_, times)) => *times += 1,
                None => counted.push((wait, 1)),
            }
        }
        counted
    }
}

struct Doing<'a>(&'a Group);

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.0;
        if group.state != State::Waiting {
            return f.write_str(group.state.word());
        }
        match (group.wait.as_slice(), group.wakers_without_stack > 0) {
            ([], false) => f.write_str(group.state.word()),
            ([], true) => f.write_str("?"),
            ([wait], false) => f.write_str(wait.word()),
            (_, incomplete) => select(&group.waits_counted(), incomplete, f),
        }
    }
}

fn select(waits: &[(Wait, usize)], incomplete: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("select (")?;
    for (place, (wait, times)) in waits.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        match times {
            1 => write!(f, "{comma}{}", wait.word())?,
            _ => write!(f, "{comma}{times} {}", wait.word())?,
        }
    }
    f.write_str(if incomplete { ", ?)" } else { ")" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        for wait in Wait::ALL {
            assert_eq!(serde_json::to_value(wait).unwrap(), wait.word());
        }
    }
}
