//! What holds of the practice's books, whoever writes and by whichever way.
//!
//! - An Invoice of ours is `balanced` by a payment in the same transaction, or by nothing where nothing is due. What it
//!   asks for, and of whom, does not change once it is issued, and it is not deleted.
//! - A PaymentNotice of ours tells of a payment that is entered with it.
//! - Entries of the books are not changed, apart from being taken back, and not deleted.
//! - Patients write none of it, and do not make their visits refer to other Invoices than those that `$pay` issued for them:
//!   a visit counts as paid by that reference.
//!
//! It also notices when a visit moves that has an Invoice, and enqueues what [follows](super::follow), since only here it
//! is known who moved it.

use std::collections::HashSet;

use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;

use super::bill::{claims, is_ours, total};
use super::follow::{self, Move};
use super::money::Money;
use super::names::{NOTICE_PROFILE, PAYMENT_PROFILE, REPLACES};
use super::visit;
use crate::base::Clock;
use crate::fhir::access::Role;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::extensions;
use crate::fhir::hooks::{Change, Draft, Guard};
use crate::jobs::{self, NewJob};

/// See the [module](self).
#[derive(Debug)]
pub struct Books {
    clock: Clock,
}

impl Books {
    pub fn new(clock: Clock) -> Books {
        Books { clock }
    }
}

impl Guard for Books {
    fn watches(&self, resource_type: &str) -> bool {
        matches!(
            resource_type,
            "Appointment" | "ChargeItem" | "Invoice" | "PaymentNotice" | "PaymentReconciliation"
        )
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            if draft.resource_type == "Appointment" {
                return Ok(());
            }
            if is_patient(caller) && !caller.is_unrestricted() {
                let text = "The practice keeps its books: patients pay by $pay.";
                return Err(FhirError::forbidden(text).at(draft.resource_type));
            }
            judge(draft.resource_type, draft.before, draft.after.as_deref())
        })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        caller: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            for change in &changes {
                match change.resource_type {
                    "Invoice" => balanced_by_payment(change, &changes)?,
                    "PaymentNotice" => entered(change, &changes)?,
                    "Appointment" if is_patient(caller) => refers_to_its_own(change, &changes)?,
                    _ => {}
                }
            }
            let now = self.clock.now();
            let moved = Move {
                by_patient: is_patient(caller),
                at: now,
            };
            let jobs: Vec<NewJob> = changes
                .iter()
                .filter(|change| moves_money(change))
                .map(|change| follow::job(&change.id, moved))
                .collect();
            Ok(jobs::enqueue(transaction, now, &jobs).await?)
        })
    }
}

/// Whether a patient caused it, by themselves or through the practice.
fn is_patient(caller: &Caller) -> bool {
    caller.user().is_some_and(|user| user.role == Role::Patient)
}

fn judge(resource_type: &str, before: Option<&Value>, after: Option<&Value>) -> Result<(), FhirError> {
    let ours = |resource: &Value| match resource_type {
        "Invoice" => is_ours(resource),
        "PaymentReconciliation" => claims(resource, PAYMENT_PROFILE),
        "PaymentNotice" => claims(resource, NOTICE_PROFILE),
        _ => false,
    };
    let Some(before) = before.filter(|before| ours(before)) else {
        return Ok(());
    };
    let refuse = |text: &str, name: &str| Err(FhirError::conflict(text).at(format!("{resource_type}.{name}")));
    let is_draft = resource_type == "Invoice" && before["status"] == "draft";
    let Some(after) = after else {
        return match is_draft {
            true => Ok(()),
            false => refuse(
                "The practice's books are kept: give it another status instead.",
                "status",
            ),
        };
    };
    if is_draft {
        return Ok(());
    }
    if !ours(after) {
        return refuse(
            "What is in the books stays what it is: leave its profile in meta.profile.",
            "meta",
        );
    }
    let fixed: &[&str] = match resource_type {
        "Invoice" => &[
            "subject",
            "recipient",
            "issuer",
            "date",
            "lineItem",
            "totalNet",
            "totalGross",
        ],
        "PaymentNotice" => &["request", "payment", "recipient", "amount", "created"],
        _ => &[
            "created",
            "outcome",
            "paymentDate",
            "paymentAmount",
            "paymentIdentifier",
            "detail",
            "identifier",
        ],
    };
    if let Some(name) = fixed.iter().find(|name| before.get(**name) != after.get(**name)) {
        return refuse("What is in the books is not changed: enter what corrects it.", name);
    }
    match (before["status"].as_str(), after["status"].as_str()) {
        (before, after) if before == after => Ok(()),
        (Some("cancelled" | "entered-in-error"), Some(after)) if after != "entered-in-error" => {
            refuse("What was called off stays so.", "status")
        }
        (Some("balanced"), Some("issued" | "draft")) => refuse("What was paid is not to be paid again.", "status"),
        (_, Some("draft")) => refuse("It was issued.", "status"),
        _ => Ok(()),
    }
}

