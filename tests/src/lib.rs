//! What the tests of the project share: a model of NATs, the networks built on it, and what runs on those.
//!
//! [`simnet`] and [`world`] run real clients and a real server in one process in virtual time, [`chaos`] breaks them
//! there; [`lab`] runs the real programs in network namespaces; [`fuzz`] holds the decoders that strangers reach.
//! Nothing here is part of the product; nothing in the product knows about this crate.

pub mod bench;
pub mod chaos;
pub mod duel;
pub mod fuzz;
pub mod lab;
pub mod nat;
pub mod simnet;
pub mod tcp_duel;
pub mod world;
