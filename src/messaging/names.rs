//! URLs and codes of `profiles/` that this room speaks in.

/// What CommunicationRequests and Communications of this room conform to.
pub const REQUEST_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/mail-request";
pub const MAIL_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/mail";
/// What a sheet of a signed prescription conforms to: what is only recorded of other practices makes no mail.
pub const PRESCRIPTION_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/prescription";

/// Identifies what caused a mail, for whom.
pub const CAUSES: &str = "https://medconsult.example/fhir/sid/mail";
/// What mails tell of.
pub const EVENTS: &str = "https://medconsult.example/fhir/CodeSystem/mail-event";
/// Why a mail was not sent, or did not arrive.
pub const FAILURES: &str = "https://medconsult.example/fhir/CodeSystem/mail-failure";
/// The tag that says where a visit stands.
pub const LABELS: &str = "https://medconsult.example/fhir/CodeSystem/appointment-label";
/// What a Task is for.
pub const TASK_CODES: &str = "https://medconsult.example/fhir/CodeSystem/task-code";
/// <http://hl7.org/fhir/R4/codesystem-communication-category.html>
pub const CATEGORIES: &str = "http://terminology.hl7.org/CodeSystem/communication-category";
/// <http://hl7.org/fhir/R4/v3/ParticipationMode/cs.html>
pub const MODES: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode";
/// <http://hl7.org/fhir/R4/codesystem-payment-type.html>
pub const PAYMENT_TYPES: &str = "http://terminology.hl7.org/CodeSystem/payment-type";
/// Languages, by their tags.
pub const LANGUAGES: &str = "urn:ietf:bcp:47";

/// The zone in which somebody wants to see times.
pub const TIME_ZONE: &str = "https://medconsult.example/fhir/StructureDefinition/time-zone";
/// Whether somebody wants to be told of an event.
pub const PREFERENCE: &str = "https://medconsult.example/fhir/StructureDefinition/notification-preference";
