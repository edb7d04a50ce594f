//! Who may do what.

mod relations;
