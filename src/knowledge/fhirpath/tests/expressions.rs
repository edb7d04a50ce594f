//! Expressions that the official suite does not have, expressions that are refused, and hostile ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Environment, Expression, Item, Resolver, parser};
use super::{describe, environment};
use crate::knowledge::definitions::Definitions;

fn patient() -> Value {
    json!({
        "resourceType": "Patient",
        "id": "p1",
        "contained": [{"resourceType": "Organization", "id": "o1", "name": "Clinic"}],
        "extension": [{"url": "http://example.org/weight", "valueQuantity": {"value": 70.50, "unit": "kg",
            "system": "http://unitsofmeasure.org", "code": "kg"}}],
        "active": true,
        "_active": {"id": "a1"},
        "name": [
            {"use": "official", "family": "Žižek", "given": ["Ana", null, "Marija"],
             "_given": [null, {"extension": [{"url": "http://example.org/unknown", "valueBoolean": true}]}, null]},
            {"use": "usual", "text": "Ana"}
        ],
        "gender": "female",
        "birthDate": "1974-12",
        "_birthDate": {"extension": [{"url": "http://example.org/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
        "multipleBirthInteger": 2,
        "managingOrganization": {"reference": "#o1"},
        "generalPractitioner": [{"reference": "Practitioner/known"}, {"reference": "Practitioner/unknown"}],
        "maritalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]}
    })
}

fn evaluate(source: &str, input: &Value, environment: &Environment<'_>) -> Result<Vec<String>, String> {
    let definitions = Definitions::r4();
    let expression = Expression::compile(source, definitions).map_err(|error| error.to_string())?;
    let focus = Item::resource(input, definitions).ok_or("no resource")?;
    let result = expression
        .evaluate(&focus, environment)
        .map_err(|error| error.to_string())?;
    Ok(result.iter().map(|item| describe(item, definitions).1).collect())
}

#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    let patient = patient();
    for (source, expected) in cases {
        match evaluate(source, &patient, &environment()) {
            Ok(found) => assert_eq!(found, *expected, "{source}"),
            Err(error) => panic!("{source}: {error}"),
        }
    }
}

#[test]
fn elements_are_found_with_their_siblings() {
    check(&[
        ("Patient.name.family", &["Žižek"]),
        ("name.given.count()", &["3"]),
        ("name.given.where(hasValue())", &["Ana", "Marija"]),
        ("name.given[1].hasValue()", &["false"]),
        ("name.given[1].extension.value", &["true"]),
        ("name.given[1] & 'x'", &["x"]),
        ("name.given[1] + 'x'", &[]),
        ("active.id", &["a1"]),
        ("active.extension", &[]),
        ("active.children().count()", &["1"]),
        (
            "birthDate.extension('http://example.org/time').value",
            &["@1974-12-25T14:35:45-05:00"],
        ),
        ("multipleBirth", &["2"]),
        ("multipleBirth is integer", &["true"]),
        ("multipleBirth.ofType(boolean)", &[]),
        ("contained.name", &["Clinic"]),
        ("contained.ofType(Organization).name", &["Clinic"]),
        ("contained is Resource", &["true"]),
        ("descendants().count() > 30", &["true"]),
        ("Observation.value", &[]),
        ("nothing.like.this", &[]),
        ("`name`.`given`.first()", &["Ana"]),
        ("Patient.is(DomainResource)", &["true"]),
    ]);
}

#[test]
fn types_are_told_apart() {
    check(&[
        ("gender.type().namespace & '.' & gender.type().name", &["FHIR.code"]),
        ("(1).type().namespace & '.' & (1).type().name", &["System.Integer"]),
        ("gender is string", &["true"]),
        ("gender.ofType(string)", &[]),
        ("gender.ofType(code)", &["female"]),
        ("active is Boolean", &["false"]),
        ("active is boolean", &["true"]),
        ("active = true", &["true"]),
        ("name.first() is HumanName", &["true"]),
        ("name.ofType(HumanName).count()", &["2"]),
        ("descendants().as(HumanName).count()", &["2"]),
        ("extension.value.as(Quantity).code", &["kg"]),
        ("extension.value.ofType(Age)", &[]),
    ]);
}

#[test]
fn numbers_are_exact() {
    check(&[
        ("0.1 + 0.2 = 0.3", &["true"]),
        ("1.0 / 3.0 * 3.0 = 1.0", &["false"]),
        ("9007199254740993.0 - 1.0", &["9007199254740992.0"]),
        ("2147483647 + 1", &[]),
        ("1 / 0", &[]),
        ("7 mod 0", &[]),
        ("-(5)", &["-5"]),
        ("5 - -3", &["8"]),
        ("2 + 3 * 4 - 1", &["13"]),
        ("7 div 2", &["3"]),
        ("(-7) mod 2", &["-1"]),
        ("2.power(10)", &["1024"]),
        ("2.power(-1)", &["0.5"]),
        ("extension.value.value", &["70.5"]),
        ("extension.value > 70 'kg' and extension.value = 70500 'g'", &["true"]),
        ("(2.5).round()", &["3"]),
    ]);
}

#[test]
fn dates_keep_their_precision() {
    check(&[
        ("birthDate = @1974-12", &["true"]),
        ("birthDate = @1974-12-25", &[]),
        ("birthDate ~ @1974-12-25", &["false"]),
        ("birthDate < @1975", &["true"]),
        ("birthDate < @1974", &[]),
        ("birthDate + 1 month", &["@1975-01"]),
        ("birthDate.lowBoundary()", &["@1974-12-01"]),
        ("now()", &["@2026-03-01T10:15:30.500+01:00"]),
        ("today()", &["@2026-03-01"]),
        ("timeOfDay()", &["@T10:15:30.500"]),
        ("now() - 1 day < now()", &["true"]),
        ("@2024-02-29 + 1 year", &["@2025-02-28"]),
    ]);
}

#[test]
fn texts_are_counted_in_characters() {
    check(&[
        ("name.family.length()", &["5"]),
        ("name.family.substring(1, 2)", &["iž"]),
        ("name.family.indexOf('ek')", &["3"]),
        ("'abcabc'.lastIndexOf('b')", &["4"]),
        ("name.family.upper()", &["ŽIŽEK"]),
        ("name.family.toChars().first()", &["Ž"]),
        ("'a.b.c'.split('.')", &["a", "b", "c"]),
        ("('a' | 'b').join('-')", &["a-b"]),
        ("'2020-05'.replaceMatches('(\\\\d+)-(\\\\d+)', '$2/$1')", &["05/2020"]),
        ("'x'.encode('hex')", &["78"]),
        ("'zz'.decode('hex')", &[]),
        ("'\\u00e9\\ud83d\\ude00'.length()", &["2"]),
        ("'Ana  B' ~ 'ana b'", &["true"]),
    ]);
}

#[test]
fn collections_follow_the_rules_of_emptiness_and_order() {
    check(&[
        ("{} = 1", &[]),
        ("(1 | 2) = (2 | 1)", &["false"]),
        ("(1 | 2) ~ (2 | 1)", &["true"]),
        ("{}.all(false)", &["true"]),
        ("{} and false", &["false"]),
        ("{} implies true", &["true"]),
        ("1 in {}", &["false"]),
        ("{} in (1 | 2)", &[]),
        ("(1 | 2 | 3).where($this > 1).select($index)", &["0", "1"]),
        ("(1 | 2 | 3).aggregate($total + $this, 0)", &["6"]),
        ("(3 | 1 | 2).sort(-$this)", &["3", "2", "1"]),
        ("name.repeat(given | family).count()", &["4"]),
        ("name.where(given contains 'Ana').use", &["official"]),
        ("iif(name.count() > 5, 'many', 'few')", &["few"]),
        ("(1 | 1).combine(1)", &["1", "1"]),
        ("name.select(use).exclude('usual')", &["official"]),
    ]);
}

#[test]
fn variables_stand_for_their_surroundings() {
    let patient = patient();
    let definitions = Definitions::r4();
    let expression = Expression::compile("$this = 'Ana' and %resource.id = 'p1' and %x = 3", definitions).unwrap();
    let focus_expression = Expression::compile("name.given.first()", definitions).unwrap();
    let resource = Item::resource(&patient, definitions).unwrap();
    let plain = environment();
    let focus = focus_expression.evaluate(&resource, &plain).unwrap().remove(0);
    let environment = environment()
        .within(resource)
        .with_variable("x", vec![Item::Integer(3)]);
    assert_eq!(expression.holds(&focus, &environment), Ok(Some(true)));
    check(&[
        ("%context.id", &["p1"]),
        (
            "%`ext-patient-birthTime`",
            &["http://hl7.org/fhir/StructureDefinition/patient-birthTime"],
        ),
        (
            "%vs-administrative-gender",
            &["http://hl7.org/fhir/ValueSet/administrative-gender"],
        ),
        ("gender.memberOf(%vs-administrative-gender)", &["true"]),
        ("'x'.memberOf(%vs-administrative-gender)", &["false"]),
        ("gender.memberOf('http://example.org/unknown')", &[]),
        ("maritalStatus.subsumes(maritalStatus)", &["true"]),
        (
            "conformsTo('http://hl7.org/fhir/StructureDefinition/DomainResource')",
            &["true"],
        ),
    ]);
}

struct Known(Value);

impl Resolver for Known {
    fn resolve(&self, reference: &str) -> Option<&Value> {
        (reference == "Practitioner/known").then_some(&self.0)
    }
}

#[test]
fn references_are_resolved_within_the_resource_and_by_the_resolver() {
    let patient = patient();
    let known = Known(json!({"resourceType": "Practitioner", "id": "known"}));
    let with_resolver = environment().with_resolver(&known);
    let ask = |source| evaluate(source, &patient, &with_resolver).unwrap();
    assert_eq!(ask("managingOrganization.resolve().name"), ["Clinic"]);
    assert_eq!(ask("generalPractitioner.resolve().id"), ["known"]);
    assert_eq!(
        ask("generalPractitioner.where(resolve() is Practitioner).reference"),
        ["Practitioner/known"]
    );
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "a"}},
        {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"},
            "performer": [{"reference": "Patient/a"}]}}
    ]});
    let found = evaluate(
        "entry.resource.subject.resolve().id | entry.resource.performer.resolve().id",
        &bundle,
        &environment(),
    );
    assert_eq!(found.unwrap(), ["a"]);
}

