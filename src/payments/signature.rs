//! Stripe's signature on a webhook (<https://docs.stripe.com/webhooks#verify-manually>):
//!
//! `Stripe-Signature: t=1767261600,v1=5257a8…,v1=…`, each `v1` an HMAC-SHA256 over the time, a dot and the body, under one
//! secret. There are several while a secret is being replaced.

use aws_lc_rs::hmac;
use jiff::Timestamp;

/// How far the time of a signature may lie from our clock, either way: clocks differ, and what was caught on its way and is
/// sent again later is worth nothing.
const TOLERANCE_SECONDS: i64 = 300;

/// More signatures than that nobody sends in good faith.
const MOST_SIGNATURES: usize = 10;

/// The secrets that webhooks are signed with, any of which is enough.
pub struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Those in a text, separated by white space.
    pub fn new(text: &str) -> Secrets {
        let key = |secret: &str| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Secrets(text.split_whitespace().map(key).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this body was signed with one of them, about now. Takes a time that does not tell how much of a signature is
    /// right.
    pub fn have_signed(&self, header: &str, body: &[u8], now: Timestamp) -> bool {
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let mut times = parts().filter(|(name, _)| *name == "t").map(|(_, time)| time);
        let (Some(time), None) = (times.next(), times.next()) else {
            return false;
        };
        let age = time.parse::<i64>().ok().and_then(|at| now.as_second().checked_sub(at));
        if age.is_none_or(|age| age.unsigned_abs() > TOLERANCE_SECONDS.unsigned_abs()) {
            return false;
        }
        let signed = [time.as_bytes(), b".", body].concat();
        let given = parts().filter(|(name, _)| *name == "v1").take(MOST_SIGNATURES);
        let mut given = given.filter_map(|(_, signature)| bytes(signature));
        given.any(|tag| self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()))
    }
}

/// What hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_261_600;
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    // printf '1767261600.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_first
    const FIRST: &str = "3cceb044c2c26209a10f17d9f1eb05fafc6c5e91d004367dc8dc0f06941874aa";
    // … -hmac whsec_second
    const SECOND: &str = "d16cc3a60db5b4a30ea54e3ed360ccf4ccbf8c1fc32fe71dcdd46c9b7b9f710c";

    fn judge(header: &str, later: i64) -> bool {
        let now = Timestamp::from_second(NOW + later).unwrap();
        Secrets::new("whsec_first whsec_second").have_signed(header, BODY, now)
    }

    #[test]
    fn a_signature_of_either_secret_is_enough() {
        assert!(judge(&format!("t={NOW},v1={FIRST}"), 0));
        assert!(judge(
            &format!("t={NOW}, v1={}, v1={SECOND}, v0=abc", "0".repeat(64)),
            0
        ));
        assert!(judge(&format!("v1={FIRST},t={NOW}"), 0));
    }

    #[test]
    fn what_is_not_signed_is_told_from_what_is() {
        for wrong in [
            String::new(),
            format!("t={NOW}"),
            format!("v1={FIRST}"),
            format!("t={NOW},v1={}", &FIRST[2..]),
            format!("t={NOW},v1={}", FIRST.replace('0', "1")),
            format!("t={NOW},v0={FIRST}"),
            format!("t={},v1={FIRST}", NOW + 1),
            format!("t={NOW},t={NOW},v1={FIRST}"),
            format!("t={NOW},v1=é{}", &FIRST[3..]),
            format!("t=now,v1={FIRST}"),
            format!("t={},v1={FIRST}", i64::MIN),
        ] {
            assert!(!judge(&wrong, 0), "{wrong}");
        }
        let other = Secrets::new("whsec_third");
        let now = Timestamp::from_second(NOW).unwrap();
        assert!(!other.have_signed(&format!("t={NOW},v1={FIRST}"), BODY, now));
        assert!(!Secrets::new("whsec_first").have_signed(&format!("t={NOW},v1={FIRST}"), b"{}", now));
        assert!(Secrets::new(" ").is_empty());
    }

    #[test]
    fn clocks_may_differ_by_five_minutes_either_way() {
        let header = format!("t={NOW},v1={FIRST}");
        for (later, expected) in [(300, true), (-300, true), (301, false), (-301, false)] {
            assert_eq!(judge(&header, later), expected, "{later}");
        }
    }
}
