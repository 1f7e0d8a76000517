//! What the tests of Hobnob stand on: a model of NATs and a lab of network namespaces that runs the real
//! binaries through it.

pub mod lab;
pub mod nat;
