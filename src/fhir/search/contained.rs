//! Resources that are contained in others (<https://hl7.org/fhir/R4/search.html#contained>).
//!
//! A contained resource has a rid of its own, as if it stood alone, and index rows under it. The numbers of its parameters
//! are negated there, so that searches for resources that stand alone read nothing of it. Its rid is kept over updates of
//! the resource that contains it, as long as its local id is.

use super::index::ResourceRows;
use crate::fhir::error::FhirError;

/// Whether resources that are contained in others are searched.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Contained {
    /// `_contained=false`
    #[default]
    Ignored,
    /// `_contained=true`
    Only(Answer),
    /// `_contained=both`
    Too(Answer),
}

/// What is answered for a contained resource that matches: `_containedType`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Answer {
    #[default]
    Container,
    Itself,
}

impl Contained {
    /// Reads the two parameters, as far as they are given.
    ///
    /// # Errors
    /// 400 for a value that R4 does not have.
    pub fn read(contained: Option<&str>, answer: Option<&str>) -> Result<Contained, FhirError> {
        let answer = match answer {
            None | Some("container") => Answer::Container,
            Some("contained") => Answer::Itself,
            Some(_) => return Err(FhirError::bad_value("_containedType is container or contained.")),
        };
        match contained {
            None | Some("false") => Ok(Contained::Ignored),
            Some("true") => Ok(Contained::Only(answer)),
            Some("both") => Ok(Contained::Too(answer)),
            Some(_) => Err(FhirError::bad_value("_contained is false, true or both.")),
        }
    }

    /// Whether contained resources themselves are among the matches.
    pub fn answers_contained(self) -> bool {
        matches!(self, Contained::Only(Answer::Itself) | Contained::Too(Answer::Itself))
    }
}

/// The columns of a resource `r` that is a match, or of the match `c` that it contains, and where they are: of a contained
/// resource the type and id of its container, else nothing.
pub const PLACED_COLUMNS: &str = "m.rid, coalesce(c.type, r.type), coalesce(c.local_id, r.id), r.version, r.last_updated, \
     r.deleted, r.method, CASE WHEN c.rid IS NULL THEN coalesce(r.exact, r.content::text) ELSE coalesce(\
     (r.exact::json -> 'contained' -> c.position)::text, (r.content -> 'contained' -> c.position)::text) END AS json, \
     CASE WHEN c.rid IS NOT NULL THEN r.type END, r.id";

/// A contained resource with what it is found by.
#[derive(Debug)]
pub struct ContainedRows<'v> {
    pub row: Row<'v>,
    /// How many before it have the same local id, which is none in a valid resource.
    pub occurrence: usize,
    pub rows: ResourceRows<'v>,
}

impl<'v> ContainedRows<'v> {
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
