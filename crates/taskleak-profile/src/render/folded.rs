//! Folded stacks, for flame graphs: `root;…;leaf;[wait] COUNT`, one line a group.
//!
//! The root is that of the creation stack (`main`), the leaf what the tasks wait for. Two groups
//! may give the same line; tools add such lines up.

use std::io::{self, Write};

use super::show::{Modules, whole_stack};
use crate::snapshot::Snapshot;

pub(super) fn write(snapshot: &Snapshot, full: bool, sink: &mut impl Write) -> io::Result<()> {
    let modules = Modules::of(snapshot);
    for group in &snapshot.groups {
        for frame in whole_stack(group, full).into_iter().rev() {
            // A `;` would be taken for the end of the frame.
            let label = modules.label(frame).to_string().replace(';', ":");
            write!(sink, "{label};")?;
        }
        writeln!(sink, "[{}] {}", group.doing(), group.count)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn folded_of_the_sample() {
        let mut sink = Vec::new();
        write(&sample::snapshot(), false, &mut sink).unwrap();
        insta::assert_snapshot!(String::from_utf8(sink).unwrap());
    }
}
