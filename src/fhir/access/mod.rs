//! Who may do what with which resource: policies and scopes as data, and what ties people to patients.

pub mod break_glass;
pub mod members;
pub mod policy;
pub mod relations;
pub mod role;
pub mod scope;

pub use break_glass::BreakGlass;
pub use relations::holders;
pub use role::Role;
pub use scope::{Permissions, ScopeContext, ScopeGrant};
