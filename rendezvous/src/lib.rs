//! The rendezvous: introduces machines to each other, relays sealed packets until they have a direct path, and
//! answers standard STUN requests, all on one port number: UDP, and TCP for those whom UDP does not reach.
//!
//! [`core`] decides, [`server`] drives it over quinn. The server knows peers by their keys and sees where they
//! are; it knows nothing of conversations and contacts, and stores nothing but its own key
//! and the names that people take.

pub mod core;
pub mod key;
pub mod limits;
pub mod server;
mod tunnel;

pub use limits::Limits;
pub use server::{Config, IdentitySource, Server, StartError, Stats};
