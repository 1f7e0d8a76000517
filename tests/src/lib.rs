//! What the tests of the project share: a model of NATs and a simulated network.
//!
//! Nothing here is part of the product; nothing in the product knows about this crate.

pub mod bench;
pub mod nat;
pub mod simnet;
pub mod world;
