//! `:in` and `:not-in`: by value sets, beside writes that change them.

use super::*;

#[tokio::test]
async fn codes_are_found_by_a_value_set() {
    let bench = terminology_bench().await;
    let mut expanded =
        json!({"resourceType": "ValueSet", "id": "expanded", "url": "http://x/vs/expanded", "status": "active"});
    expanded["expansion"] =
        json!({"timestamp": "2026-01-01", "contains": [{"system": "http://x/animals", "code": "bird"}]});
    let mut without_dogs = value_set("without-dogs", descendants("mammal"));
    without_dogs["compose"]["exclude"] = descendants("dog");
    bench
        .store([
            animals(),
            value_set("mammals", descendants("mammal")),
            value_set("dogs", descendants("DOG")),
            value_set("all", json!([{"system": "http://x/animals"}])),
            value_set(
                "mixed",
                json!([{"valueSet": ["http://x/vs/dogs"]}, listed("http://x/animals", &["bird"])[0]]),
            ),
            without_dogs,
            expanded,
        ])
        .await;
    bench.store(["mammal", "dog", "Poodle", "cat", "bird"].map(seen)).await;
    bench
        .store([
            seen_as("elsewhere", "http://y/animals", "dog"),
            json!({"resourceType": "Observation", "id": "words", "status": "final", "code": {"text": "dog"}}),
            json!({"resourceType": "Observation", "id": "both", "status": "final", "code": {"coding": [
                {"system": "http://x/animals", "code": "bird"}, {"system": "http://x/animals", "code": "CAT"}]}}),
        ])
        .await;
    bench
        .check(&[
            ("Observation?code:in=http://x/vs/mammals", "Poodle both cat dog mammal"),
            ("Observation?code:in=http://x/vs/dogs", "Poodle dog"),
            ("Observation?code:in=http://x/vs/all", "Poodle bird both cat dog mammal"),
            ("Observation?code:in=http://x/vs/without-dogs", "both cat mammal"),
            ("Observation?code:in=http://x/vs/expanded", "bird both"),
            ("Observation?code:in=http://x/vs/mixed", "Poodle bird both dog"),
            (
                "Observation?code:in=http://x/vs/dogs,http://x/vs/expanded",
                "Poodle bird both dog",
            ),
            (
                "Observation?code:in=http://x/vs/mammals&code:in=http://x/vs/expanded",
                "both",
            ),
            ("Observation?code:not-in=http://x/vs/mammals", "bird elsewhere words"),
            (
                "Observation?code:not-in=http://x/vs/mammals,http://x/vs/all",
                "elsewhere words",
            ),
            ("Observation?code:in=ValueSet/dogs", "Poodle dog"),
            ("Observation?code:in=http://localhost/fhir/ValueSet/dogs", "Poodle dog"),
            (
                "Observation?code:in=http://x/vs/dogs&status=final&_sort=code",
                "Poodle dog",
            ),
            ("Observation?code:in=http://x/vs/dogs&status:not=final", ""),
        ])
        .await;
    assert_eq!(
        bench
            .bundle("Observation?code:in=http://x/vs/dogs&_total=accurate")
            .await["total"],
        2
    );
}

#[tokio::test]
async fn codes_without_a_system_are_those_of_their_binding() {
    let bench = terminology_bench().await;
    bench
        .store([
            patient("m", json!({"gender": "male"})),
            patient("o", json!({"gender": "other"})),
            patient("n", json!({})),
            json!({"resourceType": "DocumentReference", "id": "pdf", "status": "current",
                "content": [{"attachment": {"contentType": "application/pdf"}}]}),
            value_set("one", listed("http://hl7.org/fhir/administrative-gender", &["male"])),
            value_set("namesake", listed("http://x/other", &["male"])),
            value_set("media", listed("urn:ietf:bcp:13", &["application/pdf"])),
        ])
        .await;
    bench
        .check(&[
            (
                "Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender",
                "m o",
            ),
            (
                "Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1",
                "m o",
            ),
            ("Patient?gender:in=http://x/vs/one", "m"),
            ("Patient?gender:not-in=http://x/vs/one", "n o"),
            ("Patient?gender:in=http://x/vs/namesake", ""),
            ("Patient?gender:below=male", "m"),
            (
                "Patient?gender:above=http://hl7.org/fhir/administrative-gender|male",
                "m",
            ),
            // No binding says what system a media type is of.
            ("DocumentReference?contenttype:in=http://x/vs/media", "pdf"),
        ])
        .await;
}