/// Refuses an Invoice that is paid by nothing.
fn balanced_by_payment(change: &Change, changes: &[&Change]) -> Result<(), FhirError> {
    let is_balanced = |invoice: &Value| is_ours(invoice) && invoice["status"] == "balanced";
    let Some(after) = change.after.as_ref().filter(|after| is_balanced(after)) else {
        return Ok(());
    };
    if change.before.as_ref().is_some_and(is_balanced) {
        return Ok(());
    }
    let due = total(after)?;
    let reference = format!("Invoice/{}", change.id);
    let payments = of_type(changes, "PaymentReconciliation").filter_map(|change| change.after.as_ref());
    let active = payments.filter(|payment| payment["status"] == "active" && payment["outcome"] == "complete");
    let details = active.flat_map(|payment| payment["detail"].as_array().into_iter().flatten());
    let of_invoice = details.filter(|detail| {
        let mut codings = detail["type"]["coding"].as_array().into_iter().flatten();
        detail["request"]["reference"] == reference.as_str() && codings.any(|coding| coding["code"] == "payment")
    });
    let amounts = of_invoice.filter_map(|detail| Money::read(&detail["amount"]));
    let paid = amounts.fold(Money::zero(due.currency), Money::plus);
    match paid.covers(due) {
        true => Ok(()),
        false => {
            let text = "It is paid by a PaymentReconciliation over the whole amount in the same transaction.";
            Err(FhirError::conflict(text).at("Invoice.status"))
        }
    }
}

/// Refuses a notice of a payment that is not entered with it.
fn entered(change: &Change, changes: &[&Change]) -> Result<(), FhirError> {
    let notice = change.after.as_ref().filter(|after| claims(after, NOTICE_PROFILE));
    let Some(notice) = notice.filter(|_| change.before.is_none()) else {
        return Ok(());
    };
    let payment = notice["payment"]["reference"].as_str().unwrap_or_default();
    let mut payments = of_type(changes, "PaymentReconciliation");
    let is_entered = payments.any(|entry| {
        let amount = entry.after.as_ref().map(|after| Money::read(&after["paymentAmount"]));
        payment == format!("PaymentReconciliation/{}", entry.id) && amount == Some(Money::read(&notice["amount"]))
    });
    match is_entered {
        true => Ok(()),
        false => {
            let text = "It tells of a payment of the same amount that is entered in the same transaction.";
            Err(FhirError::conflict(text).at("PaymentNotice.payment"))
        }
    }
}

/// Refuses an Invoice that somebody made a visit refer to, or not refer to any more.
fn refers_to_its_own(change: &Change, changes: &[&Change]) -> Result<(), FhirError> {
    let nothing = Value::Null;
    let after = change.after.as_ref().unwrap_or(&nothing);
    let had: HashSet<&str> = change.before.iter().flat_map(visit::invoices).collect();
    let has: HashSet<&str> = visit::invoices(after).collect();
    let replaced = extensions::find(after, REPLACES).and_then(|found| found["valueReference"]["reference"].as_str());
    let replaced = of_type(changes, "Appointment").find(|other| {
        let reference = replaced.and_then(|reference| reference.strip_prefix("Appointment/"));
        reference == Some(other.id.as_str())
    });
    let of_replaced: HashSet<&str> = replaced
        .filter(|other| other.after.as_ref().is_some_and(visit::is_off))
        .and_then(|other| other.before.as_ref())
        .map(|before| visit::invoices(before).collect())
        .unwrap_or_default();
    let is_issued = |id: &str| {
        let mut issued = of_type(changes, "Invoice").filter(|invoice| invoice.before.is_none());
        issued.any(|invoice| invoice.id == id)
    };
    let may_have = |id: &&str| had.contains(id) || of_replaced.contains(id) || is_issued(id);
    if has.iter().all(may_have) && (change.after.is_none() || had.is_subset(&has)) {
        return Ok(());
    }
    let text = "Which Invoice a visit has is the practice's: $pay issues it.";
    Err(FhirError::conflict(text).at("Appointment.supportingInformation"))
}

/// Whether something may follow for an Invoice from where a visit stands now.
fn moves_money(change: &Change) -> bool {
    let Some(after) = change.after.as_ref().filter(|_| change.resource_type == "Appointment") else {
        return false;
    };
    let newly = |stands: fn(&Value) -> bool| stands(after) && !change.before.as_ref().is_some_and(stands);
    visit::invoices(after).next().is_some() && (newly(visit::is_off) || newly(visit::waits_for_payment))
}

