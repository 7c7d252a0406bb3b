//! The detector inside a service, end to end: its endpoint over real sockets, what clients do
//! to it, other people's servers and clients under it, tokio-console beside it.

mod client;
mod endpoint;
mod faults;
mod parked;
mod support;
