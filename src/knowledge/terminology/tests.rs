use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::knowledge::definitions::Definitions;

/// animal > (dog > poodle, cat); plant; `extinct` is out of use.
fn animals() -> Value {
    json!({"resourceType": "CodeSystem", "url": "http://x/animals", "version": "1.0", "content": "complete",
        "property": [{"code": "legs", "type": "integer"}, {"code": "wild", "type": "boolean"}],
        "concept": [
            {"code": "animal", "display": "Animal", "concept": [
                {"code": "dog", "display": "Dog", "property": [{"code": "legs", "valueInteger": 4}], "concept": [
                    {"code": "poodle", "display": "Poodle", "property": [{"code": "legs", "valueInteger": 4}]}]},
                {"code": "cat", "property": [{"code": "legs", "valueInteger": 4}, {"code": "wild", "valueBoolean": true}]},
                {"code": "bird", "property": [{"code": "legs", "valueInteger": 2}]}]},
            {"code": "plant"},
            {"code": "dodo", "property": [{"code": "inactive", "valueBoolean": true}, {"code": "parent", "valueCode": "bird"}]}]})
}

fn value_set(url: &str, compose: Value) -> Value {
    json!({"resourceType": "ValueSet", "url": url, "compose": compose})
}

fn library(code_systems: &[Value], value_sets: &[Value]) -> Library {
    let mut library = Library::default();
    for resource in code_systems {
        let system = CodeSystem::from_resource(resource);
        library.code_systems.insert(system.url.clone(), system);
    }
    for resource in value_sets {
        let value_set = ValueSet::from_resource(resource);
        library.value_sets.insert(value_set.url.clone(), value_set);
    }
    library
}

/// The codes of a value set with this definition, over the animals.
fn codes_of(compose: Value) -> Result<Vec<String>, Unexpandable> {
    let library = library(&[animals()], &[value_set("http://x/vs", compose)]);
    let expansion = expand(&library, "http://x/vs")?;
    assert!(expansion.codes.iter().all(|(system, _)| system == "http://x/animals"));
    Ok(expansion.codes.into_iter().map(|(_, code)| code).collect())
}

fn filtered(property: &str, operator: &str, value: &str) -> Result<Vec<String>, Unexpandable> {
    let filter = json!([{"property": property, "op": operator, "value": value}]);
    codes_of(json!({"include": [{"system": "http://x/animals", "filter": filter}]}))
}

#[test]
fn a_hierarchy_is_nested_or_told_by_properties() {
    let system = CodeSystem::from_resource(&animals());
    let below = |code| system.descendants(code).unwrap().into_iter().collect::<BTreeSet<_>>();
    assert_eq!(
        below("animal"),
        BTreeSet::from(["dog", "poodle", "cat", "bird", "dodo"])
    );
    assert_eq!(below("poodle"), BTreeSet::new());
    assert_eq!(system.ancestors("dodo").unwrap(), ["animal", "bird"].into());
    assert_eq!(system.descendants("unicorn"), None);
    assert_eq!(
        system.closure().unwrap().len(),
        5 + 1 + 1,
        "animal has 5 below it, dog and bird one each"
    );
}

#[test]
fn a_hierarchy_that_bites_its_tail_ends() {
    let system = CodeSystem::from_resource(&json!({"url": "u", "content": "complete", "concept": [
        {"code": "a", "property": [{"code": "parent", "valueCode": "b"}]},
        {"code": "b", "property": [{"code": "parent", "valueCode": "a"}]}]}));
    assert_eq!(system.descendants("a").unwrap(), ["b"].into());
    assert_eq!(system.closure().unwrap(), [("a", "b"), ("b", "a")].into());
}

#[test]
fn a_property_may_name_its_role_by_uri() {
    let system = CodeSystem::from_resource(&json!({"url": "u", "content": "complete",
        "property": [{"code": "kind", "uri": "http://hl7.org/fhir/concept-properties#child", "type": "code"}],
        "concept": [{"code": "a", "property": [{"code": "kind", "valueCode": "b"}]}, {"code": "b"}]}));
    assert_eq!(system.descendants("a").unwrap(), ["b"].into());
}

#[test]
fn case_is_ignored_unless_it_matters() {
    let with = |case_sensitive: Value| {
        CodeSystem::from_resource(
            &json!({"url": "u", "content": "complete", "caseSensitive": case_sensitive,
            "concept": [{"code": "mg"}, {"code": "Mg"}, {"code": "KG"}]}),
        )
    };
    assert_eq!(with(json!(false)).spelling("kg"), Some("KG"));
    assert_eq!(
        with(Value::Null).spelling("Mg"),
        Some("Mg"),
        "the exact code comes first"
    );
    assert_eq!(with(json!(true)).spelling("kg"), None);
}

