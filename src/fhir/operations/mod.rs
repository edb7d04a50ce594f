//! The operations of the core, each with its OperationDefinition.

pub mod everything;
pub mod lastn;
pub mod meta;
pub mod validate;

pub use everything::Everything;
pub use lastn::LastN;
pub use meta::{Meta, MetaAdd, MetaDelete};
pub use validate::Validate;
