//! `$break-glass`

use jiff::SignedDuration;
use medconsult::fhir::access::{BreakGlass, Permissions, Role, ScopeContext, ScopeGrant};
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::{Operation, OperationInput};
use medconsult::fhir::parameters::Parameters;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::summary::Projection;
use serde_json::{Value, json};

use crate::bench::{Bench, bench};

fn caller(role: Role, context: ScopeContext) -> Caller {
    Caller::granted(Granted {
        user: Some(User {
            role,
            fhir_user: "Practitioner/ann".to_owned(),
            person: "person".to_owned(),
            holders: Holders::default(),
        }),
        scopes: vec![ScopeGrant {
            context,
            resource_type: None,
            permissions: Permissions::LOOK,
            filter: None,
        }],
        ..Granted::default()
    })
}

async fn break_glass(bench: &Bench, caller: &Caller, patient: &str, reason: &str) -> Result<Value, FhirError> {
    let parameter = json!({"name": "reason", "valueString": reason});
    let parameters = json!({"resourceType": "Parameters", "parameter": [parameter]});
    let input = OperationInput {
        resource_type: Some("Patient"),
        id: Some(patient.to_owned()),
        version: None,
        parameters: Parameters::from_resource(parameters).unwrap(),
        projection: Projection::Whole,
        preferences: Preferences::default(),
    };
    let answer = BreakGlass.call(&bench.server, caller, input).await?;
    Ok(serde_json::from_str(&answer.body.unwrap()).unwrap())
}

#[tokio::test]
async fn a_record_is_opened_for_an_hour_with_a_reason() {
    let bench = bench().await;
    bench
        .put_all(vec![
            json!({"resourceType": "Practitioner", "id": "ann"}),
            json!({"resourceType": "Patient", "id": "p"}),
        ])
        .await;
    let ann = caller(Role::Practitioner, ScopeContext::User);
    let opened = break_glass(&bench, &ann, "p", " found unconscious ").await.unwrap();
    let period = &opened["parameter"][0]["valuePeriod"];
    let instant = |name: &str| period[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(
        instant("end").duration_since(instant("start")),
        SignedDuration::from_hours(1)
    );
    assert_eq!(instant("start"), bench.server.clock.now());
    let tie = "SELECT h.id || ' ' || p.id || ' ' || extract(epoch FROM c.ends - c.starts)::integer FROM care_relation c \
               JOIN resource h ON h.rid = c.holder JOIN resource p ON p.rid = c.patient WHERE c.source = 0";
    assert_eq!(bench.lines(tie).await, ["ann p 3600"]);
}

#[tokio::test]
async fn who_has_no_right_or_no_reason_opens_nothing() {
    let bench = bench().await;
    bench
        .put_all(vec![
            json!({"resourceType": "Practitioner", "id": "ann"}),
            json!({"resourceType": "Patient", "id": "p"}),
            json!({"resourceType": "Patient", "id": "gone"}),
        ])
        .await;
    bench.remove(&json!({"resourceType": "Patient", "id": "gone"})).await;
    let ann = caller(Role::Practitioner, ScopeContext::User);
    for (caller, patient, reason, status) in [
        (&ann, "p", "why", 400),
        (&ann, "p", "    \n     ", 400),
        (&ann, "p", &*"long ".repeat(101), 400),
        (&ann, "nobody", "found unconscious", 404),
        (&ann, "gone", "found unconscious", 404),
        (
            &caller(Role::Patient, ScopeContext::User),
            "p",
            "found unconscious",
            403,
        ),
        (
            &caller(Role::Admin, ScopeContext::Patient),
            "p",
            "found unconscious",
            403,
        ),
        (&Caller::granted(Granted::default()), "p", "found unconscious", 403),
        (&Caller::sandbox(), "p", "found unconscious", 403),
    ] {
        let error = break_glass(&bench, caller, patient, reason).await.unwrap_err();
        assert_eq!(error.status.as_u16(), status, "{patient} {reason}");
    }
    assert_eq!(bench.lines("SELECT source::text FROM care_relation").await, [""; 0]);
}
