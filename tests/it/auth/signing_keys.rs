//! The keys that id_tokens are signed with.

use jiff::SignedDuration;
use medconsult::auth::keys;
use serde_json::json;

use super::spawn_guarded_app;
use crate::app::Ask;

#[tokio::test]
async fn signing_keys_take_turns() {
    let app = spawn_guarded_app().await;
    let auth = app.app.auth.as_ref().unwrap();
    let kids = async || -> Vec<String> {
        let keys = app.get("/auth/jwks").answer().await.expect(200).json();
        assert!(!keys.to_string().contains("\"d\""));
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let signs = async || {
        let signed = keys::sign(auth, &json!({"sub": "x"})).await.unwrap();
        jsonwebtoken::decode_header(&signed).unwrap().kid.unwrap()
    };
    let tend = async |later: SignedDuration| {
        keys::tend(&auth.pool, &auth.vault, app.app.clock.now() + later)
            .await
            .unwrap()
    };

    let before = kids().await;
    let old = signs().await;
    assert_eq!(before.len(), 2);
    let next = before.iter().find(|kid| **kid != old).unwrap().clone();
    tend(SignedDuration::from_hours(24)).await;
    assert_eq!(kids().await.len(), 2);

    // The one that was published beforehand signs; the old one can still be checked; another one comes next.
    tend(keys::TURN).await;
    assert_eq!(signs().await, next);
    let after = kids().await;
    assert!(after.len() == 3 && after.contains(&old) && after.contains(&next));
    tend(keys::TURN + keys::RETAINED).await;
    let last = kids().await;
    assert!(last.len() == 2 && !last.contains(&old) && last.contains(&next));

    // A key that is withdrawn is gone at once, and the next one signs.
    let mut connection = app.connection().await;
    assert!(keys::revoke(&mut connection, &next).await.unwrap());
    assert!(!keys::revoke(&mut connection, &next).await.unwrap());
    assert!(!kids().await.contains(&next) && last.contains(&signs().await));

    // Under another master key nothing is signed.
    let other = medconsult::base::crypto::Vault::new(&medconsult::base::crypto::Vault::new_key()).unwrap();
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT private FROM signing_key WHERE state = 'active'")
        .fetch_one(&auth.pool)
        .await
        .unwrap();
    let kid = signs().await;
    let place = format!("signing key {kid}");
    assert!(other.open(&place, &sealed).is_err() && auth.vault.open(&place, &sealed).is_ok());
}
