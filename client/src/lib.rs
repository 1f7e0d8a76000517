//! client

pub mod data_dir;
pub mod log;
pub mod store;
