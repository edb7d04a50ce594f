//! What holds of prescriptions, whoever writes.

use super::*;

#[tokio::test]
async fn the_text_of_a_draft_is_written_from_its_structure() {
    let practice = Practice::open().await;
    let mut resource = draft("a", "R-1", "Metformin 500 mg tablets");
    resource["dosageInstruction"][0]["text"] = json!("five times a day");
    let stored = practice.put(resource.clone()).await.unwrap();
    assert_eq!(
        stored["dosageInstruction"][0]["text"],
        "Take 1 tablet by mouth once a day."
    );
    resource["dosageInstruction"][0]["timing"]["repeat"]["when"] = json!(["MORN", "EVE"]);
    let error = practice.put(resource).await.unwrap_err();
    assert_eq!(error.status, 422);
    assert_eq!(
        error.issues[0].expression,
        ["MedicationRequest.dosageInstruction[0].timing.repeat.when"]
    );
    // What claims nothing of ours is stored as it is.
    let mut foreign = draft("b", "R-2", "Metformin");
    foreign.as_object_mut().unwrap().remove("meta");
    foreign["groupIdentifier"]["system"] = json!("urn:elsewhere");
    foreign["status"] = json!("active");
    foreign["dosageInstruction"][0]["text"] = json!("as told");
    let stored = practice.put(foreign).await.unwrap();
    assert_eq!(stored["dosageInstruction"][0]["text"], "as told");
}

#[tokio::test]
async fn a_prescription_moves_as_its_states_allow() {
    let practice = Practice::open().await;
    let mut active = draft("a", "R-1", "Metformin");
    active["status"] = json!("active");
    let (status, text) = refused(practice.put(active).await);
    assert_eq!(status, 409);
    assert!(text.contains("begins as a draft") && text.contains("$sign"), "{text}");
    practice.put(draft("a", "R-1", "Metformin")).await.unwrap();
    let (status, text) = refused(practice.moved("a", "active").await);
    assert_eq!((status, text.contains("being signed")), (409, true), "{text}");
    let (status, text) = refused(practice.moved("a", "stopped").await);
    assert_eq!(status, 409);
    assert!(text.contains("A draft can become active"), "{text}");
    practice.sign(&["a"]).await.unwrap();
    practice.moved("a", "on-hold").await.unwrap();
    practice.moved("a", "active").await.unwrap();
    practice.moved("a", "completed").await.unwrap();
    let (status, text) = refused(practice.moved("a", "active").await);
    assert_eq!(
        (status, text.as_str()),
        (
            409,
            "It cannot become active. A prescription that is completed can become entered-in-error."
        )
    );
    practice.run_jobs().await;
}

#[tokio::test]
async fn what_is_signed_is_neither_changed_nor_deleted() {
    let practice = Practice::open().await;
    practice.signed("R-1", &[("a", "Metformin")]).await;
    let signed = practice.get("MedicationRequest/a").await.unwrap();
    let mut other = signed.clone();
    other["dispenseRequest"]["numberOfRepeatsAllowed"] = json!(9);
    let (status, text) = refused(practice.put(other).await);
    assert_eq!(status, 409);
    assert!(text.contains("priorPrescription"), "{text}");
    // Not by taking off what makes it ours, either.
    let mut bare = signed.clone();
    bare.as_object_mut().unwrap().remove("meta");
    bare.as_object_mut().unwrap().remove("groupIdentifier");
    assert_eq!(refused(practice.put(bare).await).0, 409);
    let delete = |id: &str| Write::Delete {
        target: Target::Instance {
            resource_type: "MedicationRequest".to_owned(),
            id: id.to_owned(),
        },
        if_match: None,
    };
    assert_eq!(
        refused(practice.write(&Caller::sandbox(), vec![delete("a")]).await).0,
        409
    );
    let mut stopped = signed.clone();
    stopped["status"] = json!("stopped");
    stopped["statusReason"] = json!({"text": "Rash"});
    practice.put(stopped).await.unwrap();
    practice.run_jobs().await;
    practice.put(draft("b", "R-2", "Metformin")).await.unwrap();
    practice.write(&Caller::sandbox(), vec![delete("b")]).await.unwrap();
}

#[tokio::test]
async fn nobody_forges_a_signature() {
    let practice = Practice::open().await;
    let signed = practice.signed("R-1", &[("a", "Metformin")]).await;
    let genuine = resources(&signed, "Provenance").remove(0);
    practice.put(draft("b", "R-2", "Ramipril")).await.unwrap();
    let mut active = practice.get("MedicationRequest/b").await.unwrap();
    active["status"] = json!("active");
    for data in [
        // No signature at all, one of something else, and one of the other prescription.
        json!("c2lnbmVk"),
        json!("ZXlKaGJHY2lPaUp1YjI1bEluMC4u"),
        genuine["signature"][0]["data"].clone(),
    ] {
        let mut forged = genuine.clone();
        forged["id"] = json!("forged");
        forged["target"] = json!([{"reference": "MedicationRequest/b/_history/2"}]);
        forged["signature"][0]["data"] = data;
        let writes = vec![put(active.clone()), put(forged)];
        let (status, text) = refused(practice.write(&practice.dora().await, writes).await);
        assert_eq!((status, text.contains("$sign")), (409, true), "{text}");
    }
    assert_eq!(practice.status("b").await, "draft");
}

#[tokio::test]
async fn sheets_are_the_servers_to_print() {
    let practice = Practice::open().await;
    let signed = practice.signed("R-1", &[("a", "Metformin")]).await;
    let mut document = resources(&signed, "DocumentReference").remove(0);
    document["content"][0]["attachment"]["title"] = json!("Something else");
    // With all the rights that a policy can give.
    let system = Caller::granted(Granted {
        scopes: vec![ScopeGrant {
            context: ScopeContext::System,
            resource_type: None,
            permissions: Permissions::ALL,
            filter: None,
        }],
        ..Granted::default()
    });
    let (status, text) = refused(practice.put_as(&system, document).await);
    assert_eq!(status, 409);
    assert!(text.contains("printed by the server"), "{text}");
}
