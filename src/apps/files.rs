//! `/apps/[app]/…`: the files that were built from `apps/`.
//!
//! They are read once, at the start, and served from memory: a request never names a file of the disk, so there is no path
//! to escape from, and they do not change under a page that is being loaded.
//!
//! | | status | may be kept |
//! |---|---|---|
//! | a file whose name has a hash of its content, as the build gives it | 200 | a year |
//! | any other file | 200, 304 | until asked again, by its ETag |
//! | any other address of an app: its page, which finds its way by the address | 200 | not at all: it has a nonce |
//! | what looks like a file and is none | 404 | |
//! | an app that was not built | 404 | |
//!
//! What the build compressed is sent so: it took its time, which a server that answers does not have.
//!
//! **The policy of the page** lets it load its own scripts and styles, speak to this server, and show pictures and documents that it
//! has fetched itself. Styles that components make while they run carry the nonce of the page.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::OWN_APPS;
use crate::base::crypto::{digest_of, random_token};
use crate::fhir::error::FhirError;

/// What stands in a built page where the nonce comes.
const NONCE: &str = "__NONCE__";

/// What was built, by its path below `/apps/`.
#[derive(Debug, Default)]
pub struct Files {
    files: HashMap<String, File>,
    pages: HashMap<&'static str, String>,
}

#[derive(Debug)]
struct File {
    content: Bytes,
    /// The same, as small as the build could make it: a file beside it, with `.gz` behind its name.
    gzipped: Option<Bytes>,
    content_type: &'static str,
    etag: String,
    /// Another content would have another name.
    is_immutable: bool,
}

impl Files {
    /// Reads the apps of a folder; those that are not there are left out. `folder` empty: the first of [`places`] that has any.
    ///
    /// # Errors
    /// When a file of an app cannot be read.
    pub fn read(folder: &Path) -> io::Result<Files> {
        let candidates = match folder.as_os_str().is_empty() {
            true => places(),
            false => vec![folder.to_owned()],
        };
        for candidate in candidates {
            let mut files = Files::default();
            for app in &OWN_APPS {
                let built = candidate.join(app.folder).join("dist");
                match fs::read_to_string(built.join("index.html")) {
                    Ok(page) => files.pages.insert(app.folder, page),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                files.read_below(&built, app.folder)?;
            }
            if !files.pages.is_empty() {
                return Ok(files);
            }
        }
        Ok(Files::default())
    }

    /// Whether this app was built.
    pub fn has(&self, app: &str) -> bool {
        self.pages.contains_key(app)
    }

    fn read_below(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // The build's notes to itself are hidden, and the page is served by itself.
            if name.starts_with('.') || name == "index.html" || name.ends_with(".gz") {
                continue;
            }
            let path = format!("{path}/{name}");
            if entry.file_type()?.is_dir() {
                self.read_below(&entry.path(), &path)?;
                continue;
            }
            let content = fs::read(entry.path())?;
            let digest: String = digest_of(&content)[..12]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let gzipped = match fs::read(folder.join(format!("{name}.gz"))) {
                Ok(gzipped) => Some(Bytes::from(gzipped)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let file = File {
                content: content.into(),
                gzipped,
                content_type: content_type(&name),
                etag: format!("\"{digest}\""),
                is_immutable: path.contains("/assets/"),
            };
            self.files.insert(path, file);
        }
        Ok(())
    }
}

/// Where apps are looked for: beside the program, as in a release, and below the working directory, as in a checkout.
fn places() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = program
        .as_deref()
        .and_then(Path::parent)
        .map(|folder| folder.join("apps"));
    beside.into_iter().chain([PathBuf::from("apps")]).collect()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// `GET /apps/[app]`: relative addresses of the page begin behind the slash.
pub async fn handle_root(
    State(files): State<Arc<Files>>,
    UrlPath(app): UrlPath<String>,
) -> Result<Response, FhirError> {
    match files.has(&app) {
        true => Ok(Redirect::permanent(&format!("/apps/{app}/")).into_response()),
        false => Err(not_built(&app)),
    }
}

/// `GET /apps/[app]/`
pub async fn handle_page(
    State(files): State<Arc<Files>>,
    UrlPath(app): UrlPath<String>,
) -> Result<Response, FhirError> {
    page(&files, &app)
}

/// `GET /apps/[app]/[path]`
pub async fn handle(
    State(files): State<Arc<Files>>,
    UrlPath((app, path)): UrlPath<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    let Some(file) = files.files.get(&format!("{app}/{path}")) else {
        let is_file = path.starts_with("assets/") || path.rsplit('/').next().is_some_and(|name| name.contains('.'));
        return match is_file && files.has(&app) {
            true => Err(FhirError::no_such_address("There is no such file in this app.")),
            false => page(&files, &app),
        };
    };
    let keep = match file.is_immutable {
        true => "public, max-age=31536000, immutable",
        false => "public, no-cache",
    };
    let about = [
        (header::CONTENT_TYPE, file.content_type.to_owned()),
        (header::CACHE_CONTROL, keep.to_owned()),
        (header::ETAG, file.etag.clone()),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    // A compressed answer has the same content: its tag comes back as a weak one.
    if known.is_some_and(|tags| {
        tags.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == file.etag)
    }) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|encodings| encodings.to_str().ok());
    let takes_gzip = accepted.is_some_and(|encodings| encodings.split(',').any(|encoding| encoding.trim() == "gzip"));
    match &file.gzipped {
        Some(gzipped) if takes_gzip => {
            let encoding = [(header::CONTENT_ENCODING, "gzip"), (header::VARY, "accept-encoding")];
            Ok((encoding, about, gzipped.clone()).into_response())
        }
        // Whatever else the client takes is made on the way.
        _ => Ok((about, file.content.clone()).into_response()),
    }
}

fn page(files: &Files, app: &str) -> Result<Response, FhirError> {
    let page = files.pages.get(app).ok_or_else(|| not_built(app))?;
    let nonce = random_token();
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy(&nonce)),
    ];
    Ok((headers, page.replace(NONCE, &nonce)).into_response())
}

fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; connect-src 'self'; font-src 'self'; \
         img-src 'self' blob: data:; frame-src blob:; object-src blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'"
    )
}

fn not_built(app: &str) -> FhirError {
    let known = OWN_APPS.iter().any(|each| each.folder == app);
    FhirError::no_such_address(match known {
        true => "This app was not built. `make apps` does that; then start the server again.",
        false => "There is no such app.",
    })
}
