//! Standard Binding requests.
