//! Resources that are contained in others (<https://hl7.org/fhir/R4/search.html#contained>).
//!
//! A contained resource has a rid of its own, as if it stood alone, and index rows under it. The numbers of its parameters
//! are negated there, so that searches for resources that stand alone read nothing of it. Its rid is kept over updates of
//! the resource that contains it, as long as its local id is.

use super::index::ResourceRows;

/// A contained resource with what it is found by.
#[derive(Debug)]
pub struct Contained<'v> {
    pub row: Row<'v>,
    /// How many before it have the same local id, which is none in a valid resource.
    pub occurrence: usize,
    pub rows: ResourceRows<'v>,
}

impl<'v> Contained<'v> {
    /// All its rows.
    pub fn with_row(self) -> ResourceRows<'v> {
        ResourceRows {
            contained: vec![self.row],
            ..self.rows
        }
    }
}

/// One row of `contained`, without its own rid and that of its container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row<'v> {
    pub type_id: i16,
    /// In `contained`, from 0.
    pub position: i32,
    /// `''` where it has none.
    pub local_id: &'v str,
}

/// Rows of `contained`, a Vec per column.
#[derive(Default, Debug)]
pub struct Columns {
    pub rid: Vec<i64>,
    pub container: Vec<i64>,
    pub type_id: Vec<i16>,
    pub position: Vec<i32>,
    pub local_id: Vec<String>,
}

impl Columns {
    pub fn push(&mut self, rid: i64, container: i64, row: &Row<'_>) {
        self.rid.push(rid);
        self.container.push(container);
        self.type_id.push(row.type_id);
        self.position.push(row.position);
        self.local_id.push(row.local_id.to_owned());
    }
}
