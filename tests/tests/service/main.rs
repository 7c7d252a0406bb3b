//! The detector inside a service, end to end: its endpoint over real sockets, what clients do
//! to it, other people's servers and clients under it, tokio-console beside it.

mod alone;
mod attribute;
mod client;
mod console;
mod endpoint;
mod faults;
mod libraries;
mod mounted;
mod parked;
mod runtimes;
mod support;
mod verdicts;
