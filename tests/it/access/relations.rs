//! Who cares for whom, as the database has it after writes of every kind.

use jiff::Timestamp;
use medconsult::fhir::access::relations::{check_reach, take_charge};
use medconsult::fhir::access::{Role, holders, policy::Policies};
use medconsult::fhir::caller::{Caller, Granted, Holders, User};
use medconsult::fhir::commit::{Op, Target, Write, commit};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::bench::{Bench, bench};

impl Bench {
    pub async fn put_all(&self, resources: Vec<Value>) {
        let ops = resources.into_iter().map(|resource| Op {
            write: Write::Update {
                target: target(&resource),
                resource,
                if_match: None,
                if_none_match_any: false,
            },
            full_url: None,
        });
        commit(&self.server, &Caller::sandbox(), ops.collect()).await.unwrap();
    }

    pub async fn remove(&self, resource: &Value) {
        let op = Op {
            write: Write::Delete {
                target: target(resource),
                if_match: None,
            },
            full_url: None,
        };
        commit(&self.server, &Caller::sandbox(), vec![op]).await.unwrap();
    }

    /// `holder patient source` of every relation.
    async fn relations(&self) -> Vec<String> {
        self.lines(
            "SELECT h.id || ' ' || p.id || ' ' || s.id FROM care_relation c JOIN resource h ON h.rid = c.holder \
             JOIN resource p ON p.rid = c.patient JOIN resource s ON s.rid = c.source ORDER BY 1",
        )
        .await
    }

    /// `patient holder type except-holders except-types` of every denial.
    async fn denials(&self) -> Vec<String> {
        self.lines(
            "SELECT p.id || ' ' || coalesce(h.id, '*') || ' ' || coalesce(t.name, '*') || ' ' || \
                 array_to_string(ARRAY(SELECT id FROM resource WHERE rid = ANY (d.except_holders)), ',') || ' ' || \
                 array_to_string(ARRAY(SELECT name FROM resource_type WHERE id = ANY (d.except_types)), ',') \
             FROM consent_denial d JOIN resource p ON p.rid = d.patient LEFT JOIN resource h ON h.rid = d.holder \
             LEFT JOIN resource_type t ON t.id = d.type ORDER BY 1",
        )
        .await
    }

    pub async fn lines(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql)
            .fetch_all(&mut self.database().await)
            .await
            .unwrap()
    }

    async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(&mut self.database().await).await.unwrap();
    }

    pub async fn database(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.options()).await.unwrap()
    }

    /// When one of the roles of a user begins or ends next.
    async fn turn(&self, user: &str, person: &str) -> Option<Timestamp> {
        let mut connection = self.database().await;
        let (store, search) = (&self.server.store, self.server.search.current());
        let now = self.server.clock.now();
        let found = holders(&mut connection, &search, store.types(), now, user, person).await;
        found.unwrap().1
    }

    /// Type and id of all whom a user stands behind, and their own records among them.
    async fn behind(&self, user: &str, person: &str) -> (Vec<String>, Vec<String>) {
        let mut connection = self.database().await;
        let (store, search) = (&self.server.store, self.server.search.current());
        let now = self.server.clock.now();
        let found = holders(&mut connection, &search, store.types(), now, user, person).await;
        let (Holders { all, patients }, _) = found.unwrap();
        let mut names = Vec::new();
        for rids in [all, patients] {
            let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM resource WHERE rid = ANY ($1) ORDER BY id")
                .bind(rids)
                .fetch_all(&mut connection)
                .await
                .unwrap();
            names.push(ids);
        }
        let own = names.pop().unwrap();
        (names.pop().unwrap(), own)
    }
}

fn target(resource: &Value) -> Target {
    let text = |name: &str| resource[name].as_str().unwrap().to_owned();
    Target::Instance {
        resource_type: text("resourceType"),
        id: text("id"),
    }
}

pub fn appointment(practitioner: &str, patient: &str) -> Value {
    let actor = |reference: String| json!({"actor": {"reference": reference}, "status": "accepted"});
    json!({
        "resourceType": "Appointment", "id": "visit", "status": "booked",
        "participant": [actor(format!("Patient/{patient}")), actor(format!("Practitioner/{practitioner}"))],
    })
}

pub fn consent(provision: Value) -> Value {
    json!({
        "resourceType": "Consent", "id": "wish", "status": "active", "patient": {"reference": "Patient/p"},
        "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "privacy"}],
        "policyRule": {"text": "as it says"}, "provision": provision,
    })
}