#[tokio::test]
async fn what_terminology_cannot_answer_is_refused_with_a_reason() {
    let bench = terminology_bench().await;
    let mut page = value_set("page", json!([]));
    page.as_object_mut().unwrap().remove("compose");
    page["expansion"] = json!({"timestamp": "2026-01-01", "total": 9, "contains": [{"system": "s", "code": "c"}]});
    let mut absent = code_system("absent", json!([]));
    absent["content"] = json!("not-present");
    absent.as_object_mut().unwrap().remove("concept");
    bench
        .store([
            animals(),
            absent,
            page,
            value_set("loop", json!([{"valueSet": ["http://x/vs/loop-back"]}])),
            value_set("loop-back", json!([{"valueSet": ["http://x/vs/loop"]}])),
            value_set("needs-loinc", json!([{"system": "http://loinc.org"}])),
            value_set("needs-absent", json!([{"system": "http://x/absent"}])),
            value_set("needs-version", json!([{"system": "http://x/animals", "version": "9"}])),
            value_set("unicorns", descendants("unicorn")),
            seen("dog"),
        ])
        .await;
    for (query, reason) in [
        (
            "code:in=http://x/vs/nothing",
            "value set http://x/vs/nothing is not known",
        ),
        ("code:not-in=http://x/vs/nothing", "is not known"),
        ("code:in=ValueSet/nothing", "value set ValueSet/nothing is not known"),
        ("code:in=http://x/vs/loop", "imports itself"),
        (
            "code:in=http://x/vs/needs-loinc",
            "code system http://loinc.org is not known",
        ),
        ("code:in=http://x/vs/needs-absent", "not-present"),
        ("code:in=http://x/vs/needs-version", "http://x/animals|9 is not known"),
        ("code:in=http://x/vs/unicorns", "no code 'unicorn'"),
        ("code:in=http://x/vs/page", "complete expansion"),
        ("code:in=Patient/1", "must be a ValueSet"),
        ("code:in=dogs", "canonical URL"),
        ("code:below=dog", "system|code"),
        ("code:below=http://x/animals|", "system|code"),
        ("code:below=http://x/animals|unicorn", "no code 'unicorn'"),
        (
            "code:above=http://loinc.org|1",
            "code system http://loinc.org is not known",
        ),
        ("code:below=http://x/absent|1", "not-present"),
        ("identifier:in=http://x/vs/loop", "does not apply to identifier"),
    ] {
        let told = bench.refusal(&format!("Observation?{query}")).await;
        assert!(told.contains(reason), "{query}: {told}");
    }
    let many = vec!["http://x/vs/all"; 101].join(",");
    assert!(
        bench
            .refusal(&format!("Observation?code:in={many}"))
            .await
            .contains("at most 100")
    );
}

#[tokio::test]
async fn a_search_after_a_write_sees_what_was_written() {
    let bench = terminology_bench().await;
    bench.store(["mammal", "dog", "Poodle", "cat", "bird"].map(seen)).await;
    bench
        .store([
            animals(),
            value_set("inner", descendants("dog")),
            value_set("outer", json!([{"valueSet": ["http://x/vs/inner"]}])),
        ])
        .await;
    let outer = "Observation?code:in=http://x/vs/outer";
    assert_eq!(bench.found(outer).await, "Poodle dog");
    // What the inner of two value sets draws on.
    bench
        .store([code_system(
            "animals",
            json!([{"code": "dog", "concept": [{"code": "cat"}]}, {"code": "Poodle"}]),
        )])
        .await;
    bench
        .check(&[
            (outer, "cat dog"),
            ("Observation?code:below=http://x/animals|dog", "cat dog"),
        ])
        .await;
    // The inner value set.
    bench
        .store([value_set("inner", listed("http://x/animals", &["bird"]))])
        .await;
    assert_eq!(bench.found(outer).await, "bird");
    // It goes, and comes back.
    delete(&bench, "ValueSet", "inner").await;
    assert!(bench.refusal(outer).await.contains("http://x/vs/inner is not known"));
    bench
        .store([value_set("inner", listed("http://x/animals", &["cat"]))])
        .await;
    assert_eq!(bench.found(outer).await, "cat");
    // It takes another name, under which it was not looked for.
    let mut renamed = value_set("inner", listed("http://x/animals", &["cat"]));
    renamed["url"] = json!("http://x/vs/renamed");
    bench.store([renamed]).await;
    assert!(bench.refusal(outer).await.contains("http://x/vs/inner is not known"));
    assert_eq!(bench.found("Observation?code:in=http://x/vs/renamed").await, "cat");
    // A definition of R4 gives way to one that is stored under its URL.
    let gender = "http://hl7.org/fhir/ValueSet/administrative-gender";
    bench.store([patient("m", json!({"gender": "male"}))]).await;
    assert_eq!(bench.found(&format!("Patient?gender:in={gender}")).await, "m");
    let mut own = value_set(
        "gender",
        listed("http://hl7.org/fhir/administrative-gender", &["female"]),
    );
    own["url"] = json!(gender);
    bench.store([own]).await;
    assert_eq!(bench.found(&format!("Patient?gender:in={gender}")).await, "");
}

