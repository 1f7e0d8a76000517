//! client
pub mod net;
