//! What holds of the books, whoever writes: no visit is paid but by a payment.

use medconsult::fhir::access::Role;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Target, Write, commit};
use medconsult::fhir::error::FhirError;
use serde_json::{Value, json};

use super::{Clinic, KEY, id, label, said};
use crate::app::{Ask, spawn_app};

impl Clinic {
    async fn write_as(&self, caller: &Caller, resource: Value) -> Result<(), FhirError> {
        let target = Target::Instance {
            resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
            id: id(&resource).to_owned(),
        };
        let write = Write::Update {
            target,
            resource,
            if_match: None,
            if_none_match_any: false,
        };
        let ops = vec![Op { write, full_url: None }];
        commit(&self.app.app.fhir, caller, ops)
            .await
            .map(|_| ())
            .map_err(|error| error.error)
    }
}

#[tokio::test]
async fn nobody_balances_an_invoice_by_writing_so() {
    let clinic = Clinic::open().await;
    let visit = clinic.book("quick", "ada").await;
    let page = clinic.pay(&visit).await;
    let issued = clinic.get(&page.invoice).await;
    let with = |name: &str, value: Value| {
        let mut changed = issued.clone();
        changed[name] = value;
        changed
    };
    let mut cheaper = issued.clone();
    cheaper["totalGross"]["value"] = json!(1);
    for (wrong, place) in [
        (with("status", json!("balanced")), "Invoice.status"),
        (with("status", json!("draft")), "Invoice.status"),
        (
            with("meta", json!({"source": "https://elsewhere.example"})),
            "Invoice.meta",
        ),
        (cheaper, "Invoice.totalGross"),
    ] {
        let refused = clinic.put(&wrong).await.expect(409).json();
        assert_eq!(refused["issue"][0]["expression"][0], place);
    }
    said(clinic.app.delete(&page.invoice).answer().await, 409);
    // The practice may call it off, and whoever patches is held to the same.
    let patch = json!([{"op": "replace", "path": "/status", "value": "balanced"}]);
    let patched = clinic
        .app
        .patch(&page.invoice)
        .header("content-type", "application/json-patch+json");
    said(patched.body(patch.to_string()).answer().await, 409);

    let ada = clinic.person(Role::Patient, "Patient/ada").await;
    let forged = clinic
        .write_as(&ada, with("status", json!("balanced")))
        .await
        .unwrap_err();
    assert_eq!(forged.status, 403);

    clinic.stripe.fill_in(&page.url, super::PAYS).await.expect(303);
    clinic.hear("checkout.session.completed").await;
    let paid = clinic.get(&page.invoice).await;
    let mut again = paid.clone();
    again["status"] = json!("issued");
    said(clinic.put(&again).await, 409);
    let mut entry = clinic.all("PaymentReconciliation").await.remove(0);
    entry["paymentAmount"]["value"] = json!(1);
    said(clinic.put(&entry).await, 409);
    let notice = clinic.all("PaymentNotice").await.remove(0);
    let mut other = notice.clone();
    other["id"] = json!("forged");
    said(clinic.put(&other).await, 409);
    let mut cleared = notice;
    cleared["paymentStatus"]["coding"][0]["code"] = json!("cleared");
    clinic.put(&cleared).await.expect(200);
}

