//! `_include` and `_revinclude`.

use serde_json::json;

use super::{ids, observation, patient, resource};
use crate::bench::bench;

#[tokio::test]
async fn includes_are_added_once() {
    let bench = bench().await;
    bench
        .store([
            resource("Practitioner", "doc", json!({})),
            resource("Organization", "org", json!({})),
            patient("p", json!({"generalPractitioner": [{"reference": "Practitioner/doc"}], "managingOrganization": {"reference": "Organization/org"}})),
            patient("lonely", json!({"link": [{"other": {"reference": "Patient/p"}, "type": "seealso"}]})),
            observation("o1", json!({"subject": {"reference": "Patient/p"}, "performer": [{"reference": "Practitioner/doc"}]})),
            observation("o2", json!({"subject": {"reference": "Patient/p"}, "performer": [{"reference": "Patient/absent"}]})),
        ])
        .await;
    for (query, matches, included) in [
        ("Observation?_include=Observation:subject", "o1 o2", "p"),
        (
            "Observation?_include=Observation:patient&_include=Observation:performer",
            "o1 o2",
            "doc p",
        ),
        (
            "Observation?_include=Observation:performer:Practitioner",
            "o1 o2",
            "doc",
        ),
        ("Observation?_include=Observation:performer:Organization", "o1 o2", ""),
        ("Observation?_include=*", "o1 o2", "doc p"),
        ("Patient?_id=p&_include=Patient:*", "p", "doc org"),
        ("Patient?_id=p&_revinclude=Observation:subject", "p", "o1 o2"),
        ("Patient?_id=p&_revinclude=Observation:subject:Patient", "p", "o1 o2"),
        (
            "Patient?_id=p&_revinclude=Observation:*&_include=Patient:organization",
            "p",
            "o1 o2 org",
        ),
        ("Patient?_include=Patient:link", "lonely p", ""),
        ("Patient?_id=lonely&_include=Patient:link", "lonely", "p"),
        (
            "Practitioner?_revinclude=Patient:general-practitioner&_revinclude=Observation:performer",
            "doc",
            "o1 p",
        ),
    ] {
        let bundle = bench.bundle(query).await;
        for (mode, expected) in [("match", matches), ("include", included)] {
            let mut ids = ids(&bundle, mode);
            ids.sort();
            assert_eq!(ids.join(" "), expected, "{query}: {mode}");
        }
    }
}
