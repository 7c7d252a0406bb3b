//! What becomes of a test that leaks, beside all else that its attributes and its body say; and
//! of one that doesn't.

use tokio::sync::oneshot;

use crate::process::{alone, alone_with};

/// Leaks a task.
fn leak() {
    tokio::spawn(wait_for_ever());
}

async fn wait_for_ever() {
    let (_sender, receiver) = oneshot::channel::<()>();
    assert!(receiver.await.is_ok());
}

/// Where it waits.
const WAITS: &str = "guard::failures::wait_for_ever";

#[ignore = "failures.rs runs it"]
#[taskleak::test(settle = "50ms")]
async fn clean() {}

#[ignore = "failures.rs runs it"]
#[taskleak::test(settle = "50ms")]
async fn leaky() {
    leak();
}

const LEAKY: &str = "1 task that failures::leaky started is still alive 50ms after its end";

#[test]
fn the_environment_turns_failures_into_warnings() {
    let warned = alone_with("failures::leaky", &[("TASKLEAK_TEST", "warn")]);
    warned.passes();
    assert!(warned.stderr.contains(LEAKY), "{}", warned.whole());
    warned.tells(&[WAITS]);
    let failed = alone_with("failures::leaky", &[("TASKLEAK_TEST", "fail")]);
    failed.fails();
    failed.tells(&[LEAKY, WAITS]);
}

#[test]
fn the_environment_must_be_understood() {
    for test in ["failures::clean", "failures::leaky"] {
        let run = alone_with(test, &[("TASKLEAK_TEST", "wran")]);
        run.fails();
        run.tells(&["TASKLEAK_TEST: it is \"wran\"; allowed: fail, warn"]);
    }
}

#[ignore = "failures.rs runs it"]
#[taskleak::test(settle = "50ms", allow = ["function=guard::nowhere", "function=failures::wait_for_ever"])]
async fn allowed() {
    leak();
}

#[ignore = "failures.rs runs it"]
#[taskleak::test(settle = "50ms", allow = "function=guard::nowhere")]
async fn not_allowed() {
    leak();
}

#[test]
fn allowed_tasks_fail_no_test() {
    alone("failures::allowed").passes();
    let run = alone("failures::not_allowed");
    run.fails();
    run.tells(&["1 task that failures::not_allowed started", WAITS]);
}

mod should_panic {
    use super::leak;

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[should_panic(expected = "on purpose")]
    async fn clean() {
        panic!("on purpose");
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[should_panic]
    async fn clean_without_a_panic() {}

    #[ignore = "failures.rs runs it"]
    #[should_panic(expected = "on purpose")]
    #[taskleak::test(settle = "50ms")]
    async fn leaky() {
        leak();
        panic!("on purpose");
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[should_panic]
    async fn leaky_without_a_panic() {
        leak();
    }
}

#[test]
fn a_test_that_should_panic_panics_by_itself() {
    alone("failures::should_panic::clean").passes();
    let run = alone("failures::should_panic::clean_without_a_panic");
    run.fails();
    run.tells(&["did not panic as expected"]);
}

/// By the page as its panic it would pass.
#[test]
fn a_test_that_should_panic_fails_for_its_leaks() {
    for test in ["leaky", "leaky_without_a_panic"] {
        let run = alone(&format!("failures::should_panic::{test}"));
        run.fails();
        let first = format!("1 task that failures::should_panic::{test} started is still alive");
        run.tells(&[&first, WAITS]);
    }
}

mod body {
    use std::num::ParseIntError;

    use super::leak;

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn returns_ok() -> Result<(), ParseIntError> {
        let _seven: u8 = "7".parse()?;
        Ok(())
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leaks_and_returns_ok() -> Result<(), ParseIntError> {
        leak();
        let _seven: u8 = "7".parse()?;
        Ok(())
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leaks_and_returns_err() -> Result<(), ParseIntError> {
        leak();
        let _seven: u8 = "seven".parse()?;
        Ok(())
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms", on_failure = true)]
    async fn leaks_and_returns_err_and_is_checked() -> Result<(), ParseIntError> {
        leak();
        let _seven: u8 = "seven".parse()?;
        Ok(())
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leaks_and_panics() {
        leak();
        panic!("on purpose");
    }

    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms", on_failure = true)]
    async fn leaks_and_panics_and_is_checked() {
        leak();
        panic!("on purpose");
    }
}

#[test]
fn a_body_that_ends_well_is_checked() {
    alone("failures::body::returns_ok").passes();
    let run = alone("failures::body::leaks_and_returns_ok");
    run.fails();
    run.tells(&[
        "leaks_and_returns_ok started is still alive 50ms after its end",
        WAITS,
    ]);
}

#[test]
fn a_body_that_fails_fails_for_what_it_says() {
    for (test, says) in [
        ("leaks_and_returns_err", "ParseIntError"),
        ("leaks_and_panics", "on purpose"),
    ] {
        let run = alone(&format!("failures::body::{test}"));
        run.fails();
        run.tells(&[says]);
        run.tells_nothing_of(&["still alive", WAITS]);
    }
}

#[test]
fn a_body_that_fails_is_checked_on_demand() {
    for (test, says) in [
        ("leaks_and_returns_err_and_is_checked", "ParseIntError"),
        ("leaks_and_panics_and_is_checked", "on purpose"),
    ] {
        let run = alone(&format!("failures::body::{test}"));
        run.fails();
        let first = format!("1 task that failures::body::{test} started is still alive");
        run.tells(&[says, &first, WAITS]);
    }
}

mod cases {
    use rstest::{fixture, rstest};

    use super::leak;

    #[fixture]
    fn one() -> usize {
        1
    }

    #[rstest]
    #[case(0)]
    #[case(2)]
    #[ignore = "failures.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leak_so_many(#[case] tasks: usize, #[values(false, true)] more: bool, one: usize) {
        for _ in 0..if more { tasks * 2 } else { tasks } * one {
            leak();
        }
    }
}

#[test]
fn cases_fail_one_by_one() {
    let path = "failures::cases::leak_so_many";
    for (case, leaked) in [
        ("case_1::more_1_false", 0),
        ("case_1::more_2_true", 0),
        ("case_2::more_1_false", 2),
        ("case_2::more_2_true", 4),
    ] {
        let run = alone(&format!("{path}::{case}"));
        if leaked == 0 {
            run.passes();
        } else {
            run.fails();
            run.tells(&[
                &format!("{leaked} tasks that {path}::{case} started are"),
                WAITS,
            ]);
        }
    }
}
