//! What it costs to know who asks, to show them what is theirs, and to record it: the same requests to three servers on one
//! database, of which the first asks nothing, the second keeps the trail, and the third lets nobody in without a token.
//!
//! The servers take turns, round by round, so that what else the machine does meets all of them. AuditEvents are made after each
//! round and counted apart.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use super::driver::{Bounds, drive};
use super::processes::{Cpu, Processes};
use super::server::{Scratch, Server};
use super::workload::Http;
use crate::base::crypto::{self, Vault};

/// Observations of each patient.
const OBSERVATIONS: u64 = 99;

/// The practitioner looks after every so manieth patient.
const OF_PATIENTS: u64 = 5;

const ROUNDS: usize = 5;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Asker {
    /// Nobody is asked who they are, and nothing is recorded.
    Anybody,
    /// The same, recorded.
    Recorded,
    /// An application in its own name, which may see everything.
    BackEnd,
    /// A practitioner who looks after a fifth of the patients, by an application.
    Practitioner,
}

const ASKERS: [Asker; 4] = [Asker::Anybody, Asker::Recorded, Asker::BackEnd, Asker::Practitioner];

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Asker::Anybody => "no token, no trail",
            Asker::Recorded => "no token",
            Asker::BackEnd => "back end",
            Asker::Practitioner => "practitioner",
        })
    }
}

/// What they ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Request {
    Read,
    OfOnePatient,
    ByCode,
    All,
    Create,
}

const REQUESTS_OF_EACH: [Request; 5] = [
    Request::Read,
    Request::OfOnePatient,
    Request::ByCode,
    Request::All,
    Request::Create,
];

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Request::Read => "read",
            Request::OfOnePatient => "observations of one patient",
            Request::ByCode => "observations by code",
            Request::All => "all observations",
            Request::Create => "create",
        })
    }
}

impl Request {
    /// How many are sent in a round. A page of many patients makes an AuditEvent for each of them.
    fn times(self) -> u64 {
        match self {
            Request::Read => 2_000,
            Request::OfOnePatient | Request::Create => 1_000,
            Request::ByCode | Request::All => 200,
        }
    }

    /// The one of this number, about one of the `patients` whom the practitioner looks after.
    fn write(self, number: u64, patients: u64) -> (Method, String, Option<String>) {
        let cared_for = OF_PATIENTS * (1 + number % (patients / OF_PATIENTS));
        let get = |path: String| (Method::GET, path, None);
        match self {
            // 7919 × (5 n + 1) + 1 is a multiple of five.
            Request::Read => get(format!("/Observation/o{}", OF_PATIENTS * (number % patients) + 1)),
            Request::OfOnePatient => get(format!("/Observation?subject=Patient/p{cared_for}")),
            Request::ByCode => get(format!("/Observation?code=c{}", number % 20)),
            Request::All => get("/Observation".to_owned()),
            Request::Create => {
                let observation = json!({
                    "resourceType": "Observation", "status": "final",
                    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
                    "subject": {"reference": format!("Patient/p{cared_for}")}, "effectiveDateTime": "2026-01-31",
                    "valueQuantity": {"value": 72.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
                });
                (Method::POST, "/Observation".to_owned(), Some(observation.to_string()))
            }
        }
    }
}

/// CPU of one request, in microseconds: the least of the rounds, and for what comes afterwards that of the first.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    request: Request,
    asker: Asker,
    server: f64,
    database: f64,
    /// Of server and database, afterwards: AuditEvents and their index.
    afterwards: f64,
}

