//! Identity and access: who is let in, and to what.

mod accounts;
mod audit;
mod backend;
mod bearer;
mod checklist;
mod chromium;
mod clients;
mod commands;
mod details;
mod discovery;
mod key_sets;
mod launch;
mod passkeys;
mod provider;
mod second_factor;
mod signing_keys;
mod visitor;

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use medconsult::auth::clients::{NewClient, NewProof, add as add_client};
use medconsult::auth::scopes::Scopes;
use medconsult::base::crypto::Vault;
use medconsult::config::{Auth, Config};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::app::{Answer, Ask, TestApp, clusters_directory, spawn_app_with};

/// A key pair of a client. Making one takes a while, so all tests share them.
pub struct ClientKey {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

pub static RSA: LazyLock<ClientKey> = LazyLock::new(|| ClientKey::rsa("rsa"));
static EC: LazyLock<ClientKey> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    ClientKey {
        kid: "ec",
        algorithm: Algorithm::ES384,
        private: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
    }
});

impl ClientKey {
    fn rsa(kid: &'static str) -> ClientKey {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
        // The key itself begins after a header that is the same for all RSA keys of this size.
        let private = EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]);
        ClientKey {
            kid,
            algorithm: Algorithm::RS384,
            private,
        }
    }

    fn public(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        header
    }

    pub fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.private).unwrap()
    }
}

/// A server that lets nobody in without a token.
pub async fn spawn_guarded_app() -> TestApp {
    spawn_app_with(guard).await
}

/// The resource that stands for the person with this address: `Patient/…`, `Practitioner/…`
async fn profile_of(app: &TestApp, email: &str) -> String {
    sqlx::query_scalar("SELECT profile FROM account WHERE email = $1")
        .bind(email)
        .fetch_one(&app.app.database.write)
        .await
        .unwrap()
}

/// Turns access control on, with a folder of the test's own for its mails.
pub fn guard(config: &mut Config) {
    config.auth = Auth::On;
    config.data_dir = clusters_directory().join(format!("{}-{}", std::process::id(), config.listen.port()));
    config.identity.master_key = Vault::new_key().into();
}

impl TestApp {
    /// Registers a back end that signs with [`RSA`] or [`EC`].
    pub async fn register_backend(&self, id: &str, scope: &str) {
        let client = NewClient {
            id,
            name: "A back end",
            scopes: &Scopes::parse(scope).unwrap(),
            redirect_uris: &[],
            launch_url: None,
            launches: false,
            proof: NewProof::Keys(&json!({"keys": [RSA.public(), EC.public()]})),
        };
        let now = self.app.clock.now();
        assert!(add_client(&self.app.database.write, now, &client).await.unwrap());
    }

    /// The claims of an assertion that is good now.
    pub fn claims(&self, client: &str) -> Value {
        let now = self.app.clock.now().as_second();
        let jti = self.app.ids.next().to_string();
        json!({"iss": client, "sub": client, "aud": format!("{}/auth/token", self.address), "exp": now + 120, "jti": jti})
    }

    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.finish())
    }

    /// A request to one of the endpoints that identifies the client by `assertion`.
    async fn signed(&self, path: &str, assertion: &str, fields: &[(&str, &str)]) -> Answer {
        let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut all = vec![("client_assertion_type", jwt_bearer), ("client_assertion", assertion)];
        all.extend_from_slice(fields);
        self.form(path, &all).answer().await
    }

    pub async fn ask_for_token(&self, assertion: &str, scope: &str) -> Answer {
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        self.signed("/auth/token", assertion, &fields).await
    }

    /// A fresh access token of a back end.
    pub async fn token(&self, client: &str, scope: &str) -> String {
        let answer = self
            .ask_for_token(&RSA.sign(&self.claims(client)), scope)
            .await
            .expect(200);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}
