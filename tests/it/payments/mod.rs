//! A practice that takes money: a real server, and the stand-in for Stripe as a process of its own. Nothing is told by
//! webhooks unless a test says so, so that tests decide what is heard of, when, and how often.

mod contract;
mod faults;
mod guards;
mod policy;
mod visits;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use medconsult::config::Config;
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant};
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::OperationInput;
use medconsult::fhir::parameters::Parameters;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::summary::Projection;
use medconsult::jobs::{self, NewJob};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::app::{Answer, Ask, TestApp, spawn_app_with};

const KEY: &str = "sk_test_of_the_tests";
const SECRET: &str = "whsec_of_the_tests";
const BASE: &str = "https://medconsult.example/fhir";

const PAYS: &str = "4242 4242 4242 4242";
const DECLINED: &str = "4000000000000002";
const LOSES_REFUNDS: &str = "4000000000005126";

/// The stand-in, which ends with this value.
pub struct StandIn {
    child: Child,
    pub address: String,
    client: Client,
}

impl StandIn {
    pub fn start(webhook_url: Option<&str>) -> StandIn {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-stand-in"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--secret-key",
            KEY,
            "--webhook-secret",
            SECRET,
        ]);
        if let Some(url) = webhook_url {
            command.args(["--webhook-url", url]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the stand-in runs");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("its address")
            .to_owned();
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        StandIn { child, address, client }
    }

    /// Fills in the page as a payer does.
    pub async fn fill_in(&self, page: &str, card: &str) -> Answer {
        filled_in(self.client.post(page), &[("card", card)]).answer().await
    }

    /// Asks its API.
    pub async fn ask(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}/v1/{path}", self.address)).bearer_auth(KEY);
        request.answer().await.expect(200).json()
    }

    /// Makes it do something.
    pub async fn make(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.client.post(format!("{}/v1/{path}", self.address)).bearer_auth(KEY);
        filled_in(request, form).answer().await
    }

    /// The last event of a type.
    async fn event(&self, kind: &str) -> Value {
        self.ask(&format!("events?type={kind}")).await["data"][0].clone()
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn filled_in(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

/// What Stripe would send with a body at that instant.
fn signature(secret: &str, at: Timestamp, body: &str) -> String {
    let at = at.as_second();
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        format!("{at}.{body}").as_bytes(),
    );
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={digits}")
}

struct Clinic {
    // Before the stand-in, which its server asks.
    app: TestApp,
    stripe: StandIn,
}

fn extension(name: &str, parts: &Value) -> Value {
    json!({"url": format!("{BASE}/StructureDefinition/{name}"), "extension": parts})
}

/// A HealthcareService whose visits are paid by that price.
fn service(id: &str, approval: &str, payment: &str, price: &str, more: &[Value]) -> Value {
    let mut parts = vec![
        json!({"url": "approval", "valueCode": approval}),
        json!({"url": "payment", "valueCode": payment}),
        json!({"url": "price", "valueCanonical": format!("https://clinic.example/prices/{price}")}),
    ];
    parts.extend_from_slice(more);
    json!({"resourceType": "HealthcareService", "id": id, "active": true, "name": id,
        "type": [{"text": id}], "extension": [extension("booking-policy", &json!(parts))]})
}

fn days(part: &str, days: i64) -> Value {
    json!({"url": part, "valueDuration": {"value": days, "system": "http://unitsofmeasure.org", "code": "d"}})
}

fn price(id: &str, value: &str, currency: &str) -> Value {
    let value: Value = serde_json::from_str(value).unwrap();
    json!({"resourceType": "ChargeItemDefinition", "id": id, "url": format!("https://clinic.example/prices/{id}"),
        "meta": {"profile": [format!("{BASE}/StructureDefinition/price")]},
        "title": "Consultation about something private", "status": "active",
        "propertyGroup": [{"priceComponent": [{"type": "base", "amount": {"value": value, "currency": currency}}]}]})
}

const SERVICES: [&str; 8] = ["paid", "billed", "quick", "free", "late", "yen", "dinar", "gift"];

/// What such a practice consists of.
pub fn practice() -> Vec<Value> {
    let percent = json!({"url": "lateRefundPercent", "valueUnsignedInt": 50});
    let every_day: Vec<Value> = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        .iter()
        .map(|day| json!({"url": "daysOfWeek", "valueCode": day}))
        .chain([
            json!({"url": "start", "valueTime": "00:00:00"}),
            json!({"url": "end", "valueTime": "00:00:00"}),
        ])
        .collect();
    let always =
        json!([{"url": "timezone", "valueCode": "Asia/Tokyo"}, {"url": "availability", "extension": every_day}]);
    let schedule = |id: &str| {
        let actors = [format!("Practitioner/{id}")].into_iter();
        let actors = actors.chain(SERVICES.iter().map(|service| format!("HealthcareService/{service}")));
        let actors: Vec<Value> = actors.map(|reference| json!({"reference": reference})).collect();
        json!({"resourceType": "Schedule", "id": id, "active": true, "actor": actors,
            "extension": [extension("scheduling-parameters", &always)]})
    };
    vec![
        json!({"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}]}),
        json!({"resourceType": "Patient", "id": "ben"}),
        json!({"resourceType": "Practitioner", "id": "dora"}),
        json!({"resourceType": "Practitioner", "id": "emil"}),
        price("visit", "60.00", "EUR"),
        price("yen", "5000", "JPY"),
        price("dinar", "12.345", "KWD"),
        price("gift", "0", "EUR"),
        service(
            "paid",
            "manual",
            "before-approval",
            "visit",
            &[days("cancelNotice", 1), percent.clone()],
        ),
        service("billed", "manual", "after-approval", "visit", &[]),
        service("quick", "auto", "before-approval", "visit", &[]),
        service("free", "auto", "none", "visit", &[]),
        service(
            "late",
            "auto",
            "before-approval",
            "visit",
            &[days("cancelNotice", 30), percent],
        ),
        service("yen", "auto", "before-approval", "yen", &[]),
        service("dinar", "auto", "before-approval", "dinar", &[]),
        service("gift", "auto", "before-approval", "gift", &[]),
        schedule("dora"),
        schedule("emil"),
    ]
}

fn id(resource: &Value) -> &str {
    resource["id"].as_str().unwrap()
}

fn label(appointment: &Value) -> &str {
    appointment["meta"]["tag"][0]["code"].as_str().unwrap_or_default()
}

fn parameters(list: &Value) -> Value {
    json!({"resourceType": "Parameters", "parameter": list})
}

/// The value of a parameter that was answered.
fn out<'v>(answer: &'v Value, name: &str, property: &str) -> &'v Value {
    let parameters = answer["parameter"].as_array().unwrap();
    &parameters.iter().find(|parameter| parameter["name"] == name).unwrap()[property]
}

/// A page on which somebody is to pay.
#[derive(Clone, Debug, PartialEq)]
struct Page {
    url: String,
    expires: Timestamp,
    invoice: String,
}

impl Page {
    fn of(answer: &Value) -> Page {
        Page {
            url: out(answer, "url", "valueUri").as_str().unwrap().to_owned(),
            expires: out(answer, "expires", "valueInstant")
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
            invoice: out(answer, "invoice", "valueReference")["reference"]
                .as_str()
                .unwrap()
                .to_owned(),
        }
    }

    fn session(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }
}

impl Clinic {
    async fn open() -> Clinic {
        Clinic::open_with(false).await
    }

    /// With `told`, the stand-in sends its webhooks.
    async fn open_with(told: bool) -> Clinic {
        Clinic::open_as(told, |_| {}).await
    }

    /// The same, with other settings.
    async fn open_as(told: bool, change: impl FnOnce(&mut Config)) -> Clinic {
        let mut stripe = None;
        let app = spawn_app_with(|config| {
            let webhooks = format!("http://{}/payments/stripe", config.listen);
            let started = StandIn::start(told.then_some(&webhooks));
            config.payments.stripe_key = KEY.to_owned().into();
            config.payments.stripe_url = started.address.clone();
            config.payments.webhook_secret = format!("whsec_of_before {SECRET}").into();
            stripe = Some(started);
            change(config);
        })
        .await;
        let clinic = Clinic {
            app,
            stripe: stripe.unwrap(),
        };
        for resource in practice() {
            clinic.put(&resource).await.expect(201);
        }
        clinic
    }

    async fn put(&self, resource: &Value) -> Answer {
        let path = format!("{}/{}", resource["resourceType"].as_str().unwrap(), id(resource));
        self.app.put(&path).fhir(resource).answer().await
    }

    async fn get(&self, path: &str) -> Value {
        self.app.get(path).answer().await.expect(200).json()
    }

    /// What a search finds.
    async fn all(&self, query: &str) -> Vec<Value> {
        let bundle = self.get(query).await;
        let entries = bundle["entry"].as_array().into_iter().flatten();
        entries.map(|entry| entry["resource"].clone()).collect()
    }

    async fn operate(&self, path: &str, list: Value) -> Answer {
        self.app.post(path).fhir(&parameters(&list)).answer().await
    }

    /// The first visit of a service with Dr. Dora that is free two days from now, booked for a patient.
    async fn book(&self, service: &str, patient: &str) -> Value {
        let start = self.app.app.clock.now() + SignedDuration::from_hours(48);
        let query = format!(
            "Appointment/$find?practitioner=Practitioner/dora&service=HealthcareService/{service}&start={start}&_count=1"
        );
        let proposal = self.all(&query).await.remove(0);
        self.take(id(&proposal), patient).await
    }

    /// Books what was proposed.
    async fn take(&self, proposal: &str, patient: &str) -> Value {
        let parameters = json!([
            {"name": "appointment-reference", "valueReference": {"reference": format!("Appointment/{proposal}")}},
            {"name": "patient-reference", "valueReference": {"reference": format!("Patient/{patient}")}}]);
        let bundle = self.operate("Appointment/$book", parameters).await.expect(200).json();
        bundle["entry"][0]["resource"].clone()
    }

    async fn again(&self, resource: &Value) -> Value {
        let path = format!("{}/{}", resource["resourceType"].as_str().unwrap(), id(resource));
        self.get(&path).await
    }

    async fn act(&self, visit: &Value, operation: &str) -> Answer {
        let path = format!("Appointment/{}/${operation}", id(visit));
        self.operate(&path, json!([])).await
    }

    async fn pay(&self, visit: &Value) -> Page {
        Page::of(&self.act(visit, "pay").await.expect(200).json())
    }

    /// A visit whose page was filled in with a good card; nobody has told us.
    async fn paid(&self, service: &str) -> (Value, Page) {
        let visit = self.book(service, "ada").await;
        let page = self.pay(&visit).await;
        self.stripe.fill_in(&page.url, PAYS).await.expect(303);
        (visit, page)
    }

    /// The same, and we were told.
    async fn settled(&self, service: &str) -> (Value, Page) {
        let (visit, page) = self.paid(service).await;
        self.hear("checkout.session.completed").await;
        (self.again(&visit).await, page)
    }

    /// Sends a body to the webhook.
    async fn tell(&self, body: &str, signature: &str) -> StatusCode {
        let request = self.app.post("/payments/stripe").header("stripe-signature", signature);
        request.body(body.to_owned()).answer().await.status
    }

    /// Tells of the last event of a type, and does what follows.
    async fn hear(&self, kind: &str) {
        let body = self.stripe.event(kind).await.to_string();
        let now = self.app.app.clock.now();
        assert_eq!(self.tell(&body, &signature(SECRET, now, &body)).await, 200, "{kind}");
        self.run_jobs().await;
    }

    async fn run_jobs(&self) {
        self.app.app.worker().run_due().await.unwrap();
    }

    /// Runs a job that comes with the clock.
    async fn run_scheduled(&self, kind: &'static str) {
        let mut connection = self.app.connection().await;
        let job = NewJob::new(kind, json!({}));
        jobs::enqueue(&mut connection, self.app.app.clock.now(), &[job])
            .await
            .unwrap();
        self.run_jobs().await;
    }

    /// Lets the time for which a visit is held be over.
    async fn let_lapse(&self, visit: &Value) -> Value {
        let mut visit = self.again(visit).await;
        let past = self.app.app.clock.now() - SignedDuration::from_mins(1);
        visit["extension"][0]["valueInstant"] = json!(format!("{past:.0}"));
        self.put(&visit).await.expect(200).json()
    }

    /// The entries of the books about an Invoice: kind, outcome, status and amount.
    async fn entries(&self, invoice: &str) -> Vec<(String, String, String, String)> {
        let all = self.all("PaymentReconciliation?_sort=_lastUpdated").await;
        let about = all
            .iter()
            .filter(|entry| entry["detail"][0]["request"]["reference"] == invoice);
        about
            .map(|entry| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (
                    text(&entry["detail"][0]["type"]["coding"][0]["code"]),
                    text(&entry["outcome"]),
                    text(&entry["status"]),
                    entry["paymentAmount"]["value"].to_string(),
                )
            })
            .collect()
    }

    /// Somebody who has signed in.
    async fn person(&self, role: Role, fhir_user: &str) -> Caller {
        let (resource_type, id) = fhir_user.split_once('/').unwrap();
        let found = self
            .app
            .app
            .fhir
            .read(&Caller::sandbox(), resource_type, id)
            .await
            .unwrap();
        let rid = found.unwrap().rid;
        let patients = if role == Role::Patient { vec![rid] } else { Vec::new() };
        Caller::granted(Granted {
            client: "app".to_owned(),
            user: Some(User {
                role,
                fhir_user: fhir_user.to_owned(),
                person: "person".to_owned(),
                holders: Holders {
                    all: vec![rid],
                    patients,
                },
            }),
            scopes: vec![ScopeGrant {
                context: ScopeContext::User,
                resource_type: None,
                permissions: Permissions::ALL,
                filter: None,
            }],
            ..Granted::default()
        })
    }

    /// Calls `Type/id/$name` in somebody's name.
    async fn call(&self, caller: &Caller, address: &str, list: Value) -> Result<Value, FhirError> {
        let server = &self.app.app.fhir;
        let (path, name) = address.split_once("/$").unwrap();
        let (resource_type, id) = match path.split_once('/') {
            Some((resource_type, id)) => (resource_type, Some(id.to_owned())),
            None => (path, None),
        };
        let operation = server.hooks.operations.iter().find(|operation| {
            let definition = operation.definition();
            let types = definition["resource"].as_array();
            definition["code"] == name && types.is_some_and(|types| types.iter().any(|ty| ty == resource_type))
        });
        let operation = operation.unwrap_or_else(|| panic!("no operation {address}"));
        let parameters = Parameters::from_resource(parameters(&list))?;
        parameters.check(operation.definition(), false)?;
        let input = OperationInput {
            resource_type: server.store.types().known(resource_type),
            id,
            version: None,
            parameters,
            projection: Projection::Whole,
            preferences: Preferences::default(),
        };
        let answer = operation.call(server, caller, input).await?;
        Ok(serde_json::from_str(&answer.body.unwrap()).unwrap())
    }
}

/// Fails the test unless it was refused so; gives what was said.
#[track_caller]
fn said(answer: Answer, status: u16) -> String {
    let outcome = answer.expect(status).json();
    outcome["issue"][0]["diagnostics"].as_str().unwrap().to_owned()
}
