//! The operations of the core, each with its OperationDefinition.

pub mod validate;

pub use validate::Validate;