#[test]
fn narratives_are_checked() {
    let check = |html: &str| {
        let patient = json!({"resourceType": "Patient", "text": {"status": "generated", "div": html}});
        evaluate("text.div.htmlChecks()", &patient, &environment()).unwrap() == ["true"]
    };
    assert!(check(
        "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p class=\"x\">Text &amp; <b>more</b></p><br/></div>"
    ));
    assert!(check("<div><img src=\"#a\" alt=\"\"/></div>"));
    for hostile in [
        "<div><script>1</script></div>",
        "<div onclick=\"x()\">text</div>",
        "<div>text",
        "<p>text</p>",
        "<div> </div>",
        "<div>a</div><div>b</div>",
        "<!DOCTYPE html><div>text</div>",
    ] {
        assert!(!check(hostile), "{hostile}");
    }
}

#[test]
fn mistakes_are_refused_with_their_position() {
    let cases = [
        ("", 0),
        ("name.", 5),
        ("name given", 5),
        ("(1 + 2", 6),
        ("name.where(use = 'official'", 27),
        ("'open", 0),
        ("'\\q'", 1),
        ("1 + /* open", 4),
        ("@2020-02-30", 0),
        ("@2020-13", 0),
        ("@T25:00", 0),
        ("name.nothing()", 5),
        ("name.first(1)", 5),
        ("name.where()", 5),
        ("name is Nothing", 5),
        ("name[", 5),
        ("3000000000", 0),
        ("'a'.matches('(')", 12),
        ("$that", 0),
        ("a # b", 2),
        ("Patient.deceasedBoolean", 8),
    ];
    for (source, position) in cases {
        match Expression::compile(source, Definitions::r4()) {
            Err(error) => assert_eq!(error.position, position, "{source}: {error}"),
            Ok(_) => panic!("{source} compiles"),
        }
    }
}

