//! STUN (RFC 8489), the one place where its library is used.
//!
//! [`binding`] is the standard service that the rendezvous offers to anybody, [`discovery`] what RFC 5780 adds to it;
//! [`check`] are the authenticated requests with which two peers try and measure paths.

pub mod binding;
pub mod check;
pub mod discovery;
