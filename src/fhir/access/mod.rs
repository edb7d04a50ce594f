//! Who may do what with which resource: policies as data, and what ties people to patients.

pub mod members;
pub mod policy;
