//! The names that this room shares with its clients: URLs of `profiles/` and of others' definitions.

/// What stored resources conform to.
pub const INVOICE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/invoice";
pub const CHARGE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/visit-charge";
pub const PAYMENT_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/payment";
pub const NOTICE_PROFILE: &str = "https://medconsult.example/fhir/StructureDefinition/payment-notice";

/// Of a HealthcareService.
pub const POLICY: &str = "https://medconsult.example/fhir/StructureDefinition/booking-policy";
/// Of an Appointment that is not settled: when its time is given to others.
pub const HOLD_EXPIRES: &str = "https://medconsult.example/fhir/StructureDefinition/hold-expires";
/// R5's element, on R4: the Appointment that this one is in place of.
pub const REPLACES: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.replaces";

/// Our own reasons for a cancellation, beside HL7's.
pub const REASONS: &str = "https://medconsult.example/fhir/CodeSystem/cancellation-reason";
/// Payment or adjustment: <http://terminology.hl7.org/CodeSystem/payment-type>
pub const PAYMENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/payment-type";
/// <http://terminology.hl7.org/CodeSystem/paymentstatus>
pub const PAYMENT_STATUS: &str = "http://terminology.hl7.org/CodeSystem/paymentstatus";

/// Stripe's numbers, as identifiers.
pub const SESSION: &str = "https://medconsult.example/fhir/sid/stripe-session";
pub const INTENT: &str = "https://medconsult.example/fhir/sid/stripe-payment-intent";
pub const REFUND: &str = "https://medconsult.example/fhir/sid/stripe-refund";
pub const EVENT: &str = "https://medconsult.example/fhir/sid/stripe-event";

/// What a patient has told about a visit, and need not tell again when its time is booked anew.
pub const PROPOSAL_TELLS: [&str; 6] = [
    "appointmentType",
    "reasonCode",
    "reasonReference",
    "description",
    "supportingInformation",
    "comment",
];
