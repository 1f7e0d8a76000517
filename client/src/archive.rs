//! Conversations in files: what was said as JSON Lines that anybody can verify, and as text and HTML to read.
//!
//! [`record`] is what lies in a file of JSON Lines, [`check`] reads one and trusts nothing in it, [`page`] writes all
//! three formats, [`seal`] signs the whole, [`anonymise`] takes out who said it. All of it is pure; files are the business of the front end.

pub mod anonymise;
pub mod check;
mod html;
pub mod page;
pub mod record;
pub mod seal;
mod text;

pub use check::{Checked, Checker, Damage};
pub use page::{Format, Page};
pub use record::Record;
pub use seal::Seal;
