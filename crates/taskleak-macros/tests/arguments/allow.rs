#[taskleak::test(allow = "functoin=shop::worker")]
async fn unknown_key() {}

#[taskleak::test(allow = ["crate=hyper_util", "wait=receive"])]
async fn unknown_wait() {}

#[taskleak::test(allow = 7)]
async fn no_rule() {}

fn main() {}
