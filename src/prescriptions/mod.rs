//! Prescriptions: what a practitioner lets a patient have, from the draft to the printed sheet and its end.
//!
//! Everything is FHIR: MedicationRequests, of which those with one `groupIdentifier` are on one sheet; DetectedIssues for what stands
//! against them; a Provenance with the signature; the sheet as DocumentReference and Binary. docs/prescriptions.md tells how it
//! looks from outside.
//!
//! | file | concern |
//! |---|---|
//! | [`state`] | the states of a prescription and the moves between them. Pure |
//! | [`dosage`] | a structured dosage as a sentence. Pure |
//! | [`formulary`] | what is known of medicines |
//! | [`checks`] | what stands against a prescription. Pure |
//! | [`chart`] | what the patient takes and must not have |
//! | [`issues`] | findings as resources, and the reasons for overriding them |
//! | [`authority`] | who may sign |
//! | [`signer`] | the practice's key |
//! | [`guard`] | what holds whoever writes |
//! | [`sheet`], [`people`], [`day`], [`concept`] | what a sheet says. Pure |
//! | [`printer`] | the sheet as PDF |
//! | [`documents`] | the PDF among the patient's documents |
//! | [`reprint`] | another print when a medicine moves |
//! | [`verify`] | the page behind the code on the sheet |
//! | [`operations`] | `$check`, `$sign` |
//! | [`office`], [`record`], [`names`] | what they share |

pub mod authority;
pub mod chart;
pub mod checks;
pub mod concept;
pub mod day;
pub mod documents;
pub mod dosage;
pub mod formulary;
pub mod guard;
pub mod issues;
pub mod names;
pub mod office;
pub mod operations;
pub mod people;
pub mod printer;
pub mod record;
pub mod reprint;
pub mod sheet;
pub mod signer;
pub mod state;
pub mod verify;
