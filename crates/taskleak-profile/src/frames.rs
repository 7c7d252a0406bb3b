//! The frames of a stack that tell of the program: those that are not hidden.

use crate::snapshot::{Frame, Group};

/// The visible frames of a stack, leaf first.
pub(crate) fn visible(stack: &[Frame]) -> impl DoubleEndedIterator<Item = &Frame> {
    stack.iter().filter(|frame| !frame.hidden)
}

/// The innermost visible function of a stack; empty if there is none, or it has no name.
pub(crate) fn innermost(stack: &[Frame]) -> &str {
    visible(stack)
        .next()
        .map_or("", |frame| frame.function.as_str())
}

/// Whether `end` is all of `text`, or stands at its end behind a separator.
pub(crate) fn is_path_end(text: &str, end: &str, separator: &str) -> bool {
    text.strip_suffix(end)
        .is_some_and(|before| before.is_empty() || before.ends_with(separator))
}

/// The path of a file of a crate in cargo's registry, from the crate on; `None` for any other file.
pub(crate) fn in_registry(path: &str) -> Option<&str> {
    let (_, in_index) = path.split_once("/registry/src/")?;
    in_index.split_once('/').map(|(_, in_crate)| in_crate)
}

impl Group {
    /// The function in which they wait: the innermost one that is shown, of several waits each
    /// once; empty if no stack of a wait is known.
    pub fn waiting_in(&self) -> String {
        let mut functions: Vec<&str> = Vec::new();
        for stack in &self.waiting_at {
            let function = innermost(stack);
            if !function.is_empty() && !functions.contains(&function) {
                functions.push(function);
            }
        }
        functions.join(", ")
    }

    /// The function that spawned them: the innermost one that is shown; empty if none is known.
    pub fn spawned_in(&self) -> &str {
        innermost(&self.created_by)
    }

    /// The visible frames of its waits and of its creation.
    pub(crate) fn visible_frames(&self) -> impl Iterator<Item = &Frame> {
        let stacks = self.waiting_at.iter().chain([&self.created_by]);
        stacks.flat_map(|stack| visible(stack))
    }
}
