//! The signature of a sheet: a detached JWS (ES256, <https://www.rfc-editor.org/rfc/rfc7515#appendix-F>) of the prescriptions as they
//! are stored, made by the practice's key when the prescriber has just proved who they are. FHIR's page is
//! <https://hl7.org/fhir/R4/signatures.html>.
//!
//! What is signed is a JSON array of the MedicationRequests in the order of `Provenance.target`, each in FHIR's canonical form
//! `http://hl7.org/fhir/canonicalization/json#static`: without narrative and `meta`, members in order of their names, no white space.
//! `GET /verify/keys` has the public keys, so that anybody can check it without us.
//!
//! The key is made by the first signature of a database, and sealed under the server's master key.

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::base::crypto::{Vault, digest_of, random_token};
use crate::fhir::resource::instant;

/// Name of the canonical form in the header of a signature.
const CANONICAL: &str = "http://hl7.org/fhir/canonicalization/json#static";

/// Opens the vault when it is needed: a server that signs nothing needs no master key.
type OpenVault = Box<dyn Fn() -> Result<Vault> + Send + Sync>;

/// Signs, and checks what it signed.
pub struct Signer {
    pool: PgPool,
    vault: OpenVault,
    key: OnceCell<Key>,
}

struct Key {
    kid: String,
    pair: EcdsaKeyPair,
}

/// A signature with what it says of itself.
#[derive(Clone, Debug)]
pub struct Signed {
    /// For `Provenance.signature.data`.
    pub data: String,
    /// The beginning of the hash of what was signed, in hexadecimal groups: printed on the sheet.
    pub fingerprint: String,
}

impl Signer {
    pub fn new(pool: PgPool, vault: impl Fn() -> Result<Vault> + Send + Sync + 'static) -> Signer {
        Signer {
            pool,
            vault: Box::new(vault),
            key: OnceCell::new(),
        }
    }

    /// Signs `prescriptions`, each with its id.
    ///
    /// # Errors
    /// When the key is not to be had.
    pub async fn sign(&self, prescriptions: &[(&str, &Value)], now: Timestamp) -> Result<Signed> {
        let key = self.key(now).await?;
        let header = json!({"alg": "ES256", "kid": key.kid, "canon": CANONICAL, "sigT": instant(now)});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = payload(prescriptions);
        let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&payload));
        let signature = key.pair.sign(&SystemRandom::new(), input.as_bytes());
        let signature = signature.map_err(|_| anyhow!("the key of prescriptions does not sign"))?;
        let jws = format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(Signed {
            data: STANDARD.encode(jws),
            fingerprint: fingerprint(&payload),
        })
    }

    /// Whether `data` is a signature of these by the present key.
    ///
    /// # Errors
    /// When the key is not to be had.
    pub async fn has_signed(&self, data: &str, prescriptions: &[(&str, &Value)], now: Timestamp) -> Result<bool> {
        let key = self.key(now).await?;
        let is_ours = || -> Option<bool> {
            let jws = String::from_utf8(STANDARD.decode(data).ok()?).ok()?;
            let (header, signature) = jws.split_once("..")?;
            let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
            if said["alg"] != "ES256" || said["kid"] != key.kid.as_str() || said["canon"] != CANONICAL {
                return None;
            }
            let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload(prescriptions)));
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            Some(public.verify(input.as_bytes(), &signature).is_ok())
        };
        Ok(is_ours().unwrap_or(false))
    }

    async fn key(&self, now: Timestamp) -> Result<&Key> {
        self.key.get_or_try_init(|| self.load(now)).await
    }

    /// The present key; of servers that need one at the same time, one makes it for all.
    async fn load(&self, now: Timestamp) -> Result<Key> {
        const SQL: &str = "SELECT kid, sealed FROM prescription_key WHERE is_current";
        let vault = (self.vault)()?;
        let known: Option<(String, Vec<u8>)> = sqlx::query_as(SQL).fetch_optional(&self.pool).await?;
        let (kid, sealed) = match known {
            Some(known) => known,
            None => {
                self.make(&vault, now).await?;
                sqlx::query_as(SQL).fetch_one(&self.pool).await?
            }
        };
        let private = vault.open(&place(&kid), &sealed).context("the key of prescriptions")?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private);
        let pair = pair.map_err(|_| anyhow!("the key of prescriptions is none"))?;
        Ok(Key { kid, pair })
    }

    async fn make(&self, vault: &Vault, now: Timestamp) -> Result<()> {
        let broken = |_| anyhow!("a key could not be made");
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(broken)?;
        let kid = random_token()[..16].to_owned();
        // An uncompressed point: 4, x, y.
        let point = pair.public_key().as_ref();
        let public = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        });
        let private = pair.to_pkcs8v1().map_err(broken)?;
        sqlx::query(
            "INSERT INTO prescription_key (kid, sealed, public, made_at, is_current) VALUES ($1, $2, $3, $4, true) \
             ON CONFLICT (is_current) DO NOTHING",
        )
        .bind(&kid)
        .bind(vault.seal(&place(&kid), private.as_ref()))
        .bind(public)
        .bind(now.to_sqlx())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn place(kid: &str) -> String {
    format!("prescription key {kid}")
}

/// What is signed.
fn payload(prescriptions: &[(&str, &Value)]) -> Vec<u8> {
    let canonical = prescriptions.iter().map(|(id, content)| {
        let mut content = sorted(content);
        if let Value::Object(members) = &mut content {
            members.shift_remove("meta");
            members.shift_remove("text");
            members.insert("id".to_owned(), json!(id));
            members.sort_keys();
        }
        content
    });
    Value::Array(canonical.collect()).to_string().into_bytes()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Map<String, Value> = members
                .iter()
                .map(|(name, value)| (name.clone(), sorted(value)))
                .collect();
            members.sort_keys();
            Value::Object(members)
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// What is printed of a signature of these.
pub fn fingerprint_of(prescriptions: &[(&str, &Value)]) -> String {
    fingerprint(&payload(prescriptions))
}

fn fingerprint(payload: &[u8]) -> String {
    let hash = digest_of(payload);
    let groups = hash[..16]
        .chunks(2)
        .map(|pair| format!("{:02x}{:02x}", pair[0], pair[1]));
    groups.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_has_neither_narrative_nor_order() {
        let a = json!({"status": "active", "id": "7", "meta": {"versionId": "2"}, "text": {"status": "generated"},
            "dose": [{"unit": "mg", "value": 5}]});
        let b = json!({"dose": [{"value": 5, "unit": "mg"}], "status": "active"});
        assert_eq!(payload(&[("7", &a)]), payload(&[("7", &b)]));
        assert_eq!(
            String::from_utf8(payload(&[("7", &a)])).unwrap(),
            r#"[{"dose":[{"unit":"mg","value":5}],"id":"7","status":"active"}]"#
        );
        assert_eq!(fingerprint(b"x").len(), 39);
    }
}
