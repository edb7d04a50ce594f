//! FHIRPath's system values: exact decimals, dates and times of partial precision, quantities with UCUM units.
//!
//! They know nothing of resources or elements. No operation panics on any input; `None` means what FHIRPath calls
//! *empty*: not determined, not representable, or out of range
//! (<https://hl7.org/fhirpath/N1/#types>, <https://hl7.org/fhirpath/N1/#operations>).

mod decimal;
mod quantity;
mod temporal;
pub mod ucum;

pub use decimal::Decimal;
pub use quantity::{Quantity, Unit};
pub use temporal::{CalendarUnit, Date, DateTime, Time};
