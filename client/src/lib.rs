//! The Hobnob client: *net* (sockets, paths), *log* (conversations and their exchange), *store* (`SQLite`), *engine* (one
//! interface over them) and *ui* (front ends on the engine).

pub mod archive;
pub mod data_dir;
pub mod date;
pub mod engine;
pub mod log;
pub mod net;
pub mod networks;
pub mod reading;
pub mod store;
pub mod ui;
