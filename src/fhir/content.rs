//! The content of Binaries, which lies in the object store ([`crate::base::objects`]), apart from the Binary.
//!
//! **In the database** a Binary has, where `data` was, the [mark] of its object; what was written before there were objects has
//! its `data` still. The mark is no base64, so no client can have sent it. It never leaves the server: whatever is read from the store
//! ([`apart`]) has the name of the object beside the JSON, and who answers with it gives the content back ([`give_back`]).
//!
//! **In answers** a Binary has its `data` up to [`INLINE`] bytes for one answer; a Bundle that would need more has the others
//! without, tagged SUBSETTED, and their own addresses have them whole.
//!
//! **On its way in** content passes the [`Intake`](super::hooks::Intake)s, piece by piece, before anything of it is named: what they
//! refuse is never there.

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};

use super::error::{FhirError, Issue, IssueType};
use super::resource::{self, StoredResource};
use super::server::FhirServer;
use super::summary;
use crate::base::objects::{ObjectError, ObjectId};

/// Content on its way in or out, piece by piece.
pub type ContentStream = BoxStream<'static, Result<Bytes, FhirError>>;

/// Bytes of content that one answer in JSON holds at most; 1 more makes a client ask for the bytes themselves.
pub const INLINE: u64 = 16 * 1024 * 1024;

/// What stands in front of the name of an object. The colon is no base64.
const MARK: &str = "object:";

impl From<ObjectError> for FhirError {
    fn from(error: ObjectError) -> FhirError {
        match error {
            ObjectError::Away(cause) => {
                tracing::warn!(error = %cause, "the object store does not answer");
                FhirError::unavailable("The content of files cannot be reached now. Try again later.")
            }
            ObjectError::Full => {
                tracing::error!("the object store is full");
                FhirError::unavailable("There is no room for more files. The operator has to make some.")
            }
            ObjectError::Erased => FhirError::new(
                axum::http::StatusCode::GONE,
                Issue::error(IssueType::Deleted, "The content was erased for good."),
            ),
            ObjectError::Database(error) => error.into(),
            ObjectError::Missing | ObjectError::Tampered => FhirError::internal(error),
        }
    }
}

/// The content of a Binary that lies apart from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub id: ObjectId,
    pub(super) layout: Layout,
}

/// How a client broke its base64 into lines, as FHIR lets it: so it is given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Layout {
    /// Characters in a line; 0 for a single line.
    line: usize,
    separator: &'static str,
    /// Whether there is a separator behind the last line.
    ends: bool,
}

/// Separators of lines, by the letter that stands for each in a mark.
const SEPARATORS: [(char, &str); 3] = [('s', " "), ('n', "\n"), ('r', "\r\n")];

impl Held {
    /// An object whose content came as bytes.
    pub fn of_bytes(id: ObjectId) -> Held {
        Held {
            id,
            layout: Layout::default(),
        }
    }

    /// An object whose content came as this base64.
    pub fn of_text(id: ObjectId, text: &str) -> Held {
        Held {
            id,
            layout: Layout::of(text),
        }
    }

    /// What stands for it in the database: `object:<id>`, with the layout behind it if there is one, as `:76n`.
    pub fn mark(&self) -> Value {
        let Layout { line, separator, ends } = self.layout;
        let letter = SEPARATORS.iter().find(|(_, text)| *text == separator);
        Value::String(match letter {
            Some((letter, _)) => format!("{MARK}{}:{line}{letter}{}", self.id, if ends { "." } else { "" }),
            None => format!("{MARK}{}", self.id),
        })
    }

    /// Reads a mark, and nothing else.
    pub fn of_mark(text: &str) -> Option<Held> {
        let rest = text.strip_prefix(MARK)?;
        let Some((id, layout)) = rest.split_once(':') else {
            return Some(Held::of_bytes(rest.parse().ok()?));
        };
        let (layout, ends) = match layout.strip_suffix('.') {
            Some(layout) => (layout, true),
            None => (layout, false),
        };
        let letter = layout.chars().next_back()?;
        let (_, separator) = SEPARATORS.iter().find(|(known, _)| *known == letter)?;
        let layout = Layout {
            line: layout.trim_end_matches(letter).parse().ok()?,
            separator,
            ends,
        };
        Some(Held {
            id: id.parse().ok()?,
            layout,
        })
    }
}

impl Layout {
    /// Lines of one length; whatever else a text has between its characters is not kept.
    fn of(text: &str) -> Layout {
        let Some(line) = text.find(|c: char| c.is_ascii_whitespace()).filter(|line| *line > 0) else {
            return Layout::default();
        };
        let joined: String = text.split_ascii_whitespace().collect();
        let known = SEPARATORS
            .iter()
            .flat_map(|(_, separator)| [false, true].map(|ends| Layout { line, separator, ends }));
        let mut fitting = known.filter(|layout| layout.apply(joined.clone()) == text);
        fitting.next().unwrap_or_default()
    }

