//! What the FHIR core costs without HTTP or SQL: `cargo bench --bench knowledge`.
//!
//! The resources are made up for this purpose, and of the size of a real record's. Where a target is per unit (per search
//! parameter, per element), the units of a second stand beside the time of a run: 150 ns each are 6.67 Mitem/s.
//! docs/decisions/0003-fhirpath-and-extraction.md holds the targets.

use std::fs;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use medconsult::knowledge::definitions::{Definitions, Sources, TypeId};
use medconsult::knowledge::extraction::ExtractionPlan;
use medconsult::knowledge::fhirpath::values::{DateTime, Decimal, ucum};
use medconsult::knowledge::fhirpath::{Environment, Expression, Item};
use medconsult::knowledge::profiles::Package;
use medconsult::knowledge::validation::Validator;
use serde_json::Value;

fn main() {
    divan::main();
}

const TYPES: [&str; 3] = ["Patient", "Observation", "Encounter"];

fn resource(name: &str) -> Value {
    let text = match name {
        "Patient" => include_str!("resources/patient.json"),
        "Observation" => include_str!("resources/observation.json"),
        _ => include_str!("resources/encounter.json"),
    };
    serde_json::from_str(text).expect("bench input is JSON")
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

/// All search parameters of a resource, in one walk; an item is a parameter.
#[divan::bench(args = TYPES)]
fn extraction(bencher: Bencher, name: &str) {
    let definitions = Definitions::r4();
    let resource = resource(name);
    let resource_type = definitions.type_id(name).expect("a type of R4");
    let parameters = parameters(definitions, resource_type);
    let plan = ExtractionPlan::compile(definitions, resource_type, parameters.iter().copied().enumerate())
        .expect("R4's parameters compile");
    bencher.counter(ItemsCount::new(parameters.len())).bench_local(|| {
        plan.walk(black_box(&resource), &mut |parameter, found| {
            black_box((parameter, found));
        });
    });
}

fn now() -> DateTime {
    DateTime::parse("2024-02-11T08:00:00Z").expect("a dateTime")
}

/// The invariant that every element of every resource must meet; an item is an element.
#[divan::bench(args = TYPES)]
fn ele_1(bencher: Bencher, name: &str) {
    let definitions = Definitions::r4();
    let resource = resource(name);
    let element = definitions.get(definitions.type_id("Element").expect("a type of R4"));
    let invariant = element
        .invariants
        .iter()
        .find(|invariant| invariant.key == "ele-1")
        .expect("ele-1 is Element's");
    let invariant = Expression::compile(&invariant.expression, definitions).expect("ele-1 compiles");
    let descendants = Expression::compile("descendants()", definitions).expect("FHIRPath");
    let root = Item::resource(&resource, definitions).expect("a resource");
    let environment = Environment::new(now()).within(root.clone());
    let elements = descendants
        .evaluate(&root, &environment)
        .expect("a resource has descendants");
    bencher.counter(ItemsCount::new(elements.len())).bench_local(|| {
        for element in &elements {
            let holds = invariant.holds(black_box(element), &environment);
            assert_eq!(holds, Ok(Some(true)));
        }
    });
}

#[divan::bench(args = [
    "Patient.name.given",
    "Patient.telecom.where(system = 'phone' and use = 'mobile').value.first()",
    "Patient.birthDate < today() - 18 years",
])]
fn fhirpath(bencher: Bencher, source: &str) {
    let definitions = Definitions::r4();
    let patient = resource("Patient");
    let root = Item::resource(&patient, definitions).expect("a resource");
    let environment = Environment::new(now()).within(root.clone());
    let expression = Expression::compile(source, definitions).expect("FHIRPath");
    bencher.bench_local(|| {
        expression
            .evaluate(black_box(&root), &environment)
            .map(|items| items.len())
    });
}

/// The canonical form of 142 mm[Hg].
#[divan::bench]
fn ucum_canonical(bencher: Bencher) {
    let pressure = Decimal::parse("142").expect("a decimal");
    bencher.bench_local(|| ucum::canonical(black_box(pressure), black_box("mm[Hg]")));
}

/// A dateTime, parsed to a range of instants.
#[divan::bench]
fn date_time_bounds(bencher: Bencher) {
    bencher.bench_local(|| DateTime::parse(black_box("2024-02-11T08:17:30+01:00")).map(|moment| moment.bounds(0)));
}

#[divan::bench(args = TYPES)]
fn validation(bencher: Bencher, name: &str) {
    let validator = Validator::new(Definitions::r4());
    let resource = resource(name);
    // The type's schema is compiled here, not in the time that is taken.
    assert_eq!(validator.validate(&resource), [], "bench input is valid");
    bencher.bench_local(|| validator.validate(black_box(&resource)));
}

/// A Patient claims no profile; the others are the examples of profiles with many rules.
#[divan::bench(args = ["Patient", "appointment", "schedule", "prescription", "mail-request"])]
fn profiles(bencher: Bencher, name: &str) {
    let package = Package::medconsult();
    let resource = match name {
        "Patient" => resource(name),
        name => {
            let path = format!("{}/profiles/examples/{name}.valid.json", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_str(&fs::read_to_string(path).expect("an example")).expect("examples are JSON")
        }
    };
    assert_eq!(package.check(&resource), [], "the example fits its profile");
    bencher.bench_local(|| package.check(black_box(&resource)));
}

/// What a start of the program waits for.
#[divan::bench]
fn load_definitions(bencher: Bencher) {
    let sources = Sources {
        types: include_str!("../fhir-schemas/types.json"),
        search_parameters: include_str!("../fhir-schemas/search-parameters.json"),
        compartments: include_str!("../fhir-schemas/compartments.json"),
        code_systems: include_str!("../fhir-schemas/code-systems.json"),
        value_sets: include_str!("../fhir-schemas/value-sets.json"),
    };
    bencher.bench_local(|| Definitions::parse(black_box(&sources)));
}
