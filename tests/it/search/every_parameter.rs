//! Bad input for every search parameter of every type, table-driven over the registry: whatever a client writes, it is
//! answered, or refused with a reason: 400, or 422 where it is too much.
//!
//! Every value is read for every parameter. What can be read is run too, all of a parameter's values as one list, since the
//! statement differs between parameters of a family in nothing but a number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use medconsult::fhir::error::{FhirError, IssueType};
use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search::{Family, Parameter, Search, SearchRegistry, parse, search};
use medconsult::knowledge::definitions::{Definitions, SearchParameterType};
use serde_json::json;

use super::*;
use crate::bench::bench;

/// Text that means something to SQL, to regular expressions, to LIKE, to JSON, to shells or to terminals.
const HOSTILE: &[&str] = &[
    "' OR '1'='1",
    "'; DROP TABLE resource; --",
    "1) OR true) --",
    "$1",
    "${x}",
    "$$x$$",
    "%",
    "_",
    "100%_",
    ".*",
    "(a+)+$",
    "[",
    "\\",
    "\\\\",
    "x\\",
    "\\x00",
    "\"",
    "'",
    "\"}]",
    "<script>",
    "`id`",
    "\u{202e}",
    "\u{feff}",
    "\u{1}",
    "\u{10ffff}",
    "e\u{301}",
    "😀",
    " ",
    "|",
    "||",
    "|||",
    "a|b|c|d",
    "-",
    "--",
    "1e999999999",
    "-0",
    "NaN",
    "Infinity",
    "9999-99-99",
    "0000",
    "2020-02-30",
    "99999999999999999999999999999999",
    "../../etc/passwd",
    "http://",
    "urn:",
    ":",
    "/",
    "#",
    "Patient/",
    "/Patient",
    "null",
    "true",
];

/// Everything that may stand behind the colon, and something that may not.
const MODIFIERS: &[&str] = &[
    "missing",
    "exact",
    "contains",
    "text",
    "not",
    "in",
    "not-in",
    "above",
    "below",
    "of-type",
    "identifier",
    "iterate",
    "Patient",
    "nonsense",
    "",
];

/// A value that each modifier can read, for the parameters that it applies to.
fn fitting(modifier: &str, parameter: &Parameter) -> &'static str {
    match (modifier, parameter.family) {
        ("missing", _) => "true",
        ("in" | "not-in", _) => "http://x/vs",
        ("above" | "below", Family::Token) => "http://x/cs|a",
        ("above" | "below", Family::Reference) => match parameter.definition.targets.len() {
            1 => "a",
            _ => "http://x/canonical",
        },
        ("above" | "below", _) => "http://x/a",
        ("of-type", _) => "http://x|a|b",
        ("identifier", _) => "http://x|a",
        _ => "a",
    }
}

/// Every type with each of its parameters.
fn every(registry: &SearchRegistry) -> Vec<(&'static str, &Parameter)> {
    let mut all = Vec::new();
    for ty in Definitions::r4().resource_types() {
        let parameters = registry.parameters(&ty.name);
        all.extend(parameters.map(|parameter| (ty.name.as_str(), parameter)));
    }
    assert!(all.len() > 2_000, "{} parameters", all.len());
    all
}

fn read(bench: &Bench, resource_type: &str, name: &str, value: &str) -> Result<Search, FhirError> {
    let pairs = [(name.to_owned(), value.to_owned())];
    parse(&bench.server, resource_type, &pairs, Handling::Strict)
}

/// The reason of a refusal, which must be one.
#[track_caller]
fn refused(result: Result<Search, FhirError>, what: &str) -> String {
    match result {
        Ok(_) => panic!("{what} was not refused"),
        Err(error) => {
            let too_costly = error.issues[0].code == IssueType::TooCostly;
            let expected = if too_costly { 422 } else { 400 };
            assert_eq!(error.status.as_u16(), expected, "{what}: {}", error.to_json());
            assert!(!error.issues[0].diagnostics.is_empty(), "{what}");
            error.issues[0].diagnostics.clone()
        }
    }
}

/// The value as one of a list, or as the whole of a parameter.
fn escaped(value: &str) -> String {
    value.replace(',', "\\,")
}