    fn apply(self, text: String) -> String {
        if self.line == 0 {
            return text;
        }
        let mut lines = String::with_capacity(text.len() + text.len() / self.line * self.separator.len() + 2);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, others) = rest.split_at(rest.len().min(self.line));
            lines.push_str(line);
            if self.ends || !others.is_empty() {
                lines.push_str(self.separator);
            }
            rest = others;
        }
        lines
    }
}

/// The content that a stored Binary names, if it lies apart.
pub fn marked(binary: &Value) -> Option<Held> {
    Held::of_mark(binary.get("data")?.as_str()?)
}

/// A Binary as it is stored, as a client sees it but without content, and the object that holds it.
pub(super) fn apart(json: String) -> Result<(String, Option<Held>), FhirError> {
    if !json.contains(MARK) {
        return Ok((json, None));
    }
    let mut binary: Value =
        serde_json::from_str(&json).map_err(|_| FhirError::internal("a stored resource is not JSON"))?;
    let Some(held) = marked(&binary) else {
        return Ok((json, None));
    };
    without_data(&mut binary);
    Ok((resource::to_json(&binary), Some(held)))
}

/// Takes out what is, or stands for, the content.
pub(super) fn without_data(binary: &mut Value) -> Option<Value> {
    binary.as_object_mut()?.shift_remove("data")
}

/// What a Binary of a client holds.
///
/// # Errors
/// 422 for what is not base64.
pub fn decode(text: &str) -> Result<Vec<u8>, FhirError> {
    // base64Binary may be broken into lines.
    let whole = !text.bytes().any(|byte| byte.is_ascii_whitespace());
    let decoded = match whole {
        true => STANDARD.decode(text),
        false => STANDARD.decode(text.split_ascii_whitespace().collect::<String>()),
    };
    decoded.map_err(|_| FhirError::unprocessable("The data of this Binary is not base64.").at("Binary.data"))
}

/// Puts content into the store, for `binary`, which is all but the content. Until a version names it, it is nobody's.
///
/// # Errors
/// What an [`Intake`](super::hooks::Intake) refuses, an error of `content`, and 503 when the store is away or full.
pub async fn place(server: &FhirServer, binary: &Value, content: ContentStream) -> Result<ObjectId, FhirError> {
    let mut content = content;
    for intake in &server.hooks.intakes {
        content = intake.take(binary, content).await?;
    }
    let mut upload = server.objects.begin().await?;
    loop {
        let failed: FhirError = match content.next().await {
            None => return Ok(upload.finish().await?.0),
            Some(Ok(bytes)) => match upload.write(&bytes).await {
                Ok(()) => continue,
                Err(error) => error.into(),
            },
            Some(Err(error)) => error,
        };
        upload.abort().await;
        return Err(failed);
    }
}

/// The same, of content that is in memory.
///
/// # Errors
/// As for [`place`].
pub async fn place_bytes(server: &FhirServer, binary: &Value, bytes: Vec<u8>) -> Result<ObjectId, FhirError> {
    let content = stream::once(async move { Ok(Bytes::from(bytes)) });
    place(server, binary, content.boxed()).await
}