#[tokio::test]
async fn of_several_versions_the_one_asked_for_or_the_latest_counts() {
    let bench = terminology_bench().await;
    let version = |id: &str, version: &str, status: &str, code: &str| {
        let mut value_set = value_set(id, listed("http://x/animals", &[code]));
        value_set["url"] = json!("http://x/vs/versions");
        value_set["version"] = json!(version);
        value_set["status"] = json!(status);
        value_set
    };
    bench.store(["dog", "cat", "bird"].map(seen)).await;
    bench
        .store([
            version("a", "9.0", "active", "dog"),
            version("b", "10.0", "active", "cat"),
        ])
        .await;
    bench.store([version("c", "11.0", "retired", "bird")]).await;
    bench
        .check(&[
            ("Observation?code:in=http://x/vs/versions", "cat"),
            ("Observation?code:in=http://x/vs/versions|9.0", "dog"),
            ("Observation?code:in=http://x/vs/versions|11.0", "bird"),
        ])
        .await;
    assert!(
        bench
            .refusal("Observation?code:in=http://x/vs/versions|12")
            .await
            .contains("versions|12 is not known")
    );
    // A version that was looked for in vain arrives.
    bench.store([version("d", "12", "active", "dog")]).await;
    bench
        .check(&[
            ("Observation?code:in=http://x/vs/versions|12", "dog"),
            ("Observation?code:in=http://x/vs/versions", "dog"),
        ])
        .await;
}

#[tokio::test]
async fn large_sets_are_joined() {
    let bench = terminology_bench().await;
    let many: Vec<Value> = (0..600).map(|n| json!({"code": format!("C{n}")})).collect();
    bench
        .store([
            code_system("many", json!([{"code": "top", "concept": many}, {"code": "aside"}])),
            value_set(
                "most",
                json!([{"system": "http://x/many",
                "filter": [{"property": "concept", "op": "descendent-of", "value": "top"}]}]),
            ),
            seen_as("first", "http://x/many", "c0"),
            seen_as("last", "http://x/many", "C599"),
            seen_as("top", "http://x/many", "top"),
            seen_as("aside", "http://x/many", "aside"),
            seen_as("elsewhere", "http://y/many", "C1"),
        ])
        .await;
    bench
        .check(&[
            ("Observation?code:in=http://x/vs/most", "first last"),
            ("Observation?code:in=http://x/vs/most&status=final", "first last"),
            ("Observation?code:in=http://x/vs/most,http://x/vs/most|", "first last"),
            ("Observation?code:not-in=http://x/vs/most", "aside elsewhere top"),
            ("Observation?code:below=http://x/many|top", "first last top"),
            (
                "Observation?code:below=http://x/many|top&code:in=http://x/vs/most&_sort=-code",
                "first last",
            ),
            ("Observation?code:above=http://x/many|c5", "top"),
        ])
        .await;
    assert_eq!(
        bench.pages("Observation?code:in=http://x/vs/most&_count=1").await,
        [["last"], ["first"]]
    );
    // The bare codes of an element whose binding names the system, here of the 600 languages that somebody listed.
    let codes: Vec<String> = (0..600).map(|n| format!("x{n}")).chain(["male".to_owned()]).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    bench
        .store([
            value_set("genders", listed("http://hl7.org/fhir/administrative-gender", &codes)),
            value_set("namesakes", listed("http://x/other", &codes)),
            patient("m", json!({"gender": "male"})),
        ])
        .await;
    bench
        .check(&[
            ("Patient?gender:in=http://x/vs/genders", "m"),
            ("Patient?gender:in=http://x/vs/namesakes", ""),
            ("Patient?gender:not-in=http://x/vs/genders", ""),
        ])
        .await;
}

