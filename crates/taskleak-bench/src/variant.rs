//! The variants: the ways to run the same programs, with a detector, under a peer, and without.

/// What a contestant process runs the cases under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// tokio without its feature `tracing`: what having that alone costs.
    NoTracing,
    /// tokio with `tracing`, and no subscriber: what the others are compared with.
    Base,
    /// The same built with frame pointers.
    BaseFp,
    /// A subscriber that reads what tokio says of its tasks, and keeps nothing.
    Reads,
    /// `Builder::install`: a `TaskSubscriber` around nothing, which unwinds by framehop.
    Subscriber,
    /// The same built with frame pointers, by which it unwinds.
    SubscriberFp,
    /// `Builder::layer` on a `Registry` that has no other layer.
    Layer,
    /// `subscriber`, with a watchdog that finds tasks blocked after a second. Only for the sweep.
    Watchdog,
    /// The programs instrumented by hand with await-tree, without a subscriber.
    AwaitTree,
    /// The same with async-backtrace.
    AsyncBacktrace,
    /// console-subscriber, and nobody looks.
    Console,
    /// dial9 with its task dumps, on a tokio without `tracing`, which it does not need.
    Dial9,
}

impl Variant {
    pub(crate) const ALL: [Variant; 12] = [
        Variant::NoTracing,
        Variant::Base,
        Variant::BaseFp,
        Variant::Reads,
        Variant::Subscriber,
        Variant::SubscriberFp,
        Variant::Layer,
        Variant::Watchdog,
        Variant::AwaitTree,
        Variant::AsyncBacktrace,
        Variant::Console,
        Variant::Dial9,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::NoTracing => "no-tracing",
            Variant::Base => "base",
            Variant::BaseFp => "base-fp",
            Variant::Reads => "reads",
            Variant::Subscriber => "subscriber",
            Variant::SubscriberFp => "subscriber-fp",
            Variant::Layer => "layer",
            Variant::Watchdog => "watchdog",
            Variant::AwaitTree => "await-tree",
            Variant::AsyncBacktrace => "async-backtrace",
            Variant::Console => "console",
            Variant::Dial9 => "dial9",
        }
    }
}
