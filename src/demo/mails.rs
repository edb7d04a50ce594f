//! The mails in a folder, to be read in a browser.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// A mail as it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub date: String,
    pub text: String,
}

/// The newest mails of a folder, the newest first; of one person, or of all. A folder that is not there has none.
pub fn newest(folder: &Path, to: Option<&str>, most: usize) -> Vec<Mail> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    let mails = files
        .iter()
        .filter_map(|(_, path)| Some(read(&String::from_utf8_lossy(&fs::read(path).ok()?))));
    mails
        .filter(|mail| to.is_none_or(|to| mail.to.contains(to)))
        .take(most)
        .collect()
}

/// Reads what there is to read: the headers, and the first part that is plain text.
fn read(source: &str) -> Mail {
    let source = source.replace("\r\n", "\n");
    let (head, body) = source.split_once("\n\n").unwrap_or((&source, ""));
    let header = |name: &str| header(head, name).unwrap_or_default();
    Mail {
        to: header("To"),
        subject: words(&header("Subject")),
        date: header("Date"),
        text: plain_text(head, body).unwrap_or_default(),
    }
}

/// A header, its folded lines together.
fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines();
    let first = lines.by_ref().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(more.fold(first.to_owned(), |all, line| format!("{all} {}", line.trim())))
}

/// The text of a part, or of the first of its parts that is text.
fn plain_text(head: &str, body: &str) -> Option<String> {
    let kind = header(head, "Content-Type").unwrap_or_else(|| "text/plain".to_owned());
    if let Some((_, boundary)) = kind.split_once("boundary=") {
        let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
        let separator = format!("--{boundary}");
        let mut parts = body.split(&separator).skip(1);
        return parts.find_map(|part| {
            let (head, body) = part.trim_start_matches('\n').split_once("\n\n")?;
            plain_text(head, body)
        });
    }
    if !kind.to_ascii_lowercase().starts_with("text/plain") {
        return None;
    }
    let bytes = match header(head, "Content-Transfer-Encoding").unwrap_or_default().as_str() {
        "quoted-printable" => unquote(body, '='),
        "base64" => STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Words outside of ASCII, as headers spell them (<https://www.rfc-editor.org/rfc/rfc2047>).
fn words(text: &str) -> String {
    let mut read = String::new();
    let mut was_encoded = false;
    for word in text.split_whitespace() {
        let decoded = word.strip_prefix("=?").and_then(|word| {
            let mut parts = word.strip_suffix("?=")?.splitn(3, '?');
            let (_, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
            let bytes = match encoding {
                "b" | "B" => STANDARD.decode(text).ok()?,
                _ => unquote(&text.replace('_', " "), '='),
            };
            String::from_utf8(bytes).ok()
        });
        // The space between two encoded words is none.
        if !(read.is_empty() || was_encoded && decoded.is_some()) {
            read.push(' ');
        }
        was_encoded = decoded.is_some();
        read.push_str(decoded.as_deref().unwrap_or(word));
    }
    read
}

/// Bytes behind `sign` and two digits are those bytes; a line that ends in it goes on.
fn unquote(text: &str, sign: char) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(sign) {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (byte, after.strip_prefix('\n')) {
            (Some(byte), _) => {
                bytes.push(byte);
                &after[2..]
            }
            (None, Some(next)) => next,
            (None, None) => after,
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_as_programs_read_it() {
        let mail = "From: MedConsult <no-reply@localhost>\r\nTo: nora@demo.example\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n \
                    =?utf-8?q?_aus_K=C3=B6ln?= and more\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n\
                    Content-Type: multipart/alternative;\r\n boundary=\"xx\"\r\n\r\n--xx\r\n\
                    Content-Type: text/html\r\n\r\n<p>no</p>\r\n--xx\r\n\
                    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                    Open http://127.0.0.1/x?link=3Dab=\r\ncd now=2E\r\n--xx--\r\n";
        let expected = Mail {
            to: "nora@demo.example".to_owned(),
            subject: "Grüße aus Köln and more".to_owned(),
            date: "Mon, 2 Mar 2026 09:00:00 +0000".to_owned(),
            text: "Open http://127.0.0.1/x?link=abcd now.".to_owned(),
        };
        assert_eq!(read(mail), expected);
    }

    #[test]
    fn what_is_no_mail_is_not_shown() {
        assert_eq!(read("").text, "");
        assert_eq!(newest(Path::new("/nowhere"), None, 5), []);
        assert_eq!(unquote("a==", '='), b"a");
    }
}
