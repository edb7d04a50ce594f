//! The names that this room shares with its clients: URLs of `profiles/` and of others' definitions.

/// What stored resources conform to.
pub const APPOINTMENT_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/appointment";
pub const PROPOSAL_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/appointment-proposal";
pub const SLOT_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/slot";
pub const RESPONSE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/appointment-response";
pub const REQUEST_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/reschedule-request";
pub const OFFER_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/reschedule-offer";
pub const CHANGE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/change-provenance";

/// Of a Schedule or a HealthcareService: see [`rules`](super::rules).
pub const PARAMETERS: &str = "https://medconsult.example/fhir/StructureDefinition/scheduling-parameters";
/// Of a HealthcareService.
pub const POLICY: &str = "https://medconsult.example/fhir/StructureDefinition/booking-policy";
/// Of an Appointment that is not settled: when its time is given to others.
pub const HOLD_EXPIRES: &str = "https://medconsult.example/fhir/StructureDefinition/hold-expires";
/// Of a Slot: the time that it takes out of the calendar, with what is kept free around it.
pub const OCCUPIES: &str = "https://medconsult.example/fhir/StructureDefinition/slot-occupies";
/// Of a proposed Appointment: the window of free time that it lies in.
pub const WINDOW: &str = "https://medconsult.example/fhir/StructureDefinition/availability-window";
/// Of a Patient or Practitioner: the zone in which times are shown to that person.
pub const TIME_ZONE: &str = "https://medconsult.example/fhir/StructureDefinition/time-zone";
/// HL7's, on a date or time: the zone that its offset comes from.
pub const HL7_TIME_ZONE: &str = "http://hl7.org/fhir/StructureDefinition/timezone";

/// R5's element, on R4: the Appointment that this one is in place of.
pub const REPLACES: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.replaces";

/// Tags that the server derives from an Appointment's state.
pub const LABELS: &str = "https://medconsult.example/fhir/CodeSystem/appointment-label";
/// Our own reasons for a cancellation, beside HL7's.
pub const REASONS: &str = "https://medconsult.example/fhir/CodeSystem/cancellation-reason";
/// <http://hl7.org/fhir/R4/codesystem-appointment-cancellation-reason.html>
pub const HL7_REASONS: &str = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason";
/// What a Task is for.
pub const TASK_CODES: &str = "https://medconsult.example/fhir/CodeSystem/task-code";
/// What the inputs of a Task are.
pub const TASK_PARAMETERS: &str = "https://medconsult.example/fhir/CodeSystem/task-parameter";
/// <http://hl7.org/fhir/R4/v3/ParticipationType/cs.html>
pub const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
/// <http://hl7.org/fhir/R4/v3/DataOperation/cs.html>
pub const DATA_OPERATION: &str = "http://terminology.hl7.org/CodeSystem/v3-DataOperation";
