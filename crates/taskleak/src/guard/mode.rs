//! What becomes of a failure: the environment variable for a first rollout.

use std::env;
use std::io::Write;

/// The variable.
const VARIABLE: &str = "TASKLEAK_TEST";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Leaked tasks fail the test.
    Fail,
    /// They are told of on standard error, and the test passes.
    Warn,
}

impl Mode {
    /// As the environment has it; the error is one line.
    pub(crate) fn of_environment() -> Result<Mode, String> {
        match env::var_os(VARIABLE) {
            None => Ok(Mode::Fail),
            Some(value) => Mode::read(&value.to_string_lossy()),
        }
    }

    fn read(value: &str) -> Result<Mode, String> {
        match value {
            "" | "fail" => Ok(Mode::Fail),
            "warn" => Ok(Mode::Warn),
            other => Err(format!(
                "cannot read the environment variable {VARIABLE}: it is {other:?}; allowed: fail, \
                 warn"
            )),
        }
    }

    /// Fails, or warns.
    #[track_caller]
    pub(crate) fn tell(self, page: &str) {
        match self {
            Mode::Fail => panic!("{page}"),
            Mode::Warn => tell_aloud(&format!("taskleak: warning: {page}")),
        }
    }
}

/// Writes to standard error itself: what `eprintln!` writes is kept back by the harness where a
/// test passes.
pub(crate) fn tell_aloud(page: &str) {
    let _nobody_reads = writeln!(std::io::stderr().lock(), "{}", page.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(Mode::read("warn"), Ok(Mode::Warn));
        assert_eq!(Mode::read(""), Ok(Mode::Fail));
        assert_eq!(
            Mode::read("off").unwrap_err(),
            "cannot read the environment variable TASKLEAK_TEST: it is \"off\"; allowed: fail, warn"
        );
    }
}