#[tokio::test]
async fn every_parameter_answers_or_refuses_hostile_values() {
    let bench = bench().await;
    let started = Instant::now();
    let mut lists: Vec<(&str, String, String)> = Vec::new();
    let registry = bench.server.search.current();
    for (resource_type, parameter) in every(&registry) {
        let code = parameter.definition.code.as_str();
        let mut readable = Vec::new();
        for &value in HOSTILE {
            let result = read(&bench, resource_type, code, value);
            match &result {
                // A backslash at its end would escape the comma that follows in the list.
                Ok(_) if !value.ends_with('\\') => readable.push(escaped(value)),
                Ok(_) => {}
                Err(_) => _ = refused(result, &format!("{resource_type}?{code}={value}")),
            }
        }
        for value in ["", ",", "a,", ",a", "a\0b", "\0"] {
            refused(
                read(&bench, resource_type, code, value),
                &format!("{resource_type}?{code}={value:?}"),
            );
        }
        if !readable.is_empty() {
            lists.push((resource_type, code.to_owned(), readable.join(",")));
        }
    }
    let families = lists.len();
    let answered = stream::iter(lists)
        .map(|(resource_type, code, list)| {
            let bench = &bench;
            async move {
                let what = format!("{resource_type}?{code}");
                let search_for = read(bench, resource_type, &code, &list).map_err(|error| (what.clone(), error))?;
                let page = search(&bench.server, &Caller::sandbox(), &search_for).await;
                page.map(|page| page.matches.len()).map_err(|error| (what, error))
            }
        })
        .buffer_unordered(8)
        .try_fold(0, |answered, found| async move {
            assert_eq!(found, 0, "nothing is stored");
            Ok(answered + 1)
        })
        .await;
    match answered {
        Ok(answered) => assert_eq!(answered, families),
        Err((what, error)) => panic!("{what}: {}", error.to_json()),
    }
    // A hang would be minutes; this is about ten seconds of an unoptimised program on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
}

#[tokio::test]
async fn every_parameter_refuses_values_of_another_type() {
    let bench = bench().await;
    let registry = bench.server.search.current();
    for (resource_type, parameter) in every(&registry) {
        let code = parameter.definition.code.as_str();
        let wrong: &[&str] = match parameter.definition.kind {
            SearchParameterType::Date => &[
                "yesterday",
                "zz2020",
                "ge",
                "eq2020-13",
                "20200101",
                "ge ge2020",
                "5.4|http://u|mg",
            ],
            SearchParameterType::Number => &[
                "five",
                "zz5",
                "ge",
                "1.2.3",
                "5|http://u|mg",
                "0x10",
                "geNaN",
                "2020-01-01",
            ],
            SearchParameterType::Quantity => &["five", "zz5", "ge", "5|mg", "5|a|b|c", "|http://u|mg", "gtInfinity"],
            SearchParameterType::Token => &["|", "a|b|c", "a|b|c|d"],
            SearchParameterType::Reference => &["a b", "é", "name?"],
            SearchParameterType::Composite => &["a", "$", "a$", "$b", "a$b$c$d", "a\\$b"],
            // Any text is a string, and any a URI.
            SearchParameterType::String | SearchParameterType::Uri => &[""],
            SearchParameterType::Special => continue,
        };
        for value in wrong {
            refused(
                read(&bench, resource_type, code, value),
                &format!("{resource_type}?{code}={value}"),
            );
        }
    }
}

#[tokio::test]
async fn every_parameter_lists_the_modifiers_that_it_takes() {
    let bench = bench().await;
    let mut lists: BTreeMap<String, usize> = BTreeMap::new();
    let registry = bench.server.search.current();
    for (resource_type, parameter) in every(&registry) {
        let code = parameter.definition.code.as_str();
        let what = format!("{resource_type}?{code}:nonsense");
        let told = refused(read(&bench, resource_type, &format!("{code}:nonsense"), "a"), &what);
        let list = told
            .split_once("; it takes ")
            .unwrap_or_else(|| panic!("{what}: {told}"))
            .1;
        let listed: Vec<&str> = list
            .trim_end_matches('.')
            .split(", ")
            .filter_map(|name| name.strip_prefix(':'))
            .collect();
        for &modifier in MODIFIERS {
            let name = format!("{code}:{modifier}");
            let what = format!("{resource_type}?{name}");
            let result = read(&bench, resource_type, &name, fitting(modifier, parameter));
            match listed.contains(&modifier) {
                // It applies, though perhaps not to this value.
                true => {
                    let applies = result.map_or_else(
                        |error| !error.issues[0].diagnostics.contains("does not apply"),
                        |_| true,
                    );
                    assert!(applies, "{what} is listed");
                }
                false => {
                    let told = refused(result, &what);
                    assert!(told.ends_with(&format!("it takes {list}")), "{what}: {told}");
                }
            }
        }
        *lists.entry(listed.join(" ")).or_default() += 1;
    }
    // Each kind of parameter has been there.
    for list in ["exact contains missing", "missing", "above below missing", ""] {
        assert!(lists.contains_key(list), "{list:?} in {lists:?}");
    }
    assert!(lists.keys().any(|list| list.contains("of-type")));
}

