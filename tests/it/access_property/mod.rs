//! Random people ask for random things: no answer ever holds a resource that is not theirs to see, and none lacks one that is.
//!
//! - [`world`] makes patients, practitioners, what is said about them and who cares for whom, and changes some of it;
//! - [`callers`] makes people and back ends, scopes and policies;
//! - [`naive`] says who may see what, by looking at each resource in turn, without any table or index;
//! - [`asking`] makes requests along every path, and compares the answers;
//! - [`writing`] lets them write as well, and compares who is refused.
//!
//! A run takes the same seed unless it is told otherwise. `ACCESS_SEED=random` draws another one, which is printed;
//! `ACCESS_SEED=<seed>` repeats a run, `ACCESS_CASES=<number>` makes it longer.

mod asking;
mod callers;
mod naive;
mod world;
mod writing;

use std::env;
use std::sync::Arc;

use fastrand::Rng;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use medconsult::base::Clock;
use medconsult::fhir::access::policy::Policies;
use medconsult::fhir::access::{Permissions, Role, ScopeContext, ScopeGrant, holders};
use medconsult::fhir::bundle;
use medconsult::fhir::caller::{Caller, Granted, User};
use medconsult::fhir::commit::{self, Op, Target, commit};
use medconsult::fhir::hooks::{Guard, Hooks, Operation};
use medconsult::fhir::operations::Everything;
use medconsult::fhir::preferences::Preferences;
use medconsult::fhir::profiles;
use medconsult::fhir::search::own::OwnSearchParameters;
use medconsult::fhir::server::FhirServer;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use self::asking::{Ask, fault};
use self::callers::{Asker, Policy};
use self::naive::Naive;
use self::world::{Version, World};
use self::writing::Write;
use crate::bench::{Bench, bench_with};