#[test]
fn strict_mode_finds_what_cannot_fit_the_element_model() {
    let definitions = Definitions::r4();
    let compile = |source| Expression::compile_strict(source, definitions.type_id("Observation").unwrap(), definitions);
    for source in [
        "Observation.value.ofType(Quantity).value > 5",
        "component.where(code.coding.exists(system = 'x' and code = 'y')).value",
        "subject.resolve().ofType(Patient).birthDate",
        "contained.where(id = 'x').name",
        "issued + 1 day < now()",
        "%resource.descendants().count() > 3",
        "Resource.meta.lastUpdated",
        "referenceRange.low <= referenceRange.high",
    ] {
        assert!(compile(source).is_ok(), "{source}: {:?}", compile(source).err());
    }
    for (source, position) in [
        ("valu", 0),
        ("code.coding.cod", 12),
        ("Patient.name", 0),
        ("status + 1", 7),
        ("code.startsWith('x')", 5),
        ("code.text.substring('x')", 20),
        ("component.where('x' & 'y')", 20),
        ("descendants().first()", 14),
        ("children()[0]", 10),
        ("issued < 5", 7),
        ("-status", 0),
    ] {
        match compile(source) {
            Err(error) => assert_eq!(error.position, position, "{source}: {error}"),
            Ok(_) => panic!("{source} compiles"),
        }
    }
}

