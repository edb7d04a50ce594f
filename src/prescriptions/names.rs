//! URLs and codes.

pub const PRESCRIPTION_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/prescription";
pub const ISSUE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/medication-issue";
pub const SIGNATURE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/signature";
pub const DOCUMENT_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/document";
pub const CONTENT_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/document-content";

/// Numbers of sheets.
pub const SHEETS: &str = "https://medconsult.example/fhir/sid/prescription";
/// Names of findings: the same finding about the same sheet has the same one, whenever it is looked for.
pub const FINDINGS: &str = "https://medconsult.example/fhir/sid/medication-issue";
pub const DOCUMENT_CATEGORIES: &str = "https://medconsult.example/fhir/CodeSystem/document-category";

pub const ACT_CODES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub const DOCUMENT_COMPLETION: &str = "http://terminology.hl7.org/CodeSystem/v3-DocumentCompletion";
pub const PARTICIPANTS: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
/// Purposes of signatures (ASTM E1762).
pub const SIGNATURE_TYPES: &str = "urn:iso-astm:E1762-95:2013";
/// The author's signature.
pub const AUTHORS_SIGNATURE: &str = "1.2.840.10065.1.12.1.1";

pub const LOINC: &str = "http://loinc.org";
pub const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
pub const ATC: &str = "http://www.whocc.no/atc";
pub const SNOMED: &str = "http://snomed.info/sct";
pub const UCUM: &str = "http://unitsofmeasure.org";
/// `BID` and its like.
pub const TIMING_ABBREVIATIONS: &str = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation";