/// Callers of a run, unless the environment says otherwise.
const CASES: usize = 120;
const SEED: u64 = 5;
/// Requests of each.
const REQUESTS: usize = 25;
/// Writes of each.
const WRITES: usize = 4;
/// Policies beside the built-in ones.
const POLICIES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_more_or_less_than_a_naive_reading_allows() {
    let number = |text: String| text.parse::<u64>().expect("a number");
    let seed = match env::var("ACCESS_SEED") {
        Ok(word) if word == "random" => fastrand::u64(..),
        Ok(seed) => number(seed),
        Err(_) => SEED,
    };
    let cases = env::var("ACCESS_CASES").map_or(CASES, |cases| number(cases).try_into().unwrap());
    // Shown when the test fails, in whatever way it does.
    println!("ACCESS_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut world = World::random(&mut rng);
    let bench = bench_with(Hooks {
        guards: vec![own_search_parameters()],
        ..Hooks::default()
    })
    .await;
    profiles::load(&bench.server).await.unwrap();
    bench.server.search.refresh(&bench.server.store).await.unwrap();
    for version in &world.versions {
        store(&bench, version).await;
    }
    let mut policies = vec![Policy::built_in()];
    policies.extend((0..POLICIES).map(|_| Policy::random(&mut rng)));
    let mut servers = Vec::new();
    for policy in &policies {
        let everything: Box<dyn Operation> = Box::new(Everything::of_patient());
        let hooks = Hooks {
            operations: vec![everything],
            ..Hooks::default()
        };
        servers.push(bench.under(Policies::parse(&policy.text).unwrap(), hooks).await);
    }
    let (mut shown, mut empty, mut written, mut refused) = (0, 0, 0, 0);
    for case in 0..cases {
        let asker = Asker::random(&mut rng);
        // The built-in policies in every second case.
        let policy = if case % 2 == 0 { 0 } else { rng.usize(0..policies.len()) };
        break_glass(&bench, &asker).await;
        let caller = caller(&servers[policy], &bench, &asker).await;
        let naive = Naive::new(&world, &asker, &policies[policy]);
        let asks: Vec<Ask> = (0..REQUESTS).map(|_| Ask::random(&mut rng, &world)).collect();
        let entries = asks
            .iter()
            .map(|ask| json!({"request": {"method": "GET", "url": ask.to_string()}}));
        let answers = run_batch(&servers[policy], &caller, entries.collect()).await;
        let before = shown;
        for (ask, answer) in asks.iter().zip(&answers) {
            if let Some(fault) = fault(ask, &naive, &asker, answer, &mut shown) {
                let text: String = answer.to_string().chars().take(3_000).collect();
                let about = about(&asker, &policies[policy]);
                panic!(
                    "\nACCESS_SEED={seed}, case {case}, policy {policy}\nGET {ask}\n{fault}\n{about}\nbehind {:?}\n{text}",
                    naive.holders
                );
            }
        }
        empty += usize::from(shown == before);
        for _ in 0..WRITES {
            let write = Write::random(&mut rng, &world);
            // Who they are may have changed by the one before.
            let caller = self::caller(&servers[policy], &bench, &asker).await;
            let answers = run_batch(&servers[policy], &caller, vec![write.to_entry()]).await;
            match write.outcome(&world, &asker, &policies[policy], &answers[0]) {
                Ok(Some(done)) => {
                    written += 1;
                    world = done.world;
                    if let Some((resource_type, id)) = done.stray {
                        remove(&bench, resource_type, id).await;
                    }
                }
                Ok(None) => refused += 1,
                Err(fault) => {
                    let about = about(&asker, &policies[policy]);
                    panic!("\nACCESS_SEED={seed}, case {case}, policy {policy}\n{write}\n{fault}\n{about}")
                }
            }
        }
        mend_glass(&bench).await;
    }
    println!("{shown} resources shown, {empty} of {cases} callers saw none; {written} writes done, {refused} refused");
    assert!(shown > cases * 10, "{shown} resources are too few to prove much");
    assert!(empty > cases / 20, "hardly anybody was refused");
    assert!(
        written > cases / 20 && refused > cases / 20,
        "{written} writes and {refused} refusals prove little"
    );
}

/// What brings the search parameters of the server's own into use: a Binary is seen by one of them.
fn own_search_parameters() -> Box<dyn Guard> {
    let (clock, _) = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
    Box::new(OwnSearchParameters::new(clock))
}

async fn store(bench: &Bench, version: &Version) {
    let target = Target::Instance {
        resource_type: version.resource_type.to_owned(),
        id: version.id.clone(),
    };
    let write = match &version.content {
        Some(content) => commit::Write::Update {
            target,
            resource: content.clone(),
            if_match: None,
            if_none_match_any: false,
        },
        None => commit::Write::Delete { target, if_match: None },
    };
    bench.clock.advance(SignedDuration::from_secs(1));
    let op = Op { write, full_url: None };
    let outcomes = commit(&bench.server, &Caller::sandbox(), vec![op]).await;
    let outcomes = outcomes.unwrap_or_else(|error| panic!("{}\n{version:?}", error.error.to_json()));
    assert_eq!(outcomes[0].stored.version as usize, version.number, "{version:?}");
}

/// Ties the user to their broken glasses, and to the first patient by one that is mended since.
async fn break_glass(bench: &Bench, asker: &Asker) {
    const SQL: &str = "INSERT INTO care_relation (holder, patient, source, starts, ends) \
         SELECT h.rid, p.rid, 0, $4, $5 FROM resource h JOIN resource_type t ON t.id = h.type, \
         resource p JOIN resource_type u ON u.id = p.type AND u.name = 'Patient' \
         WHERE t.name = $1 AND h.id = $2 AND p.id = $3";
    let Some(((user_type, user), _)) = asker.user_and_person() else {
        return;
    };
    let now = bench.server.clock.now();
    let hours = |hours| now.checked_add(SignedDuration::from_hours(hours)).unwrap().to_sqlx();
    let first = world::letter("Patient") + "0";
    let broken = asker.broken_glass.iter().map(|patient| (patient, hours(-1), hours(1)));
    let mut connection = connection(bench).await;
    for (patient, from, to) in broken.chain([(&first, hours(-3), hours(-2))]) {
        sqlx::query(SQL)
            .bind(&user_type)
            .bind(&user)
            .bind(patient)
            .bind(from)
            .bind(to)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

async fn mend_glass(bench: &Bench) {
    let sql = "DELETE FROM care_relation WHERE source = 0";
    sqlx::query(sql).execute(&mut connection(bench).await).await.unwrap();
}

async fn connection(bench: &Bench) -> PgConnection {
    PgConnection::connect_with(&bench.database.options()).await.unwrap()
}

async fn caller(server: &FhirServer, bench: &Bench, asker: &Asker) -> Caller {
    let scopes = asker.scopes.iter().map(|scope| ScopeGrant {
        context: match scope.context {
            'p' => ScopeContext::Patient,
            'u' => ScopeContext::User,
            _ => ScopeContext::System,
        },
        resource_type: scope.resource_type,
        permissions: Permissions::parse(&scope.letters).unwrap(),
        filter: scope.filter.as_ref().map(|filter| filter.query.clone()),
    });
    let user = match &asker.user {
        Some(fhir_user) => {
            let role = asker.role.parse::<Role>().unwrap();
            let (search, types) = (server.search.current(), server.store.types());
            let now = server.clock.now();
            let mut connection = connection(bench).await;
            let holders = holders(&mut connection, &search, types, now, fhir_user, &asker.person).await;
            Some(User {
                role,
                fhir_user: fhir_user.clone(),
                person: asker.person.clone(),
                holders: holders.unwrap().0,
            })
        }
        None => None,
    };
    Caller::granted(Granted {
        client: "app".to_owned(),
        account: user.as_ref().map(|_| "account".to_owned()),
        user,
        patient: asker.patient.clone(),
        scopes: scopes.collect(),
        ..Granted::default()
    })
}

/// The entries of the answer to a batch of these.
async fn run_batch(server: &Arc<FhirServer>, caller: &Caller, entries: Vec<Value>) -> Vec<Value> {
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let answer = bundle::process(server, caller, batch, &Preferences::default()).await;
    let answer = answer.unwrap_or_else(|error| panic!("{}", error.to_json()));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["entry"].as_array().unwrap().clone()
}

async fn remove(bench: &Bench, resource_type: String, id: String) {
    let target = Target::Instance { resource_type, id };
    let write = commit::Write::Delete { target, if_match: None };
    let op = Op { write, full_url: None };
    commit(&bench.server, &Caller::sandbox(), vec![op]).await.unwrap();
}

/// Who asks, under which rules.
fn about(asker: &Asker, policy: &Policy) -> String {
    let scopes: Vec<String> = asker.scopes.iter().map(ToString::to_string).collect();
    format!(
        "{} {:?}, Person/{}, launched for {:?}, glass broken for {:?}\n{}\n{}",
        asker.role,
        asker.user,
        asker.person,
        asker.patient,
        asker.broken_glass,
        scopes.join(" "),
        policy.of_role(asker.role),
    )
}
