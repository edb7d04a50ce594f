//! Why a caller may or may not do a thing.

use medconsult::fhir::access::explain::{Question, explain};
use medconsult::fhir::access::policy::{BUILT_IN, Policies};
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant, holders};
use medconsult::fhir::caller::{Caller, Granted, User};
use serde_json::{Value, json};

use super::relations::{appointment, consent};
use crate::bench::{Bench, bench};

impl Bench {
    /// A caller as they are now, with one scope on resources of every type.
    async fn caller(&self, role: Role, fhir_user: &str, context: ScopeContext) -> Caller {
        let (store, search) = (&self.server.store, self.server.search.current());
        let now = self.server.clock.now();
        let holders = holders(
            &mut self.database().await,
            &search,
            store.types(),
            now,
            fhir_user,
            "person",
        )
        .await;
        Caller::granted(Granted {
            user: Some(User {
                role,
                fhir_user: fhir_user.to_owned(),
                person: "person".to_owned(),
                holders: holders.unwrap().0,
            }),
            patient: None,
            scopes: vec![ScopeGrant {
                context,
                resource_type: None,
                permissions: Permissions::ALL,
                filter: None,
            }],
            ..Granted::default()
        })
    }

    async fn why(&self, caller: &Caller, method: &str, path: &str) -> String {
        let question = Question::parse(&self.server, method, path).unwrap();
        explain(&self.server, caller, &question).await.unwrap()
    }
}

fn observation() -> Value {
    json!({"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "a"},
           "subject": {"reference": "Patient/p"}})
}

#[tokio::test]
async fn scopes_rules_ties_and_refusals_are_told() {
    let bench = bench().await;
    bench
        .put_all(vec![
            json!({"resourceType": "Practitioner", "id": "ann"}),
            json!({"resourceType": "Practitioner", "id": "bob"}),
            json!({"resourceType": "Patient", "id": "p"}),
            observation(),
            appointment("ann", "p"),
        ])
        .await;
    let ann = bench
        .caller(Role::Practitioner, "Practitioner/ann", ScopeContext::User)
        .await;
    let told = bench.why(&ann, "GET", "Observation/o").await;
    assert_eq!(
        told,
        "It takes .r on Observation.\n\n\
         Scopes\n  user/*.cruds gives it as far as the policy of the role does\n\
         Policy of the role practitioner\n  \
         rule 2 gives it to cared-for: patients whom the user cares for, but for what they refuse\n  \
         rule 11 gives it to break-glass: patients for whom the user broke the glass\n\
         Observation/o\n  is in the record of Patient/p\n    \
         Appointment/visit ties Practitioner/ann to it (now: always)\n\
         \nYES.\n"
    );
    let bob = bench
        .caller(Role::Practitioner, "Practitioner/bob", ScopeContext::User)
        .await;
    let told = bench.why(&bob, "GET", "/fhir/Observation/o").await;
    assert!(
        told.ends_with("    nothing ties the user to it\n\nNO (404): it is not there for this caller.\n"),
        "{told}"
    );

    bench
        .put_all(vec![consent(
            json!({"type": "deny", "period": {"start": "2026-02-01"}}),
        )])
        .await;
    let told = bench.why(&ann, "GET", "Observation/o").await;
    let refusal = "    Consent/wish refuses everything to everybody (now: from 2026-02-01 00:00Z)\n\nNO (404)";
    assert!(told.contains(refusal), "{told}");
}

#[tokio::test]
async fn what_nothing_gives_is_told_as_such() {
    let bench = bench().await;
    bench
        .put_all(vec![
            json!({"resourceType": "Practitioner", "id": "ann"}),
            json!({"resourceType": "Patient", "id": "p"}),
            observation(),
        ])
        .await;
    let admin = bench.caller(Role::Admin, "Practitioner/ann", ScopeContext::User).await;
    let told = bench.why(&admin, "DELETE", "Observation/o").await;
    assert!(
        told.contains("Policy of the role admin\n  no rule gives it\n"),
        "{told}"
    );
    assert!(
        told.ends_with("\nNO (403): nothing gives .d on Observation.\n"),
        "{told}"
    );
    let told = bench.why(&admin, "GET", "Organization?name=a").await;
    assert!(
        told.contains("It takes .s on Organization") && told.ends_with("\nYES, all of them.\n"),
        "{told}"
    );
    let launched = bench.caller(Role::Patient, "Patient/p", ScopeContext::Patient).await;
    let told = bench.why(&launched, "POST", "Observation").await;
    assert!(
        told.contains("patient/*.cruds gives nothing: no patient was chosen"),
        "{told}"
    );
    assert_eq!(
        bench.why(&Caller::sandbox(), "GET", "Patient").await,
        "This caller may do everything.\n"
    );
}

#[tokio::test]
async fn a_question_is_a_method_and_a_path() {
    let bench = bench().await;
    let parse = |method, path| {
        let question = Question::parse(&bench.server, method, path)?;
        Ok::<_, String>((question.letter.letters(), question.resource_type, question.id))
    };
    let of = |letters: &str, ty, id: Option<&str>| Ok((letters.to_owned(), ty, id.map(str::to_owned)));
    assert_eq!(
        parse("get", "Observation/7/_history/2"),
        of("r", "Observation", Some("7"))
    );
    assert_eq!(parse("GET", "Observation?code=a"), of("s", "Observation", None));
    assert_eq!(parse("POST", "Observation/_search"), of("s", "Observation", None));
    assert_eq!(parse("POST", "fhir/Observation"), of("c", "Observation", None));
    assert_eq!(parse("PATCH", "Observation/7"), of("u", "Observation", Some("7")));
    assert_eq!(parse("DELETE", "Observation/7"), of("d", "Observation", Some("7")));
    for (method, path) in [
        ("GET", ""),
        ("GET", "Observatoin/7"),
        ("POST", "Observation/7"),
        ("BREW", "Observation"),
    ] {
        assert!(parse(method, path).is_err(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_policy_that_asks_what_cannot_be_asked_is_told_before_it_is_used() {
    let bench = bench().await;
    assert_eq!(Policies::default().check_filters(&bench.server), Ok(()));
    let told = |filter: &str| {
        let mut file: Value = serde_json::from_str(BUILT_IN).unwrap();
        file["policies"][1]["rules"][0]["where"] = json!(filter);
        file["policies"][1]["rules"][0]["types"] = json!(["Organization"]);
        let policies = Policies::parse(&file.to_string()).unwrap();
        policies.check_filters(&bench.server).map_err(|error| error.0)
    };
    assert_eq!(told("active=true"), Ok(()));
    for filter in [
        "actve=true",
        "partof.name=a",
        "_has:Location:organization:name=a",
        "active=",
    ] {
        let told = told(filter).unwrap_err();
        assert!(
            told.starts_with("In the policy of the role practitioner, rule 1: Organization: "),
            "{filter}: {told}"
        );
    }
}