impl Cost {
    fn together(&self) -> f64 {
        self.server + self.database
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Costs {
    resources: u64,
    concurrency: usize,
    costs: Vec<Cost>,
}

/// Measures on a database of its own with about so many `resources`.
///
/// # Errors
/// When a server cannot be started, or refuses something.
pub async fn measure(scratch: &Scratch, resources: u64, concurrency: usize) -> Result<Costs> {
    let key = Vault::new_key();
    let with = |settings: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let common = [
            ("MEDCONSULT_SEARCH_FULL_TEXT", "false"),
            ("MEDCONSULT_FHIR_PROFILES", "false"),
        ];
        let all = common
            .iter()
            .chain(settings)
            .map(|(name, value)| (*name, (*value).to_owned()));
        all.chain([("MEDCONSULT_IDENTITY_MASTER_KEY", key.clone())]).collect()
    };
    let many = "1000000000";
    let servers = [
        scratch.serve_with(&with(&[])).await?,
        scratch
            .serve_with(&with(&[("MEDCONSULT_AUDIT_WITHOUT_AUTH", "true")]))
            .await?,
        scratch
            .serve_with(&with(&[
                ("MEDCONSULT_AUTH", "on"),
                ("MEDCONSULT_LIMITS_PER_ADDRESS", many),
                ("MEDCONSULT_LIMITS_PER_CLIENT", many),
                ("MEDCONSULT_LIMITS_PER_USER", many),
                // A resource of its own for each, which is not what is measured here.
                ("MEDCONSULT_AUDIT_PROVENANCE", "false"),
            ]))
            .await?,
    ];
    let pool = scratch.pool(2).await?;
    let patients = (resources / (OBSERVATIONS + 1)).max(10 * OF_PATIENTS) / OF_PATIENTS * OF_PATIENTS;
    let [anybody, recorded, guarded] = &servers;
    let [back_end, practitioner] = fill(&Http::new(&anybody.base, concurrency, None)?, &pool, patients).await?;
    let clients = [
        Http::new(&anybody.base, concurrency, None)?,
        Http::new(&recorded.base, concurrency, None)?,
        Http::new(&guarded.base, concurrency, Some(&back_end))?,
        Http::new(&guarded.base, concurrency, Some(&practitioner))?,
    ];
    let machine = Machine {
        pool: &pool,
        servers: &servers,
        database: scratch.postmaster(),
    };
    let mut costs: Vec<Cost> = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for request in REQUESTS_OF_EACH {
            for (asker, http) in ASKERS.into_iter().zip(&clients) {
                let bounds = Bounds {
                    concurrency,
                    time: Duration::MAX,
                    operations: request.times(),
                };
                let cost = machine.cost(request, asker, http, bounds, patients, round == 0).await?;
                match costs
                    .iter_mut()
                    .find(|known| known.request == request && known.asker == asker)
                {
                    None => costs.push(cost),
                    Some(known) if cost.together() < known.together() => {
                        *known = Cost {
                            afterwards: known.afterwards,
                            ..cost
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }
    pool.close().await;
    for server in servers {
        server.stop().await?;
    }
    Ok(Costs {
        resources: patients * (OBSERVATIONS + 1),
        concurrency,
        costs,
    })
}

/// What runs, and what it has used.
struct Machine<'m> {
    pool: &'m PgPool,
    servers: &'m [Server],
    database: Option<u32>,
}

impl Machine<'_> {
    /// Of all servers: whichever makes the AuditEvents.
    fn cpu(&self) -> Cpu {
        let of = |server: Option<u32>, postmaster| Processes { server, postmaster }.cpu();
        let servers = self.servers.iter().filter_map(|server| of(server.id(), None).server);
        Cpu {
            server: Some(servers.sum()),
            database: of(None, self.database).database,
        }
    }

    /// Sends the requests of one kind; lets AuditEvents be made of them if `settle` says so, and forgets them otherwise.
    async fn cost(
        &self,
        request: Request,
        asker: Asker,
        http: &Http,
        bounds: Bounds,
        patients: u64,
        settle: bool,
    ) -> Result<Cost> {
        const HOLD: &str = "SELECT pg_advisory_lock(hashtext('audit.chain'), 0)";
        const LET_GO: &str = "SELECT pg_advisory_unlock(hashtext('audit.chain'), 0)";
        const WAITING: &str = "SELECT count(*) FROM audit_pending";
        // Whoever makes AuditEvents waits meanwhile.
        let mut chain = self.pool.acquire().await?;
        sqlx::query(HOLD).execute(&mut *chain).await?;
        let (before, http) = (self.cpu(), http.clone());
        let name = format!("{request}, {asker}");
        let driven = drive(&name, bounds, Processes::default(), move |number| {
            let (http, (method, path, body)) = (http.clone(), request.write(number, patients));
            async move { http.send(method, &path, body).await.map(|_| ()) }
        });
        let measure = driven.await?;
        ensure!(
            measure.errors == 0,
            "{} requests failed: {}",
            measure.errors,
            measure.name
        );
        let answered = self.cpu();
        if !settle {
            sqlx::query("DELETE FROM audit_pending").execute(&mut *chain).await?;
        }
        sqlx::query(LET_GO).execute(&mut *chain).await?;
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut *chain).await? > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (asked, made) = (
            answered.since(before, measure.operations),
            self.cpu().since(answered, measure.operations),
        );
        let us = |ms: Option<f64>| ms.unwrap_or_default() * 1000.0;
        Ok(Cost {
            request,
            asker,
            server: us(asked.server),
            database: us(asked.database),
            afterwards: us(made.server) + us(made.database),
        })
    }
}

/// Fills the tables by statements, as commits would one by one, and lets two applications in: their tokens, that of a back end and
/// that of a practitioner.
async fn fill(http: &Http, pool: &PgPool, patients: u64) -> Result<[String; 2]> {
    for resource in [
        json!({"resourceType": "Practitioner", "id": "doc", "active": true}),
        json!({"resourceType": "Person", "id": "doc", "active": true, "link": [{"target": {"reference": "Practitioner/doc"}}]}),
        json!({"resourceType": "PractitionerRole", "id": "doc", "active": true, "practitioner": {"reference": "Practitioner/doc"}}),
    ] {
        let path = format!("/{}/doc", resource["resourceType"].as_str().unwrap_or_default());
        http.send(Method::PUT, &path, Some(resource.to_string())).await?;
    }
    let observations = patients * OBSERVATIONS;
    let mut connection = pool.acquire().await?;
    for statement in [
        "CREATE TEMP TABLE n AS SELECT \
             (SELECT id FROM resource_type WHERE name = 'Patient') AS patient, \
             (SELECT id FROM resource_type WHERE name = 'Observation') AS observation, \
             (SELECT max(index_version) FROM resource) AS rules, \
             (SELECT r.rid FROM resource r JOIN resource_type t ON t.id = r.type WHERE t.name = 'Practitioner') AS doc, \
             (SELECT p.id FROM search_parameter p JOIN resource_type t ON t.id = p.type \
              WHERE t.name = 'Observation' AND p.code = 'subject') AS subject, \
             (SELECT p.id FROM search_parameter p JOIN resource_type t ON t.id = p.type \
              WHERE t.name = 'Observation' AND p.code = 'code') AS code"
            .to_owned(),
        format!(
            "INSERT INTO resource (rid, last_updated, version, index_version, type, method, deleted, id, content) \
             SELECT 100000000 + g, now(), 1, n.rules, n.patient, 2, false, 'p' || g, \
                    jsonb_build_object('resourceType', 'Patient', 'id', 'p' || g) \
             FROM n, generate_series(1, {patients}) g"
        ),
        format!(
            "INSERT INTO resource (rid, last_updated, version, index_version, type, method, deleted, id, content) \
             SELECT 200000000 + g, now(), 1, n.rules, n.observation, 2, false, 'o' || g, \
                    jsonb_build_object('resourceType', 'Observation', 'id', 'o' || g, 'status', 'final', \
                        'subject', jsonb_build_object('reference', 'Patient/p' || (g * 7919::bigint % {patients} + 1)), \
                        'note', repeat('x', 600)) \
             FROM n, generate_series(1, {observations}) g"
        ),
        format!(
            "INSERT INTO idx_reference (rid, param, target) \
             SELECT 200000000 + g, n.subject, 100000000 + g * 7919::bigint % {patients} + 1 \
             FROM n, generate_series(1, {observations}) g"
        ),
        format!(
            "INSERT INTO idx_token (rid, param, system, code) SELECT 200000000 + g, n.code, 0, 'c' || (hashint4(g) & 1023) % 20 \
             FROM n, generate_series(1, {observations}) g"
        ),
        format!(
            "INSERT INTO care_relation (holder, patient, source, starts, ends) \
             SELECT n.doc, 100000000 + g * {OF_PATIENTS}, 1, '-infinity', 'infinity' \
             FROM n, generate_series(1, {patients} / {OF_PATIENTS}) g"
        ),
        "VACUUM ANALYZE resource, idx_reference, idx_token, care_relation, consent_denial".to_owned(),
        "INSERT INTO oauth_client (id, name, scope, redirect_uris, created_at) VALUES \
             ('back-end', 'Back end', 'system/*.cruds', '{}', now()), ('app', 'App', 'user/*.cruds', '{https://a.example}', now())"
            .to_owned(),
        "INSERT INTO account (id, email, role, password, given, family, person, profile, created_at) \
             VALUES ('doc', 'doc@clinic.example', 'practitioner', '', 'D', 'Oc', 'doc', 'Practitioner/doc', now())"
            .to_owned(),
        "INSERT INTO oauth_grant (id, client, account, scope, proved_at, assurance, created_at, ends_at) VALUES \
             ('back-end', 'back-end', NULL, 'system/*.cruds', NULL, NULL, now(), 'infinity'), \
             ('app', 'app', 'doc', 'user/*.cruds', now(), 2, now(), 'infinity')"
            .to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    let tokens = [crypto::random_token(), crypto::random_token()];
    for (grant, token) in ["back-end", "app"].into_iter().zip(&tokens) {
        sqlx::query(
            "INSERT INTO access_token (hash, jti, grant_id, scope, issued_at, expires_at) \
             SELECT $1, $2, $2, scope, now(), now() + interval '1 day' FROM oauth_grant WHERE id = $2",
        )
        .bind(crypto::digest(token))
        .bind(grant)
        .execute(&mut *connection)
        .await?;
    }
    Ok(tokens)
}

impl Costs {
    fn of(&self, request: Request, asker: Asker) -> Option<&Cost> {
        self.costs
            .iter()
            .find(|cost| cost.request == request && cost.asker == asker)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} resources, {} clients at one time; µs of CPU for each request, server + database\n",
            self.resources, self.concurrency
        )?;
        let names: Vec<String> = ASKERS.iter().map(Asker::to_string).collect();
        writeln!(f, "| | {} | AuditEvents of it |", names.join(" | "))?;
        writeln!(f, "|---|{}--:|", "--:|".repeat(names.len()))?;
        for request in REQUESTS_OF_EACH {
            let of = |asker| self.of(request, asker);
            let cells = ASKERS.map(|asker| {
                of(asker).map_or_else(String::new, |cost| {
                    format!("{:.0} + {:.0} = {:.0}", cost.server, cost.database, cost.together())
                })
            });
            let afterwards = of(Asker::Recorded).map_or(0.0, |cost| cost.afterwards);
            writeln!(f, "| {request} | {} | {afterwards:.0} |", cells.join(" | "))?;
        }
        writeln!(f)?;
        for request in REQUESTS_OF_EACH {
            let together = |asker| self.of(request, asker).map_or(f64::NAN, Cost::together);
            let [anybody, recorded, back_end, practitioner] = ASKERS.map(together);
            writeln!(
                f,
                "{request}: the trail adds {:.0} µs, a back end's token {:.0}; a practitioner costs {:.2} times a back end",
                recorded - anybody,
                back_end - recorded,
                practitioner / back_end
            )?;
        }
        Ok(())
    }
}
