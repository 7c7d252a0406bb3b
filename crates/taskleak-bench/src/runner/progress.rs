//! The progress bar, on standard error; nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let bar = ProgressBar::new(0);
        let style = "{elapsed_precise} {wide_bar} {percent:>3} % {msg:24}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress { bar }
    }

    /// There is so much more to do.
    pub(crate) fn plan(&self, steps: usize) {
        self.bar.inc_length(steps as u64);
    }

    /// What is measured from here on.
    pub(crate) fn begin(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