#[test]
fn filters_choose_codes() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("concept", "is-a", "dog", &["dog", "poodle"]),
        ("code", "is-a", "DOG", &["dog", "poodle"]),
        ("concept", "descendent-of", "dog", &["poodle"]),
        ("concept", "is-not-a", "animal", &["plant"]),
        ("concept", "generalizes", "poodle", &["animal", "dog", "poodle"]),
        ("concept", "=", "cat", &["cat"]),
        ("concept", "in", "cat, plant,unicorn", &["cat", "plant"]),
        ("concept", "not-in", "dog,poodle,cat,bird,dodo,animal", &["plant"]),
        ("legs", "=", "4", &["cat", "dog", "poodle"]),
        ("legs", "in", "2,3", &["bird"]),
        ("legs", "not-in", "4,2", &["animal", "dodo", "plant"]),
        ("wild", "=", "true", &["cat"]),
        ("wild", "exists", "true", &["cat"]),
        ("legs", "exists", "false", &["animal", "dodo", "plant"]),
        ("code", "regex", "d.*", &["dodo", "dog"]),
        ("code", "regex", "og", &[]),
        ("display", "regex", "[AP].*", &["animal", "poodle"]),
        ("parent", "=", "animal", &["bird", "cat", "dog"]),
        ("parent", "is-a", "dog", &["poodle"]),
        ("child", "exists", "true", &["animal", "bird", "dog"]),
    ];
    for (property, operator, value, expected) in cases {
        let found = filtered(property, operator, value).unwrap();
        assert_eq!(found, *expected, "{property} {operator} {value}");
    }
}

#[test]
fn a_filter_that_makes_no_sense_is_told_of() {
    let text = |property, operator, value| filtered(property, operator, value).unwrap_err().to_string();
    assert!(text("wings", "=", "2").contains("no property 'wings'"));
    assert!(text("concept", "is-a", "unicorn").contains("no code 'unicorn'"));
    assert!(text("legs", "exists", "yes").contains("true or false"));
    assert!(text("code", "regex", "(").contains("no regular expression"));
    assert!(text("code", "like", "a").contains("no operator 'like'"));
}

#[test]
fn parts_are_added_and_taken_away() {
    let all = json!({"system": "http://x/animals"});
    assert_eq!(codes_of(json!({"include": [all]})).unwrap().len(), 7);
    let listed = |codes: &[&str]| {
        let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
        json!({"system": "http://x/animals", "concept": concepts})
    };
    assert_eq!(
        codes_of(json!({"include": [listed(&["cat", "DOG"]), listed(&["plant"])], "exclude": [listed(&["dog"])]}))
            .unwrap(),
        ["cat", "plant"],
        "a listed code is spelled as its code system spells it"
    );
    assert!(
        !codes_of(json!({"inactive": false, "include": [all]}))
            .unwrap()
            .contains(&"dodo".to_owned())
    );
    let two_filters = json!([{"property": "concept", "op": "is-a", "value": "animal"},
        {"property": "legs", "op": "=", "value": "2"}]);
    assert_eq!(
        codes_of(json!({"include": [{"system": "http://x/animals", "filter": two_filters}]})).unwrap(),
        ["bird"],
        "all filters must be met"
    );
}

#[test]
fn listed_codes_need_no_code_system() {
    let compose = json!({"include": [{"system": "http://elsewhere", "concept": [{"code": "a"}]}]});
    let expansion = expand(&library(&[], &[value_set("v", compose)]), "v").unwrap();
    assert_eq!(
        expansion.codes,
        [("http://elsewhere".to_owned(), "a".to_owned())].into()
    );
}

#[test]
fn a_part_is_what_all_its_value_sets_share() {
    let listed = |url: &str, codes: &[&str]| {
        let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
        value_set(
            url,
            json!({"include": [{"system": "http://x/animals", "concept": concepts}]}),
        )
    };
    let sets = [
        listed("http://x/a", &["dog", "cat", "plant"]),
        listed("http://x/b", &["cat", "plant"]),
        value_set(
            "http://x/both",
            json!({"include": [{"valueSet": ["http://x/a", "http://x/b"]}]}),
        ),
        value_set(
            "http://x/three",
            json!({"include": [{"system": "http://x/animals", "valueSet": ["http://x/both"],
                "filter": [{"property": "concept", "op": "is-a", "value": "animal"}]}]}),
        ),
        value_set(
            "http://x/either",
            json!({"include": [{"valueSet": ["http://x/a"]}, {"valueSet": ["http://x/b"]}]}),
        ),
    ];
    let library = library(&[animals()], &sets);
    let codes = |url: &str| -> Vec<String> {
        expand(&library, url)
            .unwrap()
            .codes
            .into_iter()
            .map(|(_, code)| code)
            .collect()
    };
    assert_eq!(codes("http://x/both"), ["cat", "plant"]);
    assert_eq!(codes("http://x/three"), ["cat"]);
    assert_eq!(codes("http://x/either"), ["cat", "dog", "plant"]);
}

#[test]
fn an_import_of_itself_is_found() {
    let import = |url: &str, of: &str| value_set(url, json!({"include": [{"valueSet": [of]}]}));
    let library = library(
        &[],
        &[import("a", "b"), import("b", "c"), import("c", "a"), import("d", "d")],
    );
    for url in ["a", "b", "c", "d"] {
        assert!(matches!(expand(&library, url), Err(Unexpandable::Cycle(_))), "{url}");
    }
}