#[tokio::test]
async fn a_patient_does_not_pay_one_visit_by_another() {
    let clinic = Clinic::open().await;
    let (paid, page) = clinic.settled("quick").await;
    let ada = clinic.person(Role::Patient, "Patient/ada").await;
    let open = clinic.book("quick", "ada").await;
    let mut borrowed = clinic.again(&open).await;
    borrowed["supportingInformation"] = json!([{"reference": page.invoice}]);
    let refused = clinic.write_as(&ada, borrowed).await.unwrap_err();
    assert_eq!(
        (refused.status.as_u16(), refused.issues[0].expression[0].as_str()),
        (409, "Appointment.supportingInformation")
    );
    let mut without = paid.clone();
    without.as_object_mut().unwrap().remove("supportingInformation");
    assert_eq!(clinic.write_as(&ada, without).await.unwrap_err().status, 409);
    let mut told = paid.clone();
    told["comment"] = json!("I may be late.");
    clinic.write_as(&ada, told).await.unwrap();

    // Nor by telling so when it is booked.
    let start = paid["start"].as_str().unwrap();
    let query = format!(
        "Appointment/$find?practitioner=Practitioner/emil&service=HealthcareService/quick&start={start}&_count=1"
    );
    let mut wished = clinic.all(&query).await.remove(0);
    wished["supportingInformation"] = json!([{"reference": page.invoice}]);
    let book = json!([{"name": "appointment-resource", "resource": wished}]);
    let refused = clinic.call(&ada, "Appointment/$book", book).await.unwrap_err();
    assert_eq!(refused.status, 409, "{refused:?}");

    // By $reschedule they take it along.
    let proposal = clinic.all(&query).await.remove(0);
    let to = json!([{"name": "appointment-reference", "valueReference": {"reference": format!("Appointment/{}", id(&proposal))}}]);
    let moved = clinic
        .call(&ada, &format!("Appointment/{}/$reschedule", id(&paid)), to)
        .await
        .unwrap();
    let moved = &moved["entry"][0]["resource"];
    assert_eq!(
        (label(moved), &moved["supportingInformation"][0]["reference"]),
        ("approved", &json!(page.invoice))
    );
    clinic.run_jobs().await;
    // A patient pays what is their own, and sees what was paid, but not the practice's books.
    let own = clinic
        .call(&ada, &format!("Appointment/{}/$pay", id(&open)), json!([]))
        .await
        .unwrap();
    assert!(super::Page::of(&own).url.contains("/c/pay/cs_test_"));
    let ben = clinic.person(Role::Patient, "Patient/ben").await;
    let foreign = clinic
        .call(&ben, &format!("Appointment/{}/$pay", id(&open)), json!([]))
        .await
        .unwrap_err();
    assert_eq!(foreign.status, 404);
    let server = &clinic.app.app.fhir;
    let sees = async |caller: &Caller, path: &str| {
        let (resource_type, id) = path.split_once('/').unwrap();
        matches!(server.read(caller, resource_type, id).await, Ok(Some(_)))
    };
    let entry = clinic.all("PaymentReconciliation").await.remove(0);
    let entry = format!("PaymentReconciliation/{}", id(&entry));
    assert!(sees(&ada, &page.invoice).await && !sees(&ada, &entry).await && !sees(&ben, &page.invoice).await);
}

#[tokio::test]
async fn a_server_without_a_key_says_so() {
    let app = spawn_app().await;
    for resource in super::practice() {
        let path = format!("{}/{}", resource["resourceType"].as_str().unwrap(), id(&resource));
        app.put(&path).fhir(&resource).answer().await.expect(201);
    }
    let visit = json!({"resourceType": "Appointment", "id": "v", "status": "proposed",
        "participant": [{"actor": {"reference": "Patient/ada"}, "status": "needs-action"}]});
    app.put("Appointment/v").fhir(&visit).answer().await.expect(201);
    let text = said(app.post("Appointment/v/$pay").answer().await, 501);
    assert!(text.contains("payments.stripe_key") && !text.contains(KEY), "{text}");
    app.post("/payments/stripe").body("{}").answer().await.expect(404);
    let statement = app.get("metadata").answer().await.expect(200).json();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    for (resource_type, name) in [("Appointment", "pay"), ("Invoice", "refund")] {
        let resource = resources
            .iter()
            .find(|resource| resource["type"] == resource_type)
            .unwrap();
        let operations = resource["operation"].as_array().unwrap();
        assert!(operations.iter().any(|operation| operation["name"] == name), "{name}");
    }
}
