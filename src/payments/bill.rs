//! What is to be paid: the Invoice of a visit and its ChargeItem, made and read.
//!
//! | Invoice.status | |
//! |---|---|
//! | `issued` | to be paid |
//! | `balanced` | paid |
//! | `cancelled` | not to be paid any more, or given back; `cancelledReason` says which |

use jiff::Timestamp;
use serde_json::{Value, json};

use super::money::Money;
use super::names::{CHARGE_PROFILE, INTENT, INVOICE_PROFILE, SESSION};
use super::price::Price;
use super::till::{Record, Till, create};
use super::visit;
use crate::fhir::commit::Op;
use crate::fhir::error::FhirError;
use crate::fhir::resource::instant;

/// The writes of a new Invoice, which others of the same commit call `name`, and of its ChargeItem.
pub fn issue(
    till: Till<'_>,
    visit: &Record,
    service: &Value,
    definition: &Value,
    price: &Price,
    name: &str,
) -> Vec<Op> {
    let patient = visit::participant(&visit.content, "Patient").map_or(Value::Null, |found| found["actor"].clone());
    let charge = format!("urn:uuid:{}", till.server.ids.next());
    let now = instant(till.server.clock.now());
    let code = definition.get("code").cloned();
    let mut item = json!({
        "resourceType": "ChargeItem",
        "meta": {"profile": [CHARGE_PROFILE]},
        "status": "billable",
        "definitionCanonical": [definition["url"]],
        "code": code.unwrap_or_else(|| json!({"text": definition["title"]})),
        "subject": patient,
        "enteredDate": now,
        "supportingInformation": [{"reference": visit.reference()}]
    });
    if let Some(start) = visit.content.get("start") {
        item["occurrenceDateTime"] = start.clone();
    }
    let invoice = json!({
        "resourceType": "Invoice",
        "meta": {"profile": [INVOICE_PROFILE]},
        "status": "issued",
        "subject": patient,
        "recipient": patient,
        "date": now,
        "issuer": practice(service),
        "lineItem": [{
            "sequence": 1,
            "chargeItemReference": {"reference": charge},
            "priceComponent": price.components
        }],
        "totalNet": price.net.to_json(),
        "totalGross": price.gross.to_json()
    });
    vec![
        create(item, None, Some(charge)),
        create(invoice, None, Some(name.to_owned())),
    ]
}

/// A Reference to who offers a service and gets the money: its organisation, or the practice without a name of its own.
fn practice(service: &Value) -> Value {
    match service.get("providedBy") {
        Some(organization) => organization.clone(),
        None => json!({"type": "Organization", "display": "The practice"}),
    }
}

/// Whether it is one of this room.
pub fn is_ours(invoice: &Value) -> bool {
    claims(invoice, INVOICE_PROFILE)
}

/// Whether a resource says that it conforms to that profile.
pub fn claims(resource: &Value, profile: &str) -> bool {
    let mut claimed = resource["meta"]["profile"].as_array().into_iter().flatten();
    claimed.any(|claim| {
        let claim = claim.as_str().unwrap_or_default();
        claim.split('|').next() == Some(profile)
    })
}

/// What is to be paid in all.
///
/// # Errors
/// 500: nothing but this room writes such an Invoice.
pub fn total(invoice: &Value) -> Result<Money, FhirError> {
    Money::read(&invoice["totalGross"]).ok_or_else(|| FhirError::internal("an invoice without a total"))
}

/// When it was issued.
pub fn issued_at(invoice: &Value) -> Option<Timestamp> {
    invoice["date"].as_str()?.parse().ok()
}

/// The number of its page at Stripe.
pub fn session(invoice: &Value) -> Option<&str> {
    identifier(invoice, SESSION)
}

/// The number of its payment at Stripe.
pub fn intent(invoice: &Value) -> Option<&str> {
    identifier(invoice, INTENT)
}

fn identifier<'v>(resource: &'v Value, system: &str) -> Option<&'v str> {
    let mut identifiers = resource["identifier"].as_array().into_iter().flatten();
    identifiers.find(|identifier| identifier["system"] == system)?["value"].as_str()
}

/// Gives it a number, in place of another of that system.
pub fn set_identifier(resource: &mut Value, system: &str, value: &str) {
    let mut identifiers = match resource["identifier"].take() {
        Value::Array(identifiers) => identifiers,
        _ => Vec::new(),
    };
    identifiers.retain(|identifier| identifier["system"] != system);
    identifiers.push(json!({"system": system, "value": value}));
    resource["identifier"] = Value::Array(identifiers);
}

/// The writes by which nothing is to be paid any more, or all was given back: the Invoice, and its ChargeItem with
/// `charge_status`.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn cancel(till: Till<'_>, invoice: &Record, why: &str, charge_status: &str) -> Result<Vec<Op>, FhirError> {
    let mut after = invoice.content.clone();
    after["status"] = json!("cancelled");
    after["cancelledReason"] = json!(why);
    let mut ops = vec![invoice.update(after)];
    ops.extend(charge(till, invoice, charge_status).await?);
    Ok(ops)
}

/// The writes by which what an Invoice charges has another status.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn charge(till: Till<'_>, invoice: &Record, status: &str) -> Result<Vec<Op>, FhirError> {
    let mut ops = Vec::new();
    for line in invoice.content["lineItem"].as_array().into_iter().flatten() {
        let reference = line["chargeItemReference"]["reference"].as_str();
        if let Some(item) = till.follow("ChargeItem", reference).await? {
            let mut after = item.content.clone();
            after["status"] = json!(status);
            ops.push(item.update(after));
        }
    }
    Ok(ops)
}
