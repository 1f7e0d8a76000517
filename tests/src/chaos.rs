//! Conversations under fire: from one seed a plan of what is written and of what goes wrong, the run of it in the
//! simulated world, and the verdict.
//!
//! The verdict is that of a user: no message that was accepted is lost, doubled or out of order, whoever was killed
//! at whatever moment. [`run_seed`] is all of it; [`run_many`] uses all processors. The plan of a seed is always the
//! same; its run is so as far as the order of tasks and of the store's threads is the same.

mod faults;
mod judge;
mod many;
mod plan;
mod run;

pub use faults::Deadly;
pub use many::{Outcome, run_many, run_seed};
pub use plan::{Action, CROWDS, HomePlan, LinkPlan, Plan, ROOMS, Step};
pub use run::Summary;
