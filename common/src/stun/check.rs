//! Checks between peers.
