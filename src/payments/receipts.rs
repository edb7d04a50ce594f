//! The practice's books: what came (PaymentReconciliation `payment`, PaymentNotice), what went back (PaymentReconciliation
//! `adjustment`), what did not come (PaymentReconciliation with the outcome `error`). Each is there once per number of
//! Stripe's, which is its `paymentIdentifier` and, since R4 searches for that alone, its `identifier`.

use serde_json::{Value, json};

use super::money::Money;
use super::names::{EVENT, INTENT, NOTICE_PROFILE, PAYMENT_PROFILE, PAYMENT_STATUS, PAYMENT_TYPE, REFUND};
use super::stripe::{Paid, Returned};
use super::till::{Record, Till, create};
use crate::fhir::commit::Op;
use crate::fhir::error::FhirError;
use crate::fhir::resource::instant;

/// What an entry says.
struct Entry<'a> {
    /// Stripe's number, and of what.
    number: (&'static str, &'a str),
    kind: &'static str,
    outcome: &'static str,
    amount: Money,
    why: Option<&'a str>,
    event: Option<&'a str>,
}

impl Entry<'_> {
    /// What finds it again.
    fn criteria(&self) -> [(&'static str, String); 2] {
        let (system, value) = self.number;
        [
            ("identifier", format!("{system}|{value}")),
            ("outcome", self.outcome.to_owned()),
        ]
    }

    /// Its write, which does nothing where it is there.
    fn write(&self, till: Till<'_>, invoice: &Record, name: Option<String>) -> Op {
        let now = till.server.clock.now();
        let (system, value) = self.number;
        let mut resource = json!({
            "resourceType": "PaymentReconciliation",
            "meta": {"profile": [PAYMENT_PROFILE]},
            "status": "active",
            "identifier": [{"system": system, "value": value}],
            "created": instant(now),
            "outcome": self.outcome,
            "paymentDate": now.to_zoned(jiff::tz::TimeZone::UTC).date().to_string(),
            "paymentAmount": self.amount.to_json(),
            "paymentIdentifier": {"system": system, "value": value},
            "detail": [{
                "type": {"coding": [{"system": PAYMENT_TYPE, "code": self.kind}]},
                "request": {"reference": invoice.reference()},
                "amount": self.amount.to_json()
            }]
        });
        if let (Some(event), Value::Array(numbers)) = (self.event, &mut resource["identifier"]) {
            numbers.push(json!({"system": EVENT, "value": event}));
        }
        if let Some(why) = self.why {
            resource["disposition"] = json!(why);
        }
        let criteria = self.criteria().map(|(name, value)| format!("{name}={value}")).join("&");
        create(resource, Some(criteria), name)
    }
}

/// The writes of a payment that came: the entry, and the notice to the practice.
pub fn payment(till: Till<'_>, invoice: &Record, paid: &Paid, event: Option<&str>) -> Vec<Op> {
    let name = format!("urn:uuid:{}", till.server.ids.next());
    let notice = json!({
        "resourceType": "PaymentNotice",
        "meta": {"profile": [NOTICE_PROFILE]},
        "status": "active",
        "request": {"reference": invoice.reference()},
        "created": instant(till.server.clock.now()),
        "payment": {"reference": name},
        "recipient": invoice.content["issuer"],
        "amount": paid.amount.to_json(),
        "paymentStatus": {"coding": [{"system": PAYMENT_STATUS, "code": "paid"}]}
    });
    vec![
        came(paid, event).write(till, invoice, Some(name)),
        create(notice, None, None),
    ]
}

/// The write of a payment that came too often: the entry alone.
pub fn surplus(till: Till<'_>, invoice: &Record, paid: &Paid, event: Option<&str>) -> Op {
    came(paid, event).write(till, invoice, None)
}

fn came<'a>(paid: &'a Paid, event: Option<&'a str>) -> Entry<'a> {
    Entry {
        number: (INTENT, &paid.intent),
        kind: "payment",
        outcome: "complete",
        amount: paid.amount,
        why: None,
        event,
    }
}

/// The write of a payment that was refused: once, however often the payer tries.
pub fn failure(till: Till<'_>, invoice: &Record, intent: &str, amount: Money, event: Option<&str>) -> Op {
    let entry = Entry {
        number: (INTENT, intent),
        kind: "payment",
        outcome: "error",
        amount,
        why: Some("The payment was refused."),
        event,
    };
    entry.write(till, invoice, None)
}

/// The write of money that went back.
pub fn adjustment(till: Till<'_>, invoice: &Record, returned: &Returned, why: &str) -> Op {
    let entry = Entry {
        number: (REFUND, &returned.id),
        kind: "adjustment",
        outcome: "complete",
        amount: returned.amount,
        why: Some(why),
        event: None,
    };
    entry.write(till, invoice, None)
}

/// The entry of a number, of what has arrived or went back.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn find(till: Till<'_>, system: &str, number: &str) -> Result<Option<Record>, FhirError> {
    let token = format!("{system}|{number}");
    let query = [("identifier", token.as_str()), ("outcome", "complete")];
    Ok(till.search("PaymentReconciliation", &query).await?.into_iter().next())
}

/// The id of the Invoice that an entry is about.
pub fn invoice(entry: &Value) -> Option<&str> {
    entry["detail"][0]["request"]["reference"].as_str()
}
