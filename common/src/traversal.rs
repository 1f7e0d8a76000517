//! traversal