#[tokio::test]
async fn a_fragment_is_searched_with_a_warning() {
    let bench = terminology_bench().await;
    let mut fragment = animals();
    fragment["content"] = json!("fragment");
    bench
        .store([fragment, value_set("all", json!([{"system": "http://x/animals"}]))])
        .await;
    bench.store(["dog", "unicorn"].map(seen)).await;
    for (query, found) in [
        ("code:in=http://x/vs/all", ["dog"]),
        ("code:below=http://x/animals|mammal", ["dog"]),
        ("code:below=http://x/animals|unicorn", ["unicorn"]),
    ] {
        let bundle = bench.bundle(&format!("Observation?{query}")).await;
        assert_eq!(ids(&bundle, "match"), found);
        assert!(bundle.to_string().contains("calls its content 'fragment'"), "{bundle}");
    }
}

#[tokio::test]
async fn chains_and_filters_ask_terminology() {
    let bench = terminology_bench().await;
    bench
        .store([
            animals(),
            value_set("dogs", descendants("dog")),
            json!({"resourceType": "Location", "id": "house"}),
            json!({"resourceType": "Location", "id": "room", "partOf": {"reference": "Location/house"}}),
            patient("owner", json!({"gender": "female"})),
            patient("other", json!({"gender": "male"})),
        ])
        .await;
    let of = |id: &str, code: &str, subject: &str| {
        let mut seen = seen_as(id, "http://x/animals", code);
        seen["subject"] = json!({"reference": format!("Patient/{subject}")});
        seen
    };
    let procedure = json!({"resourceType": "Procedure", "id": "walk", "status": "completed",
        "subject": {"reference": "Patient/owner"}, "location": {"reference": "Location/room"}});
    bench
        .store([of("a", "Poodle", "owner"), of("b", "cat", "other"), procedure])
        .await;
    bench
        .check(&[
            ("Patient?_has:Observation:patient:code:in=http://x/vs/dogs", "owner"),
            ("Patient?_has:Observation:patient:code:not-in=http://x/vs/dogs", "other"),
            (
                "Patient?_has:Observation:patient:code:below=http://x/animals|mammal",
                "other owner",
            ),
            ("Patient?_has:Procedure:patient:location:below=house", "owner"),
            (
                "Observation?patient.gender:in=http://hl7.org/fhir/ValueSet/administrative-gender",
                "a b",
            ),
            ("Observation?patient.gender:below=female&code:in=http://x/vs/dogs", "a"),
            ("Observation?_filter=code in http://x/vs/dogs", "a"),
            ("Observation?_filter=not (code in http://x/vs/dogs)", "b"),
            (
                "Observation?_filter=code ni http://x/vs/dogs or patient.gender eq female",
                "a b",
            ),
            ("Observation?_filter=code ss http://x/animals|dog", "a"),
            ("Observation?_filter=code sb http://x/animals|poodle", "a"),
            ("Procedure?_filter=location ss Location/house", "walk"),
        ])
        .await;
    let told = bench
        .refusal("Patient?_has:Observation:patient:code:in=http://x/vs/nothing")
        .await;
    assert!(told.contains("is not known"), "{told}");
}

#[tokio::test]
async fn conditions_of_writes_may_ask_terminology() {
    let bench = terminology_bench().await;
    bench
        .store([animals(), value_set("dogs", descendants("dog")), seen("Poodle")])
        .await;
    let mut connection = connect(&bench).await;
    let criteria = [("Observation".to_owned(), "code:in=http://x/vs/dogs".to_owned())];
    let found = matches_all(&mut connection, &bench.server, &Caller::sandbox(), &criteria)
        .await
        .unwrap();
    assert_eq!(found[0].len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_beside_writes_never_see_what_was_replaced() {
    let bench = Arc::new(terminology_bench().await);
    let codes: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    bench
        .store(codes.iter().map(|code| seen_as(code, "http://x/turn", code)))
        .await;
    let turn = |code: &str| [value_set("turn", listed("http://x/turn", &[code]))];
    bench.store(turn("c0")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let searchers = (0..6).map(|_| {
        let (bench, stop) = (bench.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Relaxed) {
                // Whatever the moment, the value set has exactly one code.
                assert_eq!(bench.find("Observation?code:in=http://x/vs/turn").await.len(), 1);
            }
        })
    });
    let searchers: Vec<_> = searchers.collect();
    for code in &codes {
        bench.store(turn(code)).await;
        assert_eq!(bench.found("Observation?code:in=http://x/vs/turn").await, *code);
    }
    stop.store(true, Relaxed);
    for searcher in searchers {
        searcher.await.unwrap();
    }
    let current: i64 = sqlx::query_scalar("SELECT count(*) FROM code_set WHERE superseded_at IS NULL")
        .fetch_one(&mut connect(&bench).await)
        .await
        .unwrap();
    assert_eq!(current, 1, "those who needed the same set at once made one");
}
