//! What the compiler says of wrong arguments: each message says what is allowed.
//!
//! `TRYBUILD=overwrite cargo test -p taskleak-macros --test arguments` writes the messages anew.

#[test]
fn wrong_arguments_are_errors_of_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/arguments/*.rs");
}
