//! What people say about themselves on the page of their account, and where it stands afterwards.

use medconsult::auth::accounts::Role;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::second_factor::{invited, set_up};
use super::spawn_guarded_app;
use super::visitor::{Visitor, sent_to};
use crate::app::{Answer, Ask, TestApp};

const ADA: &str = "ada@clinic.example";
const PASSWORD: &str = "plover wants eleven lamps";
const PAGE: &str = "/auth/account/details";
/// One transparent pixel, with a comment that nobody should see.
const PICTURE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
    \0\0\0\x0etEXtComment\0secretd\xaa\xc5)\0\0\0\x0b\
    IDATx\x9cc`\0\x02\0\0\x05\0\x01z^\xab?\0\0\0\0IEND\xaeB`\x82";

const FILLED: [(&str, &str); 10] = [
    ("given", "Augusta Ada"),
    ("family", "King"),
    ("phone", "+49 30 123456"),
    ("street", "Some Street 1\r\nBack house"),
    ("postal_code", "10115"),
    ("city", "Berlin"),
    ("country", "Germany"),
    ("language", "de"),
    ("time_zone", "Europe/Berlin"),
    ("wanted", "appointment-approved"),
];

async fn signed_in(app: &TestApp) -> Visitor<'_> {
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    sent_to(&ada.sign_in(ADA, PASSWORD).await, "/auth/account");
    ada
}

/// The only resource of a type.
async fn only(app: &TestApp, token: &str, resource_type: &str) -> Value {
    let bundle = app
        .get(resource_type)
        .bearer_auth(token)
        .answer()
        .await
        .expect(200)
        .json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    assert_eq!(entries.len(), 1, "{bundle}");
    entries[0]["resource"].clone()
}

impl Visitor<'_> {
    /// Sends the form with a file, as a browser does.
    async fn upload(&mut self, token: &str, file: &[u8]) -> Answer {
        let mut body =
            format!("--edge\r\nContent-Disposition: form-data; name=\"form_token\"\r\n\r\n{token}\r\n").into_bytes();
        body.extend_from_slice(
            b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"me.png\"\r\nContent-Type: image/png\r\n\r\n",
        );
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let request = client
            .post(format!("{}/auth/account/picture", self.app.address))
            .header("content-type", "multipart/form-data; boundary=edge")
            .header("cookie", cookies.join("; "))
            .body(body);
        request.answer().await
    }
}

#[tokio::test]
async fn what_a_patient_says_stands_in_their_records() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let page = ada.open(PAGE).await.expect(200).text();
    assert!(page.contains("<option>Europe/Berlin</option>") && page.contains("value=\"Lovelace\""));
    sent_to(&ada.submit(PAGE, &FILLED).await, PAGE);

    let patient = only(&app, &token, "Patient").await;
    assert_eq!(patient["meta"]["versionId"], "2");
    assert_eq!(
        patient["name"],
        json!([{"use": "official", "family": "King", "given": ["Augusta Ada"]}])
    );
    assert_eq!(
        patient["telecom"],
        json!([{"system": "phone", "value": "+49 30 123456"}])
    );
    assert_eq!(patient["address"][0]["line"], json!(["Some Street 1", "Back house"]));
    assert_eq!(patient["communication"][0]["language"]["coding"][0]["code"], "de");
    let extension = |name: &str| {
        let url = format!("https://medconsult.example/fhir/StructureDefinition/{name}");
        let all = patient["extension"].as_array().unwrap();
        all.iter()
            .filter(|extension| extension["url"] == *url)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(extension("time-zone")[0]["valueCode"], "Europe/Berlin");
    // All but the one that was ticked.
    assert_eq!(extension("notification-preference").len(), 11);
    let person = only(&app, &token, "Person").await;
    assert_eq!(
        (&person["name"], &person["telecom"], &person["address"]),
        (&patient["name"], &patient["telecom"], &patient["address"])
    );
    // What is indexed follows, as for every write.
    let found = app
        .get("Patient?address-city=Berlin&phone=%2B49%2030%20123456")
        .bearer_auth(&token);
    assert_eq!(
        found.answer().await.expect(200).json()["entry"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let page = ada.open(PAGE).await.expect(200).text();
    for part in [
        "value=\"Augusta Ada\"",
        "<option selected>Europe/Berlin</option>",
        "<option value=\"de\" lang=\"de\" selected>",
        "value=\"appointment-approved\" checked",
        "Back house</textarea>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("value=\"payment-failed\" checked"));
    assert!(
        ada.open("/auth/account")
            .await
            .expect(200)
            .text()
            .contains("Augusta Ada King, patient")
    );

    // What cannot be right is told at its field, and nothing is stored.
    let mut wrong = FILLED;
    wrong[2].1 = "none of your business";
    wrong[8].1 = "Mars/Olympus";
    let page = ada.submit(PAGE, &wrong).await.expect(422).text();
    assert!(
        page.contains("aria-describedby=\"phone-problem\"") && page.contains("href=\"#time_zone\""),
        "{page}"
    );
    assert!(page.contains("value=\"none of your business\""));
    assert_eq!(only(&app, &token, "Patient").await["meta"]["versionId"], "2");
}

#[tokio::test]
async fn a_practitioner_says_it_too() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Practitioner).await;
    set_up(&mut grace).await;
    grace.open(PAGE).await.expect(200);
    sent_to(&grace.submit(PAGE, &FILLED).await, PAGE);
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let practitioner = only(&app, &token, "Practitioner").await;
    let german = json!([{"coding": [{"system": "urn:ietf:bcp:47", "code": "de"}]}]);
    assert_eq!(practitioner["communication"], german);
    assert_eq!(practitioner["name"][0]["family"], "King");
    let page = grace.open(PAGE).await.expect(200).text();
    assert!(page.contains("<option value=\"de\" lang=\"de\" selected>"));
}

