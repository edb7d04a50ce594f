//! A part of some bytes: `Range` and `If-Range` (RFC 9110, 13.1.5 and 14.2).
//!
//! Whoever asks for several parts at once gets the whole, as the RFC allows. The ETags that `If-Range` is compared with are those
//! that the server gave for a version. They are weak, since FHIR writes them so, but bytes of one version never differ.

use std::ops;

use axum::http::{HeaderMap, HeaderValue, header};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Range {
    Whole,
    /// At least one byte.
    Part(ops::Range<u64>),
    /// There is nothing where it begins.
    Outside,
}

impl Range {
    /// What the headers ask for of `size` bytes. `validators` are the ETag and the Last-Modified of what is there now.
    pub fn asked(headers: &HeaderMap, size: u64, validators: &[&str]) -> Range {
        let text = |name| headers.get(name).map(HeaderValue::to_str);
        let Some(Ok(range)) = text(header::RANGE) else {
            return Range::Whole;
        };
        match text(header::IF_RANGE) {
            None => Range::parse(range, size),
            Some(Ok(condition)) if validators.contains(&condition.trim()) => Range::parse(range, size),
            // Of another version, whatever it has already is of no use.
            Some(_) => Range::Whole,
        }
    }

    fn parse(range: &str, size: u64) -> Range {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that is too large for the machine is simply large.
            true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
            _ => None,
        };
        let bounds = range
            .trim()
            .strip_prefix("bytes=")
            .and_then(|range| range.trim().split_once('-'));
        let part = match bounds {
            Some(("", last)) => number(last).map(|last| (size.saturating_sub(last), size, last > 0)),
            Some((first, "")) => number(first).map(|first| (first, size, true)),
            Some((first, last)) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => Some((first, last.saturating_add(1).min(size), true)),
                _ => None,
            },
            None => None,
        };
        match part {
            None => Range::Whole,
            Some((start, end, true)) if start < end => Range::Part(start..end),
            Some(_) => Range::Outside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (text, expected) in [
            ("bytes=0-0", Range::Part(0..1)),
            ("bytes=2-5", Range::Part(2..6)),
            ("bytes=5-", Range::Part(5..10)),
            ("bytes=-3", Range::Part(7..10)),
            ("bytes=-30", Range::Part(0..10)),
            ("bytes=8-99999999999999999999", Range::Part(8..10)),
            ("bytes=10-", Range::Outside),
            ("bytes=10-12", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=5-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("items=0-1", Range::Whole),
        ] {
            assert_eq!(Range::parse(text, 10), expected, "{text}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Range::Outside);
    }

    #[test]
    fn a_part_is_of_the_version_that_the_client_knows() {
        let asked = |condition: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=1-2"));
            if let Some(condition) = condition {
                headers.insert(header::IF_RANGE, HeaderValue::from_static(condition));
            }
            Range::asked(&headers, 10, &["W/\"2\"", "Sat, 31 Jan 2026 10:00:00 GMT"])
        };
        assert_eq!(asked(None), Range::Part(1..3));
        assert_eq!(asked(Some("W/\"2\"")), Range::Part(1..3));
        assert_eq!(asked(Some("Sat, 31 Jan 2026 10:00:00 GMT")), Range::Part(1..3));
        assert_eq!(asked(Some("W/\"1\"")), Range::Whole);
        assert_eq!(Range::asked(&HeaderMap::new(), 10, &[]), Range::Whole);
    }
}
