//! `Binary/[id]/$presigned-url`: an address at which the bytes of one version of a Binary can be read without a token, by one reader,
//! for minutes. For what cannot send a token: an `<img>`, a viewer, a download manager.
//!
//! The address holds 256 random bits and nothing else. What it opens, until when, and for whom it was made stand in a row of the
//! database under the hash of these bits, so that there is nothing in it to forge or to widen.
//!
//! | use | status |
//! |---|---|
//! | the first | 200, 206 |
//! | further parts (`Range`), from the same network address | 206 |
//! | any other | 404 |
//! | after its time | 404 |

use std::sync::{Arc, LazyLock};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use serde_json::{Value, json};

use crate::base::crypto;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::{Answer, binary, envelope};
use crate::fhir::resource::instant;
use crate::fhir::server::FhirServer;
use crate::fhir::trail::{Event, Kind, Who};
use crate::knowledge::profiles;

static DEFINITION: LazyLock<&'static Value> = LazyLock::new(|| profiles::operation("binary-presigned-url"));

/// See the [module](self).
#[derive(Debug)]
pub struct PresignedUrl {
    /// What the server is called, without a slash at the end.
    pub root_url: String,
    /// How long an address works.
    pub lasts: SignedDuration,
}

impl Operation for PresignedUrl {
    fn definition(&self) -> &Value {
        &DEFINITION
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        const SQL: &str = "INSERT INTO presigned_url (token, binary_id, version, expires_at, who) \
             VALUES ($1, $2, $3, $4, $5)";
        Box::pin(async move {
            let id = input.id.unwrap_or_default();
            let found = server.look(caller, "Binary", &id).await?;
            let stored = found.ok_or_else(|| FhirError::not_found("Binary", &id))?;
            if stored.deleted {
                return Err(FhirError::gone("Binary", &id));
            }
            let token = crypto::random_token();
            let expires = server.clock.now() + self.lasts;
            let who = Event::new(Kind::Read).by(caller).who;
            let mut lease = server.store.fixed().await?;
            sqlx::query(SQL)
                .bind(&crypto::digest(&token)[..])
                .bind(&stored.id)
                .bind(stored.version)
                .bind(expires.to_sqlx())
                .bind(sqlx::types::Json(&who))
                .execute(&mut *lease)
                .await?;
            lease.release();
            let answer = Answer::with_value(&json!({"resourceType": "Parameters", "parameter": [
                {"name": "url", "valueUri": format!("{}/documents/{token}", self.root_url)},
                {"name": "expires", "valueInstant": instant(expires)},
            ]}));
            Ok(answer.showing([&stored]))
        })
    }
}

/// `GET /documents/[token]`
pub async fn handle(
    State(server): State<Arc<FhirServer>>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, FhirError> {
    // Who came first reads on; a HEAD reads nothing.
    const USE: &str = "UPDATE presigned_url SET used_by = $2 WHERE token = $1 AND expires_at > $3 \
         AND (used_by IS NULL OR used_by = $2 AND $4) RETURNING binary_id, version, who";
    const LOOK: &str = "SELECT binary_id, version, who FROM presigned_url WHERE token = $1 AND expires_at > $3 \
         AND (used_by IS NULL OR used_by = $2) AND $4 IS NOT NULL";
    // A body is not shared between threads, and nobody wants that of a GET.
    let (request, _) = request.into_parts();
    let origin = envelope::origin(&request.extensions);
    let reader = origin.address.map(|address| address.to_string()).unwrap_or_default();
    let sql = match request.method {
        Method::HEAD => LOOK,
        _ => USE,
    };
    let mut lease = server.store.fixed().await?;
    let found: Option<(String, i32, sqlx::types::Json<Who>)> = sqlx::query_as(sql)
        .bind(&crypto::digest(&token)[..])
        .bind(&reader)
        .bind(server.clock.now().to_sqlx())
        .bind(request.headers.contains_key(header::RANGE))
        .fetch_optional(&mut *lease)
        .await?;
    lease.release();
    let Some((id, version, who)) = found else {
        let event = Event::new(Kind::Access)
            .at(&origin)
            .request("documents/…")
            .refused("404");
        server.trail.note(event).await?;
        return Err(FhirError::no_such_address(
            "This address does not open anything, or does not any more. Ask for a new one.",
        ));
    };
    // In the name of whoever asked for the address, from where it is used.
    let mut event = Event::new(Kind::Vread).resource("Binary", &id, Some(version));
    event.who = who.0;
    let event = event.at(&origin).detail("presigned-url", "used");
    let answer = async {
        let stored = server.vread(&Caller::server(), "Binary", &id, version).await?;
        let stored = stored.filter(|stored| !stored.deleted);
        let stored = stored.ok_or_else(|| FhirError::gone("Binary", &id))?;
        let mut response = binary::bytes_of(&server, &stored, &request.headers).await?;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok((stored, response))
    };
    match answer.await {
        Ok((stored, response)) => {
            server.trail.note(event.showing([(&stored).into()])).await?;
            Ok(response)
        }
        Err(error) => {
            server.trail.note(event.ended_by(&error)).await?;
            Err(error)
        }
    }
}
