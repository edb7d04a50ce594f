//! A form with a file (`multipart/form-data`, <https://www.rfc-editor.org/rfc/rfc7578>). There is one such form, with one
//! small file, so it is read whole; a library for streams of parts would have to be fed and bounded just the same.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;

use super::PageError;
use super::browser::Browser;
use crate::auth::AuthServer;
use crate::auth::details::picture;

/// Longest form that is read, in bytes: the file, and room for the other fields.
const LONGEST: usize = picture::LONGEST + 16 * 1024;
/// Most fields.
const MOST: usize = 10;

/// A form with a file that one of our pages sent, from this browser, in which somebody is signed in: nobody else's files
/// are read.
#[derive(Debug)]
pub struct Uploaded {
    pub browser: Browser,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    content: Vec<u8>,
}

impl Uploaded {
    /// What the field holds; empty for one that was left empty.
    pub fn take(&mut self, name: &str) -> Vec<u8> {
        let part = self.parts.iter_mut().find(|part| part.name == name);
        part.map(|part| std::mem::take(&mut part.content)).unwrap_or_default()
    }
}

impl FromRequest<Arc<AuthServer>> for Uploaded {
    type Rejection = PageError;

    async fn from_request(request: Request<Body>, auth: &Arc<AuthServer>) -> Result<Uploaded, PageError> {
        let (mut parts, body) = request.into_parts();
        let Ok(browser) = Browser::from_request_parts(&mut parts, auth).await else {
            return Err(PageError::Unavailable);
        };
        browser.signed_in()?;
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let boundary = content_type
            .and_then(boundary_of)
            .ok_or(PageError::NotOurForm)?
            .to_owned();
        let body = to_bytes(body, LONGEST).await.map_err(|_| PageError::TooLong)?;
        let fields = read(&body, &boundary).ok_or(PageError::NotOurForm)?;
        let mut uploaded = Uploaded { browser, parts: fields };
        let token = String::from_utf8(uploaded.take("form_token")).unwrap_or_default();
        uploaded.browser.check_form(&parts.headers, &token)?;
        Ok(uploaded)
    }
}

/// What separates the parts.
fn boundary_of(content_type: &str) -> Option<&str> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// The parts of a form: each behind a line with the boundary, with lines of headers, an empty line, and its content.
fn read(body: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes())?;
    let mut parts = Vec::new();
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        let head_length = find(after, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&after[..head_length]).ok()?;
        let content = &after[head_length + 4..];
        let length = find(content, next.as_bytes())?;
        parts.push(Part {
            name: name_in(head)?,
            content: content[..length].to_vec(),
        });
        rest = &content[length + next.len()..];
        if parts.len() > MOST {
            return None;
        }
    }
    rest.starts_with(b"--").then_some(parts)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The name of a field, in the header `Content-Disposition`.
fn name_in(head: &str) -> Option<String> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = lines
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))?;
    let name = value
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("name=\""))?;
    Some(name.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_in_its_parts() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"form_token\"\r\n\r\nabc\r\n--x\r\n\
            content-disposition: form-data; name=\"picture\"; filename=\"a;b.png\"\r\nContent-Type: image/png\r\n\r\n\
            \x89PNG\r\n--y\r\n\r\n--x--\r\n";
        let parts = read(body, "x").unwrap();
        let read_back: Vec<(&str, &[u8])> = parts
            .iter()
            .map(|part| (part.name.as_str(), part.content.as_slice()))
            .collect();
        assert_eq!(
            read_back,
            [("form_token", &b"abc"[..]), ("picture", b"\x89PNG\r\n--y\r\n")]
        );
        for cut in 0..body.len() - 4 {
            assert_eq!(read(&body[..cut], "x"), None, "{cut}");
        }
        assert_eq!(read(body, "y"), None);
        let many = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(MOST + 1);
        assert_eq!(read(format!("{many}--x--").as_bytes(), "x"), None);
    }

    #[test]
    fn the_boundary_is_named_by_the_type() {
        assert_eq!(boundary_of("multipart/form-data; boundary=----x"), Some("----x"));
        assert_eq!(
            boundary_of("Multipart/Form-Data; charset=utf-8; boundary=\"x y\""),
            Some("x y")
        );
        for wrong in [
            "multipart/form-data",
            "multipart/mixed; boundary=x",
            "multipart/form-data; boundary=",
            "text/plain",
        ] {
            assert_eq!(boundary_of(wrong), None, "{wrong}");
        }
    }
}