#[test]
fn wrong_types_and_numbers_end_in_an_error() {
    let patient = patient();
    for source in [
        "name.single()",
        "name + 1",
        "'a' * 2",
        "name.family > 1",
        "(1 | 2) + 1",
        "name.given.startsWith('A')",
        "birthDate + 1 'kg'",
        "%nothing",
        "conformsTo('http://example.org/unknown')",
        "'a'.encode('rot13')",
        "name.where(given)",
    ] {
        assert!(evaluate(source, &patient, &environment()).is_err(), "{source}");
    }
}

#[test]
fn hostile_expressions_end_in_an_error_soon() {
    let patient = patient();
    let deep = 100_000;
    let sources = [
        "(".repeat(deep),
        "-".repeat(deep) + "1",
        "1".to_owned() + &"+1".repeat(deep / 8),
        "name".to_owned() + &".name".repeat(1_000),
        "iif(true,".repeat(1_000) + "1" + &")".repeat(1_000),
        "name".to_owned() + &"[0]".repeat(1_000),
        "a".repeat(parser::MAX_SOURCE_LENGTH + 1),
        "(1|2|3|4|5|6|7|8|9).repeat($this + 1)".to_owned(),
        "'0123456789'.toChars().aggregate(iif($total.empty(), $this, $total & $total & $total & $total), 'x')"
            .to_owned()
            + &".replace('', '0123456789')".repeat(12),
        "descendants()".to_owned() + &".select(%resource.descendants())".repeat(5),
        "('x'.matches('(a{1000}){1000}'))".to_owned(),
        "('a{900}' & 'b').toChars().select('x'.matches('(' & $this & '{900}){900}'))".to_owned(),
    ];
    for source in sources {
        let start = Instant::now();
        let shown: String = source.chars().take(40).collect();
        let mut environment = environment();
        environment.budget = 1_000_000;
        assert!(evaluate(&source, &patient, &environment).is_err(), "{shown}");
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{shown} took {:?}",
            start.elapsed()
        );
    }
}

/// The deepest tree that the parser lets through must fit into the stack of a thread of the server (2 MiB), even in an
/// unoptimised build.
#[test]
fn the_deepest_expression_fits_the_stack() {
    let depth = parser::MAX_DEPTH - 2;
    let patient = patient();
    for source in [
        "iif(true,".repeat(depth / 2) + "1" + &")".repeat(depth / 2),
        "1".to_owned() + &"+1".repeat(depth),
        "name.select(".repeat(depth / 2) + "1" + &")".repeat(depth / 2),
        "(".repeat(depth / 2) + "true" + &" and true)".repeat(depth / 2),
    ] {
        let shown: String = source.chars().take(40).collect();
        let result = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
            let handle = thread.spawn_scoped(scope, || evaluate(&source, &patient, &environment()).map(|_| ()));
            handle.expect("a thread").join().expect("no overflow")
        });
        assert_eq!(result, Ok(()), "{shown}");
    }
}
