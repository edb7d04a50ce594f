//! From outside: an application signs, a pharmacist scans, and what becomes of the sheet.

use super::*;
use crate::app::{Ask, TestApp, spawn_app};

async fn practice() -> TestApp {
    let app = spawn_app().await;
    for resource in [
        patient("ada"),
        practitioner("dora", "Dora"),
        organization(),
        role("dora", "dora", "doctor"),
    ] {
        store(&app, &resource).await;
    }
    app
}

async fn store(app: &TestApp, resource: &Value) {
    let path = format!(
        "{}/{}",
        resource["resourceType"].as_str().unwrap(),
        resource["id"].as_str().unwrap()
    );
    app.put(&path).fhir(resource).answer().await.expect(201);
}

async fn sign(app: &TestApp, ids: &[&str]) -> Value {
    let list: Vec<Value> = ids
        .iter()
        .map(|id| json!({"name": "prescription", "valueReference": {"reference": format!("MedicationRequest/{id}")}}))
        .collect();
    let parameters = json!({"resourceType": "Parameters", "parameter": list});
    let answer = app.post("MedicationRequest/$sign").fhir(&parameters).answer().await;
    answer.expect(200).json()
}

/// The address in the code of the sheet that is current.
async fn scanned(app: &TestApp, sheet: &str) -> String {
    let identifier = format!("{BASE}/sid/prescription|{sheet}");
    let found = app
        .get(&format!("DocumentReference?identifier={identifier}&status=current"))
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(found["total"], 1, "{found}");
    let url = found["entry"][0]["resource"]["content"][0]["attachment"]["url"].clone();
    let pdf = app
        .get(url.as_str().unwrap())
        .header("accept", "application/pdf")
        .answer()
        .await
        .expect(200);
    assert_eq!(pdf.header("content-type"), "application/pdf");
    let folder = std::env::temp_dir().join(format!(
        "medconsult-scan-{}-{}",
        std::process::id(),
        app.app.config.listen.port()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("sheet.pdf");
    std::fs::write(&file, &pdf.bytes).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program)
            .args(arguments)
            .current_dir(&folder)
            .output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `scripts/setup tests` installs it"));
        assert!(output.status.success(), "{program}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("pdftoppm", &["-png", "-singlefile", "-r", "150", "sheet.pdf", "sheet"]);
    let url = run(
        "zbarimg",
        &["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", "sheet.png"],
    );
    std::fs::remove_dir_all(&folder).unwrap();
    url.trim_end().to_owned()
}

async fn change(app: &TestApp, id: &str, status: &str) {
    let patch = json!([{"op": "replace", "path": "/status", "value": status}]);
    let request = app.patch(&format!("MedicationRequest/{id}"));
    let request = request
        .header("content-type", "application/json-patch+json")
        .body(patch.to_string());
    request.answer().await.expect(200);
}

#[tokio::test]
async fn a_pharmacist_sees_whether_the_sheet_holds_and_nothing_else() {
    let app = practice().await;
    for (id, medicine) in [("a", "Metformin 500 mg"), ("b", "Ramipril 5 mg")] {
        store(&app, &draft(id, "R-1", medicine)).await;
    }
    sign(&app, &["a", "b"]).await;
    let first = scanned(&app, "R-1").await;
    assert!(first.starts_with(&format!("{}/verify/", app.address)), "{first}");
    let page = app.get(&first).answer().await.expect(200);
    let text = page.text();
    for said in ["Valid", "R-1", "Dr. Dora Bell", "Praxis am Markt", "<dd>2</dd>"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    for secret in [
        "Ada",
        "Lovelace",
        "1985",
        "Metformin",
        "Ramipril",
        "tablet",
        "Ockham",
        "MedicationRequest",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    app.get("/verify/style.css").answer().await.expect(200);
    assert_eq!(
        app.get("/verify/keys").answer().await.expect(200).json()["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    app.get("/verify/guess").answer().await.expect(404);

    // At once, before anything is printed again.
    change(&app, "a", "stopped").await;
    assert!(app.get(&first).answer().await.expect(200).text().contains("Superseded"));
    app.app.worker().run_due().await.unwrap();
    let second = scanned(&app, "R-1").await;
    assert_ne!(first, second);
    assert!(app.get(&second).answer().await.expect(200).text().contains(">Valid<"));
    assert!(
        app.get(&first)
            .answer()
            .await
            .expect(200)
            .text()
            .contains(">Superseded<")
    );
    change(&app, "b", "cancelled").await;
    app.app.worker().run_due().await.unwrap();
    let third = scanned(&app, "R-1").await;
    for url in [first, second, third] {
        assert!(app.get(&url).answer().await.expect(200).text().contains(">Withdrawn<"));
    }
}

#[tokio::test]
async fn a_sheet_expires_and_is_used_up() {
    let app = practice().await;
    let mut old = draft("old", "R-1", "Metformin");
    old["dispenseRequest"]["validityPeriod"] = json!({"start": "2020-01-01", "end": "2020-03-01"});
    store(&app, &old).await;
    store(&app, &draft("used", "R-2", "Ramipril")).await;
    sign(&app, &["old"]).await;
    sign(&app, &["used"]).await;
    let (expired, used) = (scanned(&app, "R-1").await, scanned(&app, "R-2").await);
    assert!(
        app.get(&expired)
            .answer()
            .await
            .expect(200)
            .text()
            .contains(">Expired<")
    );
    assert!(app.get(&used).answer().await.expect(200).text().contains(">Valid<"));
    change(&app, "used", "completed").await;
    assert!(app.get(&used).answer().await.expect(200).text().contains(">Completed<"));
    app.app.worker().run_due().await.unwrap();
}

#[tokio::test]
async fn the_server_says_what_it_can_do() {
    let app = practice().await;
    let statement = app.get("metadata").answer().await.expect(200).json();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let resource = resources
        .iter()
        .find(|resource| resource["type"] == "MedicationRequest")
        .unwrap();
    let names: Vec<&str> = resource["operation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| operation["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"check") && names.contains(&"sign"), "{names:?}");
}