#[tokio::test]
async fn a_picture_is_cleaned_kept_shown_and_removed() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    ada.open("/auth/account/picture").await.expect(404);
    ada.open(PAGE).await.expect(200);
    let form_token = ada.form_token.clone();
    sent_to(&ada.upload(&form_token, PICTURE).await, PAGE);

    let patient = only(&app, &token, "Patient").await;
    let photo = &patient["photo"][0];
    let binary = app.get(photo["url"].as_str().unwrap()).bearer_auth(&token);
    let binary = binary
        .header("accept", "application/fhir+json")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(
        binary["securityContext"]["reference"],
        format!("Patient/{}", patient["id"].as_str().unwrap())
    );
    assert_eq!(only(&app, &token, "Person").await["photo"]["url"], photo["url"]);
    let shown = ada.open("/auth/account/picture").await.expect(200);
    assert_eq!(shown.header("content-type"), "image/png");
    assert!(shown.header("content-security-policy").contains("sandbox"));
    assert_eq!(photo["size"], shown.bytes.len());
    assert!(shown.bytes.len() < PICTURE.len() && !shown.text().contains("secret"));
    assert!(
        ada.open(PAGE)
            .await
            .expect(200)
            .text()
            .contains("src=\"/auth/account/picture\"")
    );

    // Another one takes its place; what is no picture, is too large, or comes from elsewhere does not.
    sent_to(&ada.upload(&form_token, PICTURE).await, PAGE);
    let next = only(&app, &token, "Patient").await["photo"][0]["url"].clone();
    assert_ne!(next, photo["url"]);
    app.get(photo["url"].as_str().unwrap())
        .bearer_auth(&token)
        .answer()
        .await
        .expect(410);
    let refused = ada.upload(&form_token, b"<svg onload=alert(1)>").await.expect(422);
    assert!(refused.text().contains("This is no JPEG or PNG picture."));
    ada.upload(&form_token, &vec![0xFF; 2 * 1024 * 1024 + 1])
        .await
        .expect(422);
    ada.upload(&form_token, &vec![0xFF; 3 * 1024 * 1024]).await.expect(413);
    ada.upload("another token", PICTURE).await.expect(403);
    sent_to(&app.visitor().upload(&form_token, PICTURE).await, "/auth/sign-in");
    assert_eq!(only(&app, &token, "Patient").await["photo"][0]["url"], next);

    ada.open(PAGE).await.expect(200);
    sent_to(&ada.submit("/auth/account/picture/remove", &[]).await, PAGE);
    assert_eq!(only(&app, &token, "Patient").await["photo"], Value::Null);
    ada.open("/auth/account/picture").await.expect(404);
    let left = app.get("Binary").bearer_auth(&token).answer().await.expect(200).json();
    assert!(left.get("entry").is_none(), "{left}");
}

#[tokio::test]
async fn two_who_change_a_record_do_not_overwrite_each_other() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    ada.open(PAGE).await.expect(200);
    // The practice adds an identifier while the page is open: saving keeps it.
    let mut patient = only(&app, &token, "Patient").await;
    patient["identifier"] = json!([{"system": "urn:clinic", "value": "7"}]);
    let path = format!("Patient/{}", patient["id"].as_str().unwrap());
    app.put(&path)
        .bearer_auth(&token)
        .fhir(&patient)
        .answer()
        .await
        .expect(200);
    sent_to(&ada.submit(PAGE, &FILLED).await, PAGE);
    let now = only(&app, &token, "Patient").await;
    assert_eq!(
        (&now["identifier"], &now["name"][0]["family"]),
        (&patient["identifier"], &json!("King"))
    );
    // A record that is gone cannot be changed.
    app.delete(&path).bearer_auth(&token).answer().await.expect(204);
    ada.open(PAGE).await.expect(503);
}