#[tokio::test]
async fn every_parameter_refuses_chains_that_lead_nowhere_and_filters_that_do_not_end() {
    let bench = bench().await;
    let registry = bench.server.search.current();
    for (resource_type, parameter) in every(&registry) {
        let code = parameter.definition.code.as_str();
        for chain in [
            format!("{code}.nonsense"),
            format!("{code}:Nonsense.name"),
            format!("{code}."),
            format!(".{code}"),
            format!("{code}..{code}"),
            format!("nonsense.{code}"),
            format!("_has:{resource_type}:{code}"),
            format!("_has:{resource_type}:{code}:nonsense"),
            format!("_has:Nonsense:{code}:_id"),
            format!("_has:{resource_type}:nonsense:{code}"),
            format!("_has::{code}:"),
        ] {
            let what = format!("{resource_type}?{chain}");
            refused(read(&bench, resource_type, &chain, "a"), &what);
        }
        for filter in [
            format!("({code} pr true"),
            format!("{code} pr true)"),
            format!("{code} eq \"x"),
            format!("{code} zz x"),
            format!("{code} eq"),
            code.to_owned(),
            format!("not {code} pr true"),
            format!("{code} pr true and"),
            format!("{code} pr true {code} pr true"),
            format!("{code}[{code} pr true.x eq 1"),
            format!("{}{code} pr true", "(".repeat(1_000)),
            format!("{code} pr maybe"),
        ] {
            let what = format!("{resource_type}?_filter={filter}");
            refused(read(&bench, resource_type, "_filter", &filter), &what);
        }
    }
}

