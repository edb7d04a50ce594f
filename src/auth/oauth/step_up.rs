//! What an application wants of the proof behind a grant: how sure, how fresh
//! (<https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest>, <https://www.rfc-editor.org/rfc/rfc9470#section-4>).
//!
//! | parameter | wants |
//! |---|---|
//! | `prompt=login`, `max_age=0` | a proof that is made now |
//! | `max_age` | one not older than so many seconds |
//! | `acr_values` | one as sure as one of these names says; [`Assurance::acr`] lists those we know |

use jiff::{SignedDuration, Timestamp};

use crate::auth::factors::policy::FactorPolicy;
use crate::auth::sessions::Session;
use crate::fhir::step_up::{Assurance, Wanted};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whatever was proved before does not count.
    anew: bool,
    max_age: Option<SignedDuration>,
    /// The least of those that would do. `None`: any will. `Some(None)`: there is no such thing here.
    least: Option<Option<Assurance>>,
}

/// What comes of it for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Enough,
    /// It must be proved again, perhaps by a passkey.
    Prove {
        by_passkey: bool,
    },
    /// The account has nothing by which it could be proved.
    Unmet,
}

impl Asked {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// A sentence, for `max_age` that is no number.
    pub fn read(query: &str) -> Result<Asked, &'static str> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let get = |name: &str| {
            pairs
                .iter()
                .find(|(key, value)| key == name && !value.is_empty())
                .map(|(_, value)| value)
        };
        let max_age = match get("max_age").map(|text| text.parse::<u32>()) {
            None => None,
            Some(Ok(seconds)) => Some(SignedDuration::from_secs(seconds.into())),
            Some(Err(_)) => return Err("max_age is a number of seconds."),
        };
        let least = get("acr_values").map(|names| names.split(' ').filter_map(Assurance::of_acr).min());
        let is_login = get("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "login"));
        Ok(Asked {
            anew: is_login || max_age == Some(SignedDuration::ZERO),
            max_age,
            least,
        })
    }

    /// Whether the session has proved enough.
    pub fn judge(&self, policy: &FactorPolicy, session: &Session, now: Timestamp) -> Verdict {
        let Some(least) = self.least.unwrap_or(Some(Assurance::OneFactor)) else {
            return Verdict::Unmet;
        };
        let wanted = Wanted {
            assurance: least,
            max_age: self.max_age.unwrap_or(SignedDuration::MAX),
        };
        if !self.anew && wanted.is_met_by(&session.proof(), now) {
            return Verdict::Enough;
        }
        let account = &session.account;
        let best = match account.passkeys {
            0 if policy.has_second_factor(account) => Assurance::TwoFactors,
            0 => Assurance::OneFactor,
            _ => Assurance::Passkey,
        };
        match best >= least {
            true => Verdict::Prove {
                by_passkey: least == Assurance::Passkey,
            },
            false => Verdict::Unmet,
        }
    }
}

/// The same request once it was proved now: what asked for that is answered, and would ask for ever.
pub fn once_proved(query: &str) -> String {
    let kept = form_urlencoded::parse(query.as_bytes()).filter_map(|(name, value)| match (&*name, &*value) {
        ("max_age", "0") => None,
        ("prompt", prompt) => {
            let rest: Vec<&str> = prompt.split(' ').filter(|word| *word != "login").collect();
            (!rest.is_empty()).then(|| (name, rest.join(" ").into()))
        }
        _ => Some((name, value)),
    });
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::accounts::{Account, Role};
    use crate::auth::factors::policy::Demand;

    const POLICY: FactorPolicy = FactorPolicy {
        patient: Demand::Optional,
        practitioner: Demand::Required,
        admin: Demand::Required,
        by_mail: [false; 3],
    };

    fn session(assurance: Assurance, has_totp: bool, passkeys: i64) -> Session {
        Session {
            id: "s".to_owned(),
            account: Account {
                id: "a".to_owned(),
                email: "ada@clinic.example".to_owned(),
                role: Role::Patient,
                given: "Ada".to_owned(),
                family: "Lovelace".to_owned(),
                person: "p".to_owned(),
                profile: "Patient/7".to_owned(),
                has_totp,
                passkeys,
                mail_codes: false,
            },
            complete: true,
            proved_at: Timestamp::UNIX_EPOCH,
            assurance,
            methods: Vec::new(),
        }
    }

    #[test]
    fn a_request_says_how_sure_and_how_fresh() {
        use Assurance::{OneFactor, TwoFactors};
        let prove = |by_passkey| Verdict::Prove { by_passkey };
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100);
        for (query, session, verdict) in [
            ("scope=openid", session(OneFactor, false, 0), Verdict::Enough),
            ("max_age=100", session(OneFactor, false, 0), Verdict::Enough),
            ("max_age=99", session(OneFactor, false, 0), prove(false)),
            ("max_age=0", session(OneFactor, false, 0), prove(false)),
            ("prompt=login", session(Assurance::Passkey, false, 1), prove(false)),
            ("prompt=consent%20login", session(OneFactor, false, 0), prove(false)),
            ("acr_values=phr", session(Assurance::Passkey, false, 1), Verdict::Enough),
            ("acr_values=phr", session(TwoFactors, true, 1), prove(true)),
            ("acr_values=phr", session(TwoFactors, true, 0), Verdict::Unmet),
            // Any of them will do.
            (
                "acr_values=phr%20https://refeds.org/profile/mfa",
                session(TwoFactors, true, 0),
                Verdict::Enough,
            ),
            (
                "acr_values=https://refeds.org/profile/mfa",
                session(OneFactor, true, 0),
                prove(false),
            ),
            (
                "acr_values=https://refeds.org/profile/mfa",
                session(OneFactor, false, 0),
                Verdict::Unmet,
            ),
            ("acr_values=gold", session(Assurance::Passkey, true, 1), Verdict::Unmet),
        ] {
            let asked = Asked::read(query).unwrap();
            assert_eq!(asked.judge(&POLICY, &session, now), verdict, "{query} {session:?}");
        }
        assert!(Asked::read("max_age=soon").is_err() && Asked::read("max_age=-1").is_err());
    }

    #[test]
    fn what_was_answered_is_not_asked_again() {
        assert_eq!(once_proved("a=%20&prompt=login&max_age=0&b=1"), "a=+&b=1");
        assert_eq!(
            once_proved("prompt=login+consent&max_age=60"),
            "prompt=consent&max_age=60"
        );
    }
}