fn of_type<'c>(changes: &'c [&'c Change], name: &'static str) -> impl Iterator<Item = &'c Change> {
    changes
        .iter()
        .copied()
        .filter(move |change| change.resource_type == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::commit::Effect;
    use crate::payments::names::INVOICE_PROFILE;
    use serde_json::json;

    fn invoice(status: &str) -> Value {
        json!({"resourceType": "Invoice", "meta": {"profile": [INVOICE_PROFILE]}, "status": status,
            "totalGross": {"value": 60, "currency": "EUR"}})
    }

    fn change(resource_type: &'static str, before: Option<Value>, after: Value) -> Change {
        Change {
            resource_type,
            id: "x".to_owned(),
            rid: 1,
            version: 1,
            effect: Effect::Updated,
            before,
            after: Some(after),
        }
    }

    #[test]
    fn an_invoice_is_balanced_by_a_payment_of_the_whole_amount() {
        let paid = change("Invoice", Some(invoice("issued")), invoice("balanced"));
        let payment = |amount: i64, currency: &str, kind: &str, to: &str| {
            change(
                "PaymentReconciliation",
                None,
                json!({"status": "active", "outcome": "complete", "detail": [{
                    "type": {"coding": [{"code": kind}]},
                    "request": {"reference": to},
                    "amount": {"value": amount, "currency": currency}}]}),
            )
        };
        assert_eq!(balanced_by_payment(&paid, &[&paid]).unwrap_err().status, 409);
        for (entry, expected) in [
            (payment(60, "EUR", "payment", "Invoice/x"), true),
            (payment(59, "EUR", "payment", "Invoice/x"), false),
            (payment(60, "USD", "payment", "Invoice/x"), false),
            (payment(60, "EUR", "adjustment", "Invoice/x"), false),
            (payment(60, "EUR", "payment", "Invoice/y"), false),
        ] {
            assert_eq!(balanced_by_payment(&paid, &[&paid, &entry]).is_ok(), expected);
        }
        let later = change("Invoice", Some(invoice("balanced")), invoice("balanced"));
        assert!(balanced_by_payment(&later, &[&later]).is_ok());
        let plain = change("Invoice", None, json!({"status": "balanced"}));
        assert!(balanced_by_payment(&plain, &[&plain]).is_ok());
    }

    #[test]
    fn what_is_issued_keeps_its_amount_and_its_place_in_the_books() {
        let issued = invoice("issued");
        let mut cheaper = issued.clone();
        cheaper["totalGross"]["value"] = json!(1);
        let mut unclaimed = invoice("cancelled");
        unclaimed["meta"] = json!({});
        for (before, after, allowed) in [
            (&issued, Some(&invoice("cancelled")), true),
            (&issued, Some(&cheaper), false),
            (&issued, Some(&unclaimed), false),
            (&issued, Some(&invoice("draft")), false),
            (&issued, None, false),
            (&invoice("balanced"), Some(&invoice("issued")), false),
            (&invoice("cancelled"), Some(&invoice("issued")), false),
            (&invoice("cancelled"), Some(&invoice("entered-in-error")), true),
            (&invoice("draft"), None, true),
            (&invoice("draft"), Some(&cheaper), true),
            (&json!({"status": "issued"}), None, true),
        ] {
            let judged = judge("Invoice", Some(before), after);
            assert_eq!(judged.is_ok(), allowed, "{before} to {after:?}");
        }
    }

    #[test]
    fn money_moves_with_visits_that_have_an_invoice() {
        let visit = |status: &str, said: &str, with_invoice: bool| {
            let mut visit = json!({"status": status, "participant": [
                {"actor": {"reference": "Patient/p"}, "status": said}]});
            if with_invoice {
                visit::add_invoice(&mut visit, "Invoice/1");
            }
            visit
        };
        for (before, after, expected) in [
            (
                Some(visit("booked", "accepted", true)),
                visit("cancelled", "accepted", true),
                true,
            ),
            (
                Some(visit("booked", "accepted", false)),
                visit("cancelled", "accepted", false),
                false,
            ),
            (
                Some(visit("pending", "accepted", true)),
                visit("pending", "tentative", true),
                true,
            ),
            (
                Some(visit("pending", "tentative", false)),
                visit("pending", "tentative", true),
                false,
            ),
            (
                Some(visit("pending", "tentative", true)),
                visit("booked", "accepted", true),
                false,
            ),
            (
                Some(visit("cancelled", "accepted", true)),
                visit("cancelled", "declined", true),
                false,
            ),
            (None, visit("pending", "tentative", true), true),
        ] {
            assert_eq!(
                moves_money(&change("Appointment", before, after.clone())),
                expected,
                "{after}"
            );
        }
    }
}
