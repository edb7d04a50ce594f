//! What a file is, told by its content. Its name and what a browser says of it tell nothing.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::fhir::error::{FhirError, excerpt};

/// Bytes from the beginning that tell what a file is.
pub const HEAD: usize = 16 * 1024;

/// Checks that a file of which `head` is the beginning is of the media type that is declared, and that this is one of `allowed`.
///
/// # Errors
/// 422 for what is not taken, or is not what it is said to be.
pub fn check(head: &[u8], declared: &str, allowed: &[String]) -> Result<(), FhirError> {
    let declared = media_type(declared);
    if !allowed.contains(&declared) {
        let text = format!(
            "Documents of the type '{}' are not taken; taken are {}.",
            excerpt(&declared),
            allowed.join(", ")
        );
        return Err(FhirError::unprocessable(text).at("Binary.contentType"));
    }
    match is(head, &declared) {
        true => Ok(()),
        false => {
            let text = format!("The content is not what its type says, {}.", excerpt(&declared));
            Err(FhirError::unprocessable(text).at("Binary.data"))
        }
    }
}

/// The type without its parameters.
pub fn media_type(content_type: &str) -> String {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn is(head: &[u8], media_type: &str) -> bool {
    match media_type {
        // The preamble of a file of DICOM may be anything (part 10, 7.1), also another file: not here.
        "application/dicom" => head.get(128..132) == Some(b"DICM") && head[..128].iter().all(|byte| *byte == 0),
        "text/plain" => is_text(head) && !is_markup(head),
        "application/xml" | "text/xml" => is_clinical_document(head),
        other => infer::get(head).is_some_and(|kind| kind.mime_type() == other),
    }
}

/// Whether it is text in UTF-8, perhaps cut off within a character.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && head.len() == HEAD => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    !text.contains(is_strange)
}

/// Whether a program that guesses might take it for a page, a script, or another document that is written in letters.
fn is_markup(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let tag = text
        .strip_prefix('<')
        .map(|rest| rest.trim_start_matches(['!', '?', '/']));
    ["#!", "%PDF-", "%!PS"].iter().any(|other| text.starts_with(other))
        || tag.is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-'))
}

/// Whether it is a document of HL7's CDA (<https://hl7.org/cda/>), and not some other XML, which may be a page or a script. It has
/// no document type, by which XML is made to fetch or to swell, and names no style sheet.
fn is_clinical_document(head: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(head).or_else(|error| std::str::from_utf8(&head[..error.valid_up_to()])) else {
        return false;
    };
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    loop {
        match reader.read_event() {
            Ok(Event::Decl(_) | Event::Comment(_)) => {}
            Ok(Event::Text(text)) if text.trim().is_empty() => {}
            Ok(Event::Start(root)) => {
                let wanted = match root.name().prefix() {
                    None => "xmlns".to_owned(),
                    Some(prefix) => format!("xmlns:{}", prefix.as_ref()),
                };
                let namespace = root
                    .attributes()
                    .flatten()
                    .find(|attribute| attribute.key.as_ref() == wanted);
                let is_hl7 = namespace.is_some_and(|namespace| namespace.value == "urn:hl7-org:v3");
                return is_hl7 && root.local_name().as_ref() == "ClinicalDocument";
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CDA: &str = "<?xml version=\"1.0\"?>\n<!-- a letter -->\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\"><title/>";

    fn dicom() -> Vec<u8> {
        [&[0; 128][..], b"DICM\x02\0\0\0UL"].concat()
    }

    #[test]
    fn files_are_told_by_their_content() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        let dicom = dicom();
        for (content, media_type) in [
            (&b"%PDF-1.7\n"[..], "application/pdf"),
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF", "image/jpeg"),
            (png, "image/png"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            (&dicom, "application/dicom"),
            ("Grüße, 日本\n".as_bytes(), "text/plain"),
            (CDA.as_bytes(), "application/xml"),
            (b"<a:ClinicalDocument xmlns:a=\"urn:hl7-org:v3\">", "text/xml"),
        ] {
            assert!(is(content, media_type), "{media_type}");
            for other in [
                "application/pdf",
                "image/jpeg",
                "image/png",
                "image/webp",
                "application/dicom",
                "text/plain",
            ] {
                assert_eq!(is(content, other), other == media_type, "{media_type} is no {other}");
            }
        }
    }

    #[test]
    fn what_runs_is_nothing_that_is_taken() {
        let dicom_and_program = [b"MZ".as_slice(), &dicom()[2..]].concat();
        let taken = [
            "application/pdf",
            "image/jpeg",
            "image/png",
            "image/webp",
            "application/dicom",
            "text/plain",
            "application/xml",
            "text/xml",
        ];
        for content in [
            &b"MZ\x90\0"[..],
            b"\x7FELF\x02",
            b"#!/bin/sh\n",
            b"<html><script>alert(1)</script>",
            b" \n<!DOCTYPE html>",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>",
            b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            b"<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><ClinicalDocument xmlns=\"urn:hl7-org:v3\"/>",
            b"<?xml-stylesheet href=\"x.xsl\"?><ClinicalDocument xmlns=\"urn:hl7-org:v3\"></ClinicalDocument>",
            b"<ClinicalDocument xmlns=\"http://www.w3.org/1999/xhtml\">",
            &dicom_and_program,
            b"PK\x03\x04",
            b"a\0b",
            b"\xFF\xFE",
        ] {
            for media_type in taken {
                assert!(
                    !is(content, media_type),
                    "{:?} as {media_type}",
                    String::from_utf8_lossy(content)
                );
            }
        }
    }

    #[test]
    fn a_type_has_to_be_allowed() {
        let allowed = ["text/plain".to_owned()];
        assert!(check(b"hello", "Text/Plain; charset=utf-8", &allowed).is_ok());
        let error = check(b"%PDF-1.7", "application/pdf", &allowed).unwrap_err();
        assert!(error.status == 422 && error.to_json().contains("taken are text/plain"));
        let error = check(b"%PDF-1.7", "text/plain", &allowed).unwrap_err();
        assert!(
            error.to_json().contains("not what its type says"),
            "{}",
            error.to_json()
        );
    }
}