/// The bytes of a part of an object.
///
/// # Errors
/// 503 when the store is away, 410 when the object was erased; here or in the stream.
pub async fn read(
    server: &FhirServer,
    id: ObjectId,
    part: std::ops::Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, ObjectError>>, FhirError> {
    Ok(server.objects.read(id, part).await?)
}

/// The content of an object as the base64 that it came as, if it is no longer than `most` bytes.
///
/// # Errors
/// As for [`read`].
pub async fn base64(server: &FhirServer, held: Held, most: u64) -> Result<Option<String>, FhirError> {
    if server.objects.facts(held.id).await?.size > most {
        return Ok(None);
    }
    let text = STANDARD.encode(server.objects.read_whole(held.id).await?);
    Ok(Some(held.layout.apply(text)))
}

/// Gives Binaries their content back, as far as one answer holds it.
///
/// # Errors
/// 503 when the store is away.
pub async fn give_back(server: &FhirServer, resources: Vec<&mut StoredResource>) -> Result<(), FhirError> {
    let mut left = INLINE;
    for stored in resources {
        let Some(held) = stored.content.filter(|_| !stored.json.is_empty()) else {
            continue;
        };
        let size = match server.objects.facts(held.id).await {
            Ok(facts) => facts.size,
            // The Binary is there all the same, and says what it was.
            Err(ObjectError::Erased) => continue,
            Err(error) => return Err(error.into()),
        };
        match size <= left {
            // FHIR has no empty values.
            true if size == 0 => {}
            true => {
                left -= size;
                let data = STANDARD.encode(server.objects.read_whole(held.id).await?);
                let data = Value::String(held.layout.apply(data)).to_string();
                stored.json.pop();
                stored.json.reserve(data.len() + 12);
                stored.json.push_str(",\"data\":");
                stored.json.push_str(&data);
                stored.json.push('}');
            }
            false => stored.json = subsetted(&stored.json)?,
        }
        stored.content = None;
    }
    Ok(())
}

/// Says of a Binary that it is not whole.
fn subsetted(json: &str) -> Result<String, FhirError> {
    let binary: Value = serde_json::from_str(json).map_err(|_| FhirError::internal("a stored resource is not JSON"))?;
    let Value::Object(mut members) = binary else {
        return Err(FhirError::internal("a stored resource is no object"));
    };
    summary::tag_subsetted(&mut members);
    Ok(resource::to_json(&Value::Object(members)))
}

/// A Binary as JSON with its content on one line, piece by piece, and the length of that.
///
/// # Errors
/// As for [`read`].
pub async fn as_json(
    server: &FhirServer,
    json: &str,
    id: ObjectId,
) -> Result<(BoxStream<'static, Result<Bytes, ObjectError>>, u64), FhirError> {
    let size = server.objects.facts(id).await?.size;
    // Whatever braces end what it holds: the last one is that of the Binary itself.
    let begin = format!("{},\"data\":\"", json.strip_suffix('}').unwrap_or(json));
    let end = "\"}";
    let length = begin.len() as u64 + size.div_ceil(3) * 4 + end.len() as u64;
    let content = read(server, id, 0..size).await?;
    // Three bytes are four letters: what is left of a piece goes in front of the next one.
    let encoded = stream::try_unfold(
        (content, Vec::new(), false),
        |(mut content, mut rest, is_done)| async move {
            if is_done {
                return Ok(None);
            }
            let next = content.try_next().await?;
            let is_done = next.is_none();
            rest.extend_from_slice(&next.unwrap_or_default());
            let whole = if is_done {
                rest.len()
            } else {
                rest.len() - rest.len() % 3
            };
            let text = STANDARD.encode(&rest[..whole]);
            rest.drain(..whole);
            Ok::<_, ObjectError>(Some((Bytes::from(text), (content, rest, is_done))))
        },
    );
    let begin = stream::once(async move { Ok(Bytes::from(begin)) });
    let end = stream::once(async move { Ok(Bytes::from_static(end.as_bytes())) });
    Ok((begin.chain(encoded).chain(end).boxed(), length))
}

/// A Binary of everything but its content.
pub fn envelope(content_type: &str, security_context: Option<&str>) -> Value {
    let mut binary = Map::new();
    binary.insert("resourceType".to_owned(), json!("Binary"));
    binary.insert("contentType".to_owned(), json!(content_type));
    if let Some(context) = security_context {
        binary.insert("securityContext".to_owned(), json!({"reference": context}));
    }
    Value::Object(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_from_what_clients_send() {
        let id: ObjectId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let stored = json!({"resourceType": "Binary", "id": "7", "contentType": "text/plain", "data": Held::of_bytes(id).mark()});
        let (json, found) = apart(stored.to_string()).unwrap();
        assert_eq!(
            (json.as_str(), found),
            (
                r#"{"resourceType":"Binary","id":"7","contentType":"text/plain"}"#,
                Some(Held::of_bytes(id))
            )
        );
        for data in [json!("object"), json!("AAAA"), json!("object:0123"), json!(7)] {
            let other = json!({"resourceType": "Binary", "contentType": "object:x", "data": data}).to_string();
            assert_eq!(apart(other.clone()).unwrap(), (other, None));
        }
    }

    #[test]
    fn lines_of_base64_come_back_as_they_came() {
        let id: ObjectId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        for text in [
            "AAEC",
            "AA EC",
            "AAEC AwQF Bg==",
            "AAEC\nAwQF\nBg==\n",
            "AAECAw\r\nQFBg==",
            "AAEC\r\nAwQF\r\n",
        ] {
            let held = Held::of_text(id, text);
            let mark = held.mark();
            assert_eq!(Held::of_mark(mark.as_str().unwrap()), Some(held), "{mark}");
            let joined: String = text.split_ascii_whitespace().collect();
            assert_eq!(held.layout.apply(joined), text);
        }
        // What has no rule is given back on one line.
        for text in [" AAEC", "AA ECAw QF", "AAEC\tAwQF"] {
            assert_eq!(Held::of_text(id, text), Held::of_bytes(id), "{text:?}");
        }
        for mark in [
            "object:",
            "object:0123456789abcdef0123456789abcdef:",
            "object:0123456789abcdef0123456789abcdef:s",
        ] {
            assert_eq!(Held::of_mark(mark), None, "{mark}");
        }
    }

    #[test]
    fn base64_may_be_broken_into_lines() {
        assert_eq!(decode("AAEC\r\nAw==").unwrap(), [0, 1, 2, 3]);
        assert_eq!(decode("object:0123").unwrap_err().status, 422);
    }
}
