//! `medconsult load`, run as a person runs it, into a server of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, spawn_app};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("medconsult-load-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("in")).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join("in").join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(app: &TestApp, folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medconsult"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEDCONSULT_")) {
        command.env_remove(name);
    }
    command.arg("load").arg(folder.0.join("in")).args(["--base", &app.base]);
    command.env("MEDCONSULT_DATA_DIR", &folder.0).env_remove("DATABASE_URL");
    command
}

/// Loads the folder; whether all was stored, and what was said.
async fn load(app: &TestApp, folder: &Folder) -> (bool, String) {
    let mut command = command(app, folder);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn get(app: &TestApp, path: &str) -> Value {
    let response = app
        .client
        .request(Method::GET, format!("{}/{path}", app.base))
        .send()
        .await
        .unwrap();
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn files_may_refer_to_each_other_in_any_order_and_loading_twice_changes_nothing() {
    let (app, folder) = (spawn_app().await, Folder::new("order"));
    let encounter = json!({
        "resourceType": "Bundle", "type": "transaction", "entry": [{
            "fullUrl": "urn:uuid:2a5497a1-7397-4d70-9d1f-e03572b99d85",
            "resource": {
                "resourceType": "Encounter", "status": "finished", "class": { "code": "AMB" },
                "participant": [{ "individual": { "reference": "Practitioner?identifier=http://a.example|7" } }],
            },
            "request": { "method": "POST", "url": "Encounter" },
        }],
    });
    let practitioner = json!({ "resourceType": "Practitioner", "id": "p", "identifier": [{ "system": "http://a.example", "value": "7" }] });
    folder.write("a.json", &encounter.to_string());
    folder.write("z.ndjson", &format!("{practitioner}\n\n"));

    let (stored, said) = load(&app, &folder).await;
    assert!(
        stored && said.contains("2 resources stored (2 created, 0 updated)"),
        "{said}"
    );
    let encounter = get(&app, "Encounter/2a5497a1-7397-4d70-9d1f-e03572b99d85").await;
    assert_eq!(encounter["participant"][0]["individual"]["reference"], "Practitioner/p");

    let (stored, said) = load(&app, &folder).await;
    assert!(
        stored && said.contains("0 resources stored") && said.contains("2 unchanged"),
        "{said}"
    );
}

/// `kill -9` in the midst of a load, and the same command again: everything is there, and nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_killed_is_completed_by_the_next() {
    const FILES: usize = 60;
    const PER_FILE: usize = 20;
    let (app, folder) = (spawn_app().await, Folder::new("killed"));
    for file in 0..FILES {
        // Creates without a condition, half of them named by their file: what would be doubled first.
        let entry = |n: usize| {
            let name = format!("{file}-{n}");
            let mut entry = json!({
                "resource": { "resourceType": "Patient", "identifier": [{ "system": "urn:load", "value": name }] },
                "request": { "method": "POST", "url": "Patient" },
            });
            if n.is_multiple_of(2) {
                entry["fullUrl"] = json!(format!("urn:uuid:00000000-0000-4000-8000-{file:06}{n:06}"));
            }
            entry
        };
        let entries: Vec<Value> = (0..PER_FILE).map(entry).collect();
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
        folder.write(&format!("{file}.json"), &bundle.to_string());
    }
    let total = async || get(&app, "Patient?_summary=count").await["total"].as_u64().unwrap();

    let mut first = command(&app, &folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while total().await == 0 {
        assert!(
            first.try_wait().unwrap().is_none(),
            "the load ended before anything was stored"
        );
    }
    first.kill().unwrap(); // SIGKILL
    first.wait().unwrap();
    let whole = (FILES * PER_FILE) as u64;
    assert!(total().await < whole, "the load was complete before it was killed");

    let (stored, said) = load(&app, &folder).await;
    assert!(stored, "{said}");
    assert_eq!(total().await, whole);
    for file in [0, FILES / 2, FILES - 1] {
        for n in 0..PER_FILE {
            let found = get(&app, &format!("Patient?identifier=urn:load|{file}-{n}&_total=accurate")).await;
            assert_eq!(found["total"], 1, "{file}-{n}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_reported_and_the_rest_is_stored() {
    let (app, folder) = (spawn_app().await, Folder::new("refused"));
    let lines = [
        r#"{"resourceType":"Patient","id":"good"}"#,
        r#"{"resourceType":"Patient","id":"bad","wings":2}"#,
        "not JSON",
    ];
    folder.write("patients.ndjson", &lines.join("\n"));
    folder.write("other.json", r#"{"resourceType":"Bundle","type":"history"}"#);

    let (stored, said) = load(&app, &folder).await;
    assert!(
        !stored && said.contains("1 resource stored") && said.contains("3 refused"),
        "{said}"
    );
    assert_eq!(get(&app, "Patient/good").await["id"], "good");
    let report = fs::read_to_string(folder.0.join("load-refused.ndjson")).unwrap();
    let report: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut entries: Vec<_> = report.iter().map(|line| line["entry"].as_u64()).collect();
    entries.sort_unstable();
    assert_eq!(entries, [None, Some(1), Some(2)]);
    assert!(
        report.iter().all(|line| line["issue"][0]["diagnostics"].is_string()),
        "{report:?}"
    );
}

/// Synthea's patients, from the data beside the repository (or `MEDCONSULT_SHARED`): the hospitals, the practitioners and
/// the three smallest patients, or all with `SYNTHEA=all`.
#[tokio::test]
async fn each_resource_of_synthea_reads_back_as_it_went_in() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("MEDCONSULT_SHARED").map_or(beside, PathBuf::from);
    let archive = shared.join("data/synthea/patients.tar.xz");
    if !archive.exists() {
        skipped!("there is no {}", archive.display());
        return;
    }
    let (app, folder) = (spawn_app().await, Folder::new("synthea"));
    let input = folder.0.join("in");
    assert!(
        Command::new("tar")
            .arg("-xJf")
            .arg(&archive)
            .arg("-C")
            .arg(&input)
            .status()
            .unwrap()
            .success()
    );
    let mut files: Vec<_> = fs::read_dir(&input)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    if std::env::var("SYNTHEA").as_deref() != Ok("all") {
        files.sort_by_key(|path| {
            (
                !path.to_string_lossy().contains("Information"),
                fs::metadata(path).unwrap().len(),
            )
        });
        files.drain(5..).for_each(|path| fs::remove_file(path).unwrap());
    }

    let (stored, said) = load(&app, &folder).await;
    assert!(stored, "{said}");
    let mut compared = 0;
    for path in files {
        let bundle: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for entry in bundle["entry"].as_array().unwrap() {
            compare(&app, &bundle, entry).await;
            compared += 1;
        }
    }
    eprintln!("{compared} resources of Synthea compared");
}

async fn compare(app: &TestApp, bundle: &Value, entry: &Value) {
    let kind = entry["request"]["url"].as_str().unwrap();
    let mut expected = entry["resource"].clone();
    let mut stored = match entry["request"]["ifNoneExist"].as_str() {
        Some(criteria) => get(app, &format!("{kind}?{criteria}")).await["entry"][0]["resource"].clone(),
        None => {
            get(
                app,
                &format!(
                    "{kind}/{}",
                    entry["fullUrl"].as_str().unwrap().trim_start_matches("urn:uuid:")
                ),
            )
            .await
        }
    };
    // What the server must set.
    let meta = stored["meta"]
        .as_object_mut()
        .unwrap_or_else(|| panic!("{entry} is not there"));
    meta.retain(|name, _| name != "versionId" && name != "lastUpdated");
    if expected["meta"].is_null() {
        stored.as_object_mut().unwrap().remove("meta");
    }
    if !entry["request"]["ifNoneExist"].is_null() {
        expected["id"] = stored["id"].clone();
    }
    resolve(&mut expected, &stored, bundle);
    assert_eq!(stored, expected);
}

/// Replaces what a transaction replaces: references to other entries, and those that are a search.
fn resolve(expected: &mut Value, stored: &Value, bundle: &Value) {
    match expected {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if name == "reference" && text.starts_with("urn:uuid:") => {
                        let entries = bundle["entry"].as_array().unwrap();
                        let target = entries.iter().find(|entry| entry["fullUrl"] == text).unwrap();
                        let kind = target["resource"]["resourceType"].as_str().unwrap();
                        *member = format!("{kind}/{}", text.trim_start_matches("urn:uuid:")).into();
                    }
                    Some(text) if name == "reference" && text.contains('?') => {
                        let found = stored[name.as_str()].as_str().unwrap_or_default();
                        let (kind, _) = text.split_once('?').unwrap();
                        assert!(found.starts_with(&format!("{kind}/")), "{text} became {found}");
                        *member = found.into();
                    }
                    _ => resolve(member, &stored[name.as_str()], bundle),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .for_each(|(index, item)| resolve(item, &stored[index], bundle)),
        _ => {}
    }
}
