//! The operations of the core, each with its OperationDefinition.

pub mod everything;
pub mod lastn;
pub mod meta;
pub mod reindex;
pub mod validate;

pub use everything::Everything;
pub use lastn::LastN;
pub use meta::{Meta, MetaAdd, MetaDelete};
pub use reindex::{Reindex, ReindexStatus};
pub use validate::Validate;
