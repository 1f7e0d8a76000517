//! STUN (RFC 8489), the one place where its library is used.
//!
//! [`binding`] is the standard service that the rendezvous offers to anybody; [`check`] are the authenticated
//! requests with which two peers try and measure paths; [`response_port`] asks for answers at another port.

pub mod binding;
pub mod check;
pub mod response_port;
