//! What both sides of Hobnob share: identity, wire formats, STUN, TLS set-up and the sans-I/O machines.
//!
//! Nothing here owns a socket, a task or a clock: `now` and randomness are arguments. A machine is fed with
//! `handle_*(now, input)` and must be drained with `poll_*` until it has nothing more, after every input.

pub mod address;
pub mod code;
pub mod control;
pub mod demux;
pub mod frame;
pub mod identity;
pub mod names;
pub mod relay;
pub mod stream_frame;
pub mod stun;
pub mod text;
pub mod tls;
pub mod traversal;
pub mod tunnel;
pub mod words;