#[tokio::test]
async fn a_relation_comes_changes_and_goes_with_its_resource() {
    let bench = bench().await;
    bench.put_all(vec![appointment("ann", "p")]).await;
    assert_eq!(bench.relations().await, ["ann p visit"]);
    bench.put_all(vec![appointment("bob", "q")]).await;
    assert_eq!(bench.relations().await, ["bob q visit"]);
    let mut cancelled = appointment("bob", "q");
    cancelled["status"] = json!("cancelled");
    bench.put_all(vec![cancelled]).await;
    assert_eq!(bench.relations().await, [""; 0]);
    bench.put_all(vec![appointment("ann", "p")]).await;
    assert_eq!(bench.relations().await, ["ann p visit"]);
    bench.remove(&appointment("ann", "p")).await;
    assert_eq!(bench.relations().await, [""; 0]);
}

#[tokio::test]
async fn plain_creates_tie_as_well() {
    let bench = bench().await;
    let mut resources = vec![appointment("ann", "p"), appointment("bob", "p")];
    resources
        .iter_mut()
        .for_each(|resource| _ = resource.as_object_mut().unwrap().remove("id"));
    let ops = resources.into_iter().map(|resource| Op {
        write: Write::Create {
            resource,
            if_none_exist: None,
        },
        full_url: None,
    });
    let outcomes = commit(&bench.server, &Caller::sandbox(), ops.collect()).await.unwrap();
    let (first, second) = (&outcomes[0].stored.id, &outcomes[1].stored.id);
    assert_eq!(
        bench.relations().await,
        [format!("ann p {first}"), format!("bob p {second}")]
    );
}

#[tokio::test]
async fn denials_come_change_and_go_with_their_consent() {
    let bench = bench().await;
    let actor = json!([{"role": {"text": "doctor"}, "reference": {"reference": "Practitioner/ann"}}]);
    bench
        .put_all(vec![consent(json!({"type": "deny", "actor": actor}))])
        .await;
    assert_eq!(bench.denials().await, ["p ann *  "]);
    let but_ann = json!({"type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}],
        "provision": [{"type": "permit", "actor": actor}]});
    bench.put_all(vec![consent(but_ann)]).await;
    assert_eq!(bench.denials().await, ["p * Observation ann "]);
    let mut over = consent(json!({"type": "permit", "actor": actor}));
    bench.put_all(vec![over.clone()]).await;
    assert_eq!(
        (bench.denials().await, bench.relations().await),
        (vec![], vec!["ann p wish".to_owned()])
    );
    over["status"] = json!("entered-in-error");
    bench.put_all(vec![over]).await;
    assert_eq!(bench.relations().await, [""; 0]);
}

#[tokio::test]
async fn a_server_reads_anew_what_other_rules_have_made() {
    let bench = bench().await;
    take_charge(&bench.server).await.unwrap();
    bench
        .put_all(vec![appointment("ann", "p"), consent(json!({"type": "deny"}))])
        .await;
    let expected = (vec!["ann p visit".to_owned()], vec!["p * *  ".to_owned()]);
    bench.run("DELETE FROM consent_denial").await;
    bench.run("UPDATE care_relation SET patient = holder").await;
    bench
        .run("INSERT INTO care_relation VALUES (1, 2, 0, '-infinity', 'infinity')")
        .await;

    // The same rules: nothing to do.
    take_charge(&bench.server).await.unwrap();
    assert_eq!(
        (bench.relations().await, bench.denials().await),
        (vec!["ann ann visit".to_owned()], vec![])
    );

    bench.run("UPDATE care_rules SET rules = 'others'").await;
    take_charge(&bench.server).await.unwrap();
    assert_eq!((bench.relations().await, bench.denials().await), expected);
    // What no resource says, as a broken glass, stays.
    let broken: Vec<String> = bench
        .lines("SELECT holder::text FROM care_relation WHERE source = 0")
        .await;
    assert_eq!(broken, ["1"]);
    let rules = bench.lines("SELECT rules FROM care_rules").await;
    assert!(rules[0].contains(&Policies::default().terms.fingerprint()), "{rules:?}");
}

