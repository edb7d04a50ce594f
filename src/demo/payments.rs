//! Visits of the story that were paid: as Stripe would have told the server, had there been one at that time.

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::fhir::caller::Caller;

const BASE: &str = "https://medconsult.example/fhir";

/// Whether a service is paid before the practitioner agrees.
pub fn comes_first(service: &str) -> bool {
    matches!(service, "first-visit" | "quick-question")
}

/// Stores the payment of a visit together with what it changes. Gives the visit as it is then.
///
/// # Errors
/// When it is refused.
pub async fn pay(stage: &Stage<'_>, appointment: &Value, service: &str) -> Result<Value> {
    let price = stage.read("ChargeItemDefinition", service).await?;
    let amount = &price["propertyGroup"][0]["priceComponent"][0]["amount"];
    let [charge, invoice, payment, notice] = std::array::from_fn(|_| stage.auth.ids.next().to_string());
    let now = stage.now();
    let date = now.to_zoned(TimeZone::UTC).date().to_string();
    let profile = |name: &str| json!({"profile": [format!("{BASE}/StructureDefinition/{name}")]});
    let sid = |name: &str, value: &str| json!({"system": format!("{BASE}/sid/{name}"), "value": value});
    let intent = format!("pi_story_{payment}");
    let id = appointment["id"].as_str().context("a visit without an id")?;
    let patient = participant(appointment, "Patient/").context("a visit without a patient")?;

    let mut paid = appointment.clone();
    let agreed = participant(&paid, "Practitioner/").is_some_and(|practitioner| practitioner["status"] == "accepted");
    let reference = patient["actor"]["reference"].clone();
    let participants = paid["participant"].as_array_mut().into_iter().flatten();
    for participant in participants.filter(|participant| participant["actor"]["reference"] == reference) {
        participant["status"] = json!("accepted");
    }
    if let Some(extensions) = paid["extension"].as_array_mut() {
        extensions.retain(|extension| extension["url"] != format!("{BASE}/StructureDefinition/hold-expires"));
    }
    if paid["extension"].as_array().is_some_and(Vec::is_empty)
        && let Some(members) = paid.as_object_mut()
    {
        members.shift_remove("extension");
    }
    paid["supportingInformation"] = json!([{"reference": format!("Invoice/{invoice}")}]);
    let mut resources = vec![
        json!({
            "resourceType": "ChargeItem", "id": charge, "meta": profile("visit-charge"), "status": "billed",
            "definitionCanonical": [price["url"]], "code": {"text": price["title"]}, "subject": {"reference": reference},
            "occurrenceDateTime": appointment["start"],
            "supportingInformation": [{"reference": format!("Appointment/{id}")}]
        }),
        json!({
            "resourceType": "Invoice", "id": invoice, "meta": profile("invoice"), "status": "balanced",
            "identifier": [sid("stripe-payment-intent", &intent)], "subject": {"reference": reference}, "date": date,
            "issuer": {"reference": "Organization/practice"},
            "lineItem": [{
                "chargeItemReference": {"reference": format!("ChargeItem/{charge}")},
                "priceComponent": [{"type": "base", "amount": amount}]
            }],
            "totalNet": amount, "totalGross": amount
        }),
        json!({
            "resourceType": "PaymentReconciliation", "id": payment, "meta": profile("payment"), "status": "active",
            "created": now.to_string(), "outcome": "complete", "paymentDate": date, "paymentAmount": amount,
            "paymentIdentifier": sid("stripe-payment-intent", &intent),
            "detail": [{
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/payment-type", "code": "payment"}]},
                "request": {"reference": format!("Invoice/{invoice}")}, "amount": amount
            }]
        }),
        json!({
            "resourceType": "PaymentNotice", "id": notice, "meta": profile("payment-notice"), "status": "active",
            "request": {"reference": format!("Invoice/{invoice}")}, "created": now.to_string(),
            "payment": {"reference": format!("PaymentReconciliation/{payment}")},
            "recipient": {"reference": "Organization/practice"}, "amount": amount,
            "paymentStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/paymentstatus", "code": "paid"}]}
        }),
    ];
    if agreed {
        paid["status"] = json!("booked");
        let slot = paid["slot"][0]["reference"]
            .as_str()
            .and_then(|slot| slot.split_once('/'));
        let (_, slot) = slot.context("a visit without a time")?;
        let mut slot = stage.read("Slot", slot).await?;
        slot["status"] = json!("busy");
        resources.push(slot);
    }
    resources.push(paid);
    let stored = stage.store(&Caller::server(), resources).await?;
    stored.last().cloned().context("nothing was stored")
}

fn participant<'v>(appointment: &'v Value, prefix: &str) -> Option<&'v Value> {
    let participants = appointment["participant"].as_array()?;
    participants.iter().find(|participant| {
        participant["actor"]["reference"]
            .as_str()
            .is_some_and(|reference| reference.starts_with(prefix))
    })
}
