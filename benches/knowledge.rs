//! What the FHIR core costs without HTTP or SQL: `cargo bench --bench knowledge`.
//!
//! The resources are made up for this purpose, and of the size of a real record's. Times are per unit of what the name
//! says: per parameter, per element, per resource. docs/decisions/0003-fhirpath-and-extraction.md holds the targets.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use medconsult::knowledge::definitions::{Definitions, Sources, TypeId};
use medconsult::knowledge::extraction::ExtractionPlan;
use medconsult::knowledge::fhirpath::values::{DateTime, Decimal, ucum};
use medconsult::knowledge::fhirpath::{Environment, Expression, Item};
use medconsult::knowledge::validation::Validator;
use serde_json::Value;

const RESOURCES: [(&str, &str); 3] = [
    ("Patient", include_str!("resources/patient.json")),
    ("Observation", include_str!("resources/observation.json")),
    ("Encounter", include_str!("resources/encounter.json")),
];

fn resources() -> impl Iterator<Item = (&'static str, Value)> {
    RESOURCES
        .into_iter()
        .map(|(name, text)| (name, serde_json::from_str(text).expect("bench input is JSON")))
}

/// The time of one of `units` that each run of `work` does.
fn per_unit(runs: u64, units: usize, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..runs {
        work();
    }
    start.elapsed().div_f64(units as f64)
}

/// Expressions of the search parameters that apply to the type.
fn parameters(definitions: &'static Definitions, resource_type: TypeId) -> Vec<&'static str> {
    let applies = |base: &String| {
        definitions
            .type_id(base)
            .is_some_and(|base| definitions.is_a(resource_type, base))
    };
    let parameters = definitions
        .search_parameters
        .iter()
        .filter(|parameter| parameter.base.iter().any(applies));
    parameters
        .filter_map(|parameter| parameter.expression.as_deref())
        .collect()
}

fn extraction(criterion: &mut Criterion) {
    let definitions = Definitions::r4();
    let mut group = criterion.benchmark_group("extraction, per search parameter");
    for (name, resource) in resources() {
        let resource_type = definitions.type_id(name).expect("a type of R4");
        let parameters = parameters(definitions, resource_type);
        let plan = ExtractionPlan::compile(definitions, resource_type, parameters.iter().copied().enumerate())
            .expect("R4's parameters compile");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|runs| {
                per_unit(runs, parameters.len(), || {
                    plan.walk(black_box(&resource), &mut |parameter, found| {
                        black_box((parameter, found));
                    });
                })
            });
        });
    }
    group.finish();
}

fn now() -> DateTime {
    DateTime::parse("2024-02-11T08:00:00Z").expect("a dateTime")
}

/// The invariant that every element of every resource must meet.
fn ele_1(criterion: &mut Criterion) {
    let definitions = Definitions::r4();
    let element = definitions.get(definitions.type_id("Element").expect("a type of R4"));
    let invariant = element
        .invariants
        .iter()
        .find(|invariant| invariant.key == "ele-1")
        .expect("ele-1 is Element's");
    let invariant = Expression::compile(&invariant.expression, definitions).expect("ele-1 compiles");
    let descendants = Expression::compile("descendants()", definitions).expect("FHIRPath");
    let mut group = criterion.benchmark_group("ele-1, per element");
    for (name, resource) in resources() {
        let root = Item::resource(&resource, definitions).expect("a resource");
        let environment = Environment::new(now()).within(root.clone());
        let elements = descendants
            .evaluate(&root, &environment)
            .expect("a resource has descendants");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|runs| {
                per_unit(runs, elements.len(), || {
                    for element in &elements {
                        let holds = invariant.holds(black_box(element), &environment);
                        assert_eq!(holds, Ok(Some(true)));
                    }
                })
            });
        });
    }
    group.finish();
}

fn fhirpath(criterion: &mut Criterion) {
    let definitions = Definitions::r4();
    let (_, patient) = resources().next().expect("the patient is first");
    let root = Item::resource(&patient, definitions).expect("a resource");
    let environment = Environment::new(now()).within(root.clone());
    let mut group = criterion.benchmark_group("FHIRPath, per evaluation");
    for source in [
        "Patient.name.given",
        "Patient.telecom.where(system = 'phone' and use = 'mobile').value.first()",
        "Patient.birthDate < today() - 18 years",
    ] {
        let expression = Expression::compile(source, definitions).expect("FHIRPath");
        group.bench_function(source, |bencher| {
            bencher.iter(|| {
                expression
                    .evaluate(black_box(&root), &environment)
                    .map(|items| items.len())
            });
        });
    }
    group.finish();
}

fn values(criterion: &mut Criterion) {
    let pressure = Decimal::parse("142").expect("a decimal");
    criterion.bench_function("UCUM, canonical form of 142 mm[Hg]", |bencher| {
        bencher.iter(|| ucum::canonical(black_box(pressure), black_box("mm[Hg]")));
    });
    criterion.bench_function("dateTime, parsed to a range of instants", |bencher| {
        bencher.iter(|| DateTime::parse(black_box("2024-02-11T08:17:30+01:00")).map(|moment| moment.bounds(0)));
    });
}

fn validation(criterion: &mut Criterion) {
    let validator = Validator::new(Definitions::r4());
    let mut group = criterion.benchmark_group("validation, per resource");
    for (name, resource) in resources() {
        // The type's schema is compiled here, not in the time that is taken.
        assert_eq!(validator.validate(&resource), [], "bench input is valid");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| validator.validate(black_box(&resource)));
        });
    }
    group.finish();
}

/// What a start of the program waits for.
fn definitions(criterion: &mut Criterion) {
    let sources = Sources {
        types: include_str!("../fhir-schemas/types.json"),
        search_parameters: include_str!("../fhir-schemas/search-parameters.json"),
        compartments: include_str!("../fhir-schemas/compartments.json"),
        code_systems: include_str!("../fhir-schemas/code-systems.json"),
        value_sets: include_str!("../fhir-schemas/value-sets.json"),
    };
    let mut group = criterion.benchmark_group("definitions");
    group.sample_size(20);
    group.bench_function("load R4", |bencher| {
        bencher.iter(|| Definitions::parse(black_box(&sources)))
    });
    group.finish();
}

criterion_group!(benches, extraction, ele_1, fhirpath, values, validation, definitions);
criterion_main!(benches);