#[tokio::test]
async fn a_user_stands_behind_roles_and_whom_their_person_links_to() {
    let bench = bench().await;
    let role = |id: &str, rest: Value| {
        let mut role =
            json!({"resourceType": "PractitionerRole", "id": id, "practitioner": {"reference": "Practitioner/ann"}});
        role.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        role
    };
    let link = |target: &str| json!({"target": {"reference": target}});
    bench
        .put_all(vec![
            json!({"resourceType": "Practitioner", "id": "ann"}),
            json!({"resourceType": "Patient", "id": "ann-herself"}),
            json!({"resourceType": "Patient", "id": "child"}),
            json!({"resourceType": "RelatedPerson", "id": "mother", "patient": {"reference": "Patient/child"}}),
            json!({"resourceType": "Person", "id": "person",
                "link": [link("Practitioner/ann"), link("Patient/ann-herself"), link("RelatedPerson/mother"), link("Patient/gone")]}),
            json!({"resourceType": "Person", "id": "other", "link": [link("Practitioner/ann"), link("Patient/child")]}),
            json!({"resourceType": "Organization", "id": "clinic", "name": "Clinic"}),
            json!({"resourceType": "Organization", "id": "former", "name": "Former"}),
            role("now", json!({"active": true, "organization": {"reference": "Organization/clinic"}, "period": {"start": "2026-01-01"}})),
            role("plain", json!({})),
            role("ended", json!({"period": {"end": "2026-02-27"}, "organization": {"reference": "Organization/former"}})),
            role("closed", json!({"active": false})),
            role("later", json!({"period": {"start": "2027-01-01", "end": "2027-06-30"}})),
        ])
        .await;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        bench.behind("Practitioner/ann", "person").await,
        (
            names(&["ann", "ann-herself", "clinic", "mother", "now", "plain"]),
            names(&["ann-herself"])
        )
    );
    assert_eq!(
        bench.behind("Patient/child", "nobody").await,
        (names(&["child"]), names(&["child"]))
    );
    assert_eq!(bench.behind("Practitioner/nobody", "nobody").await, (vec![], vec![]));
    assert_eq!(
        bench.turn("Practitioner/ann", "person").await,
        Some("2027-01-01T00:00:00Z".parse().unwrap())
    );
    assert_eq!(bench.turn("Patient/child", "nobody").await, None);
}

#[tokio::test]
async fn a_write_may_name_nobody_out_of_reach() {
    let bench = bench().await;
    let observation = |id: &str, subject: &str, performer: &str| {
        json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "a"},
               "subject": {"reference": subject}, "performer": [{"reference": performer}]})
    };
    let mut second_visit = appointment("ann", "q");
    second_visit["id"] = json!("second");
    bench
        .put_all(vec![
            json!({"resourceType": "Practitioner", "id": "ann"}),
            json!({"resourceType": "Patient", "id": "p"}),
            json!({"resourceType": "Patient", "id": "q"}),
            json!({"resourceType": "Patient", "id": "ann-herself"}),
            appointment("ann", "p"),
            second_visit,
            observation("own", "Patient/ann-herself", "Practitioner/ann"),
            observation("tied", "Patient/p", "Patient/ann-herself"),
            observation("stranger", "Patient/p", "Patient/q"),
            observation("nobody", "Group/g", "Practitioner/ann"),
        ])
        .await;
    bench
        .run("DELETE FROM care_relation c USING resource s WHERE s.rid = c.source AND s.id = 'second'")
        .await;
    let rid_of = async |name: &str| -> (i64, &'static str) {
        let mut connection = bench.database().await;
        let rid = sqlx::query_scalar("SELECT rid FROM resource WHERE id = $1").bind(name.to_owned());
        let types = [
            ("visit", "Appointment"),
            ("second", "Appointment"),
            ("q", "Patient"),
            ("ann", "Practitioner"),
        ];
        let ty = types
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("Observation", |(_, ty)| ty);
        (rid.fetch_one(&mut connection).await.unwrap(), ty)
    };
    let (ann, _) = rid_of("ann").await;
    let (own, _) = rid_of("ann-herself").await;
    let caller = Caller::granted(Granted {
        user: Some(User {
            role: Role::Practitioner,
            fhir_user: "Practitioner/ann".to_owned(),
            person: String::new(),
            holders: Holders {
                all: vec![ann, own],
                patients: vec![own],
            },
        }),
        ..Granted::default()
    });
    let refused = async |names: &[&str]| {
        let mut written = Vec::new();
        for name in names {
            written.push(rid_of(name).await);
        }
        let found = check_reach(&bench.server, &mut bench.database().await, &caller, &written)
            .await
            .unwrap();
        found.map(|rid| names[written.iter().position(|(other, _)| *other == rid).unwrap()].to_owned())
    };
    assert_eq!(refused(&["own", "tied", "nobody"]).await, None);
    assert_eq!(refused(&["own", "stranger"]).await.as_deref(), Some("stranger"));
    // Who is stored in the same commit is no stranger; a tie that is stored with it does not count.
    assert_eq!(refused(&["stranger", "q"]).await, None);
    assert_eq!(refused(&["visit"]).await.as_deref(), Some("visit"));
    bench.run("UPDATE care_relation SET source = 0").await;
    assert_eq!(refused(&["tied"]).await.as_deref(), Some("tied"));
}