#[test]
fn what_is_imported_twice_is_no_cycle() {
    let import = |url: &str, of: &[&str]| {
        let parts: Vec<Value> = of.iter().map(|of| json!({"valueSet": [of]})).collect();
        value_set(url, json!({"include": parts}))
    };
    let listed = value_set("d", json!({"include": [{"system": "s", "concept": [{"code": "x"}]}]}));
    let library = library(
        &[],
        &[
            import("a", &["b", "c"]),
            import("b", &["d"]),
            import("c", &["d"]),
            listed,
        ],
    );
    assert_eq!(expand(&library, "a").unwrap().codes.len(), 1);
}

#[test]
fn what_is_not_here_is_named() {
    let whole = |system: &str| value_set("v", json!({"include": [{"system": system}]}));
    let absent = json!({"url": "http://snomed.info/sct", "content": "not-present"});
    let library = |value_set: Value| library(std::slice::from_ref(&absent), &[value_set]);
    let text = |value_set: Value| expand(&library(value_set), "v").unwrap_err().to_string();
    assert!(text(whole("http://loinc.org")).contains("http://loinc.org is not known"));
    assert!(text(whole("http://snomed.info/sct")).contains("not-present"));
    assert!(text(value_set("v", json!({"include": [{"valueSet": ["w"]}]}))).contains("value set w is not known"));
    assert!(text(json!({"url": "v"})).contains("neither a definition"));
    assert!(text(value_set("v", json!({"include": [{}]}))).contains("names no system"));
    assert!(text(json!({"url": "other"})).contains("value set v is not known"));
}

#[test]
fn an_expansion_stands_in_for_a_definition_that_cannot_be_followed() {
    let expansion = |total: u64| {
        json!({"total": total, "contains": [{"system": "s", "code": "a", "contains": [{"system": "s", "code": "b"}]},
            {"display": "a heading"}]})
    };
    let with = |compose: Value, expansion: Value| {
        let resource = json!({"url": "v", "compose": compose, "expansion": expansion});
        let library = library(&[animals()], &[resource]);
        expand(&library, "v").map(|expansion| expansion.codes.len())
    };
    let unknown = json!({"include": [{"system": "http://loinc.org"}]});
    assert_eq!(with(unknown.clone(), expansion(3)), Ok(2));
    assert!(
        with(unknown, expansion(300)).is_err(),
        "a page of an expansion is not the whole"
    );
    assert_eq!(
        with(json!({"include": [{"system": "http://x/animals"}]}), expansion(3)),
        Ok(7)
    );
}

#[test]
fn a_fragment_is_used_with_a_note() {
    let mut fragment = animals();
    fragment["content"] = json!("fragment");
    let sets = [value_set("v", json!({"include": [{"system": "http://x/animals"}]}))];
    let expansion = expand(&library(&[fragment], &sets), "v").unwrap();
    assert_eq!(expansion.codes.len(), 7);
    assert!(expansion.notes.iter().any(|note| note.contains("'fragment'")));
}

#[test]
fn references_name_everything_that_is_needed() {
    let set = ValueSet::from_resource(&value_set(
        "v",
        json!({"include": [{"system": "s", "version": "2"}, {"valueSet": ["w|1"]}], "exclude": [{"system": "t", "version": "*"}]}),
    ));
    let references: Vec<Reference> = set.references().into_iter().collect();
    assert_eq!(
        references,
        [
            Reference::CodeSystem("s|2".into()),
            Reference::CodeSystem("t".into()),
            Reference::ValueSet("w|1".into())
        ]
    );
}

#[test]
fn versions_are_compared_by_their_numbers() {
    let compare = |a, b| compare_versions(Some(a), Some(b));
    assert_eq!(compare("10.0", "9.1"), Ordering::Greater);
    assert_eq!(compare("1.0", "1.0.1"), Ordering::Less);
    assert_eq!(compare("2018-08-12", "2019-01-01"), Ordering::Less);
    assert_eq!(compare_versions(None, Some("0")), Ordering::Less);
    assert_eq!(split_version("http://x|1"), ("http://x", Some("1")));
    assert_eq!(split_version("http://x|"), ("http://x", None));
}

#[test]
fn the_hierarchies_of_r4_are_there() {
    let of = |url: &str| CodeSystem::from_definitions(url, &Definitions::r4().code_systems[url]);
    let clinical = of("http://terminology.hl7.org/CodeSystem/condition-clinical");
    assert_eq!(
        clinical.descendants("active").unwrap(),
        ["recurrence", "relapse"].into()
    );
    let status = of("http://hl7.org/fhir/observation-status");
    assert_eq!(status.ancestors("corrected").unwrap(), ["amended"].into());
    let class = of("http://terminology.hl7.org/CodeSystem/v3-ActCode");
    assert!(class.descendants("_ActEncounterCode").unwrap().contains("AMB"));
}