#[tokio::test]
async fn every_parameter_bounds_its_lists() {
    let bench = bench().await;
    let too_many = vec!["2020"; 10_001].join(",");
    let registry = bench.server.search.current();
    for (resource_type, parameter) in every(&registry) {
        let code = parameter.definition.code.as_str();
        let told = refused(
            read(&bench, resource_type, code, &too_many),
            &format!("{resource_type}?{code}"),
        );
        assert!(told.contains(" at most ") && told.contains(" values"), "{code}: {told}");
    }
    // The longest list that is taken, once for each way in which a list is written.
    let list = |value: &dyn Fn(usize) -> String| (0..10_000).map(value).collect::<Vec<_>>().join(",");
    let text = |n: usize| format!("x{n}");
    let system = |n: usize| format!("http://x/{n}|a");
    let url = |n: usize| format!("http://x/{n}");
    let day = |n: usize| format!("ge{}-01-01", 1000 + n % 9_000);
    let amount = |n: usize| format!("{n}.5|http://unitsofmeasure.org|mg");
    for (query, value) in [
        ("Patient?_id", &text as &dyn Fn(usize) -> String),
        ("Patient?_id:not", &text),
        ("Patient?gender", &text),
        ("Patient?gender:not", &text),
        ("Patient?gender:text", &text),
        ("Patient?identifier", &system),
        ("Patient?identifier:of-type", &system),
        ("Patient?family", &text),
        ("Patient?family:exact", &text),
        ("Patient?family:contains", &text),
        ("Patient?birthdate", &day),
        ("Patient?_lastUpdated", &day),
        ("Patient?general-practitioner:Practitioner", &text),
        ("Patient?general-practitioner", &url),
        ("Patient?general-practitioner:identifier", &system),
        ("Location?partof:below", &text),
        ("QuestionnaireResponse?questionnaire:below", &url),
        ("Patient?_profile", &url),
        ("Patient?_profile:below", &url),
        ("Observation?value-quantity", &amount),
        ("RiskAssessment?probability", &|n| format!("gt{n}")),
        ("Patient?organization.name", &text),
        ("Patient?_has:Observation:patient:code", &text),
    ] {
        let query = format!("{query}={}", list(value));
        let (name, _) = query.split_once('=').unwrap();
        let started = Instant::now();
        let page = bench.page(&query, Handling::Strict).await;
        assert!(page.is_ok_and(|(page, _)| page.matches.is_empty()), "{name}");
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{name}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn very_long_values_are_read_or_refused() {
    let bench = bench().await;
    let registry = bench.server.search.current();
    for (resource_type, parameter) in every(&registry) {
        let code = parameter.definition.code.as_str();
        let result = read(&bench, resource_type, code, &"9".repeat(5_000));
        if result.is_err() {
            refused(result, &format!("{resource_type}?{code}"));
        }
    }
    let long = "é".repeat(200_000);
    for query in [
        "gender",
        "identifier",
        "family:exact",
        "_id",
        "_profile",
        "general-practitioner:identifier",
        "gender:not",
    ] {
        let page = bench.page(&format!("Patient?{query}={long}"), Handling::Strict).await;
        assert!(page.is_ok_and(|(page, _)| page.matches.is_empty()), "{query}");
    }
    for query in [
        "family",
        "family:contains",
        "birthdate",
        "general-practitioner",
        "_profile:below",
        "gender:in",
        "gender:below",
    ] {
        bench.refusal(&format!("Patient?{query}={long}")).await;
    }
}

#[tokio::test]
async fn wildcards_quotes_and_backslashes_are_only_characters() {
    let bench = bench().await;
    let named = |id: &str, family: &str| {
        patient(
            id,
            json!({"name": [{"family": family}], "identifier": [{"value": family}]}),
        )
    };
    bench
        .store([
            named("percent", "a%b"),
            named("score", "a_b"),
            named("back", "a\\b"),
            named("quote", "a'b\"c"),
            named("plain", "axb"),
            named("sign", "%"),
        ])
        .await;
    bench
        .check(&[
            ("Patient?family:exact=a%25b", "percent"),
            ("Patient?family:exact=a_b", "score"),
            ("Patient?family:exact=a\\\\b", "back"),
            ("Patient?family:exact=a'b\"c", "quote"),
            ("Patient?family:exact=a%25", ""),
            ("Patient?family:contains=%25", "percent sign"),
            ("Patient?family:contains=_", "score"),
            ("Patient?family:contains=\\\\", "back"),
            ("Patient?family=%25", "sign"),
            ("Patient?family=_", ""),
            ("Patient?family=.*", ""),
            ("Patient?identifier=a%25b", "percent"),
            ("Patient?identifier=a_b", "score"),
            ("Patient?identifier=a\\\\b", "back"),
            ("Patient?identifier=%25", "sign"),
            ("Patient?_filter=family sw \"%25\"", "sign"),
            ("Patient?_filter=identifier co \"_\"", "score"),
            ("Patient?_filter=identifier ew \"%25b\"", "percent"),
        ])
        .await;
}

#[tokio::test]
async fn case_accents_and_composition_count_as_the_specification_says() {
    let bench = bench().await;
    let composed = "Andr\u{e9}";
    let decomposed = "Andre\u{301}";
    bench
        .store([
            patient(
                "c",
                json!({"name": [{"family": composed}], "maritalStatus": {"text": composed}}),
            ),
            patient(
                "d",
                json!({"name": [{"family": decomposed}], "address": [{"city": decomposed}]}),
            ),
            patient("plain", json!({"name": [{"family": "Andre"}]})),
            patient("shout", json!({"name": [{"family": "ANDR\u{c9}"}], "gender": "male"})),
            patient("mrn", json!({"identifier": [{"system": "urn:s", "value": "AbC"}]})),
        ])
        .await;
    for written in [composed, decomposed] {
        let expected = [
            (format!("Patient?family={written}"), "c d plain shout"),
            (format!("Patient?name={written}"), "c d plain shout"),
            (format!("Patient?family:contains={}", &written[1..]), "c d plain shout"),
            (format!("Patient?family:exact={written}"), "c d"),
            (format!("Patient?address={written}"), "d"),
            (format!("Patient?address-city:exact={written}"), "d"),
        ];
        for (query, found) in expected {
            assert_eq!(bench.found(&query).await, found, "{query}");
        }
    }
    bench
        .check(&[
            ("Patient?family=ANDRE", "c d plain shout"),
            ("Patient?family:exact=andr\u{e9}", ""),
            ("Patient?family:exact=Andre", "plain"),
            // Codes are compared without case, an Identifier's value with it.
            ("Patient?gender=MALE", "shout"),
            ("Patient?gender=http://hl7.org/fhir/administrative-gender|Male", "shout"),
            ("Patient?identifier=AbC", "mrn"),
            ("Patient?identifier=abc", ""),
            ("Patient?identifier=urn:s|AbC", "mrn"),
            ("Patient?identifier=URN:S|AbC", ""),
        ])
        .await;
}
