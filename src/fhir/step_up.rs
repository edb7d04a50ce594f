//! How surely the person behind a token proved who they are, and what asks for more than that
//! ([RFC 9470](https://www.rfc-editor.org/rfc/rfc9470)).
//!
//! Whatever needs a fresh proof calls [`Caller::require_proof`]. The refusal is a 401 whose challenge tells the application
//! what to ask for at the authorization endpoint (`acr_values`, `max_age`); it sends the person there and tries again.

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;

use super::caller::Caller;
use super::error::FhirError;
use super::hooks::{Change, Draft, Guard};
use crate::base::Clock;

/// How surely somebody proved who they are, from less to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assurance {
    /// By a password, or by another provider's word.
    OneFactor,
    /// By a second factor as well.
    TwoFactors,
    /// By a passkey that its owner unlocked, which cannot be shown to the wrong site.
    Passkey,
}

impl Assurance {
    pub const ALL: [Assurance; 3] = [Assurance::OneFactor, Assurance::TwoFactors, Assurance::Passkey];

    /// Its name in OpenID Connect: REFEDS's profiles of single and multiple factors, and
    /// [phishing-resistant](https://openid.net/specs/openid-connect-eap-acr-values-1_0-final.html).
    pub fn acr(self) -> &'static str {
        match self {
            Assurance::OneFactor => "https://refeds.org/profile/sfa",
            Assurance::TwoFactors => "https://refeds.org/profile/mfa",
            Assurance::Passkey => "phr",
        }
    }

    pub fn of_acr(acr: &str) -> Option<Assurance> {
        Assurance::ALL.into_iter().find(|assurance| assurance.acr() == acr)
    }

    /// As it is stored.
    pub fn number(self) -> i16 {
        match self {
            Assurance::OneFactor => 1,
            Assurance::TwoFactors => 2,
            Assurance::Passkey => 3,
        }
    }

    pub fn of_number(number: i16) -> Option<Assurance> {
        Assurance::ALL
            .into_iter()
            .find(|assurance| assurance.number() == number)
    }
}

/// What a person showed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub at: Timestamp,
    pub assurance: Assurance,
}

/// What must have been shown, and how long ago at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub assurance: Assurance,
    pub max_age: SignedDuration,
}

impl Wanted {
    pub fn is_met_by(&self, proof: &Proof, now: Timestamp) -> bool {
        proof.assurance >= self.assurance && now.duration_since(proof.at) <= self.max_age
    }

    /// The value of `WWW-Authenticate` (<https://www.rfc-editor.org/rfc/rfc9470#section-3>).
    fn challenge(&self) -> String {
        let names: Vec<&str> = Assurance::ALL
            .into_iter()
            .filter(|assurance| *assurance >= self.assurance)
            .map(Assurance::acr)
            .collect();
        format!(
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"{}\", max_age=\"{}\"",
            names.join(" "),
            self.max_age.as_secs()
        )
    }
}

impl Caller {
    /// Refuses what the person behind the token has not proved enough for. Who acts in their own name has no person behind
    /// them, and passes.
    ///
    /// # Errors
    /// 401 with the challenge of RFC 9470.
    pub fn require_proof(&self, now: Timestamp, wanted: Wanted) -> Result<(), FhirError> {
        match self.proof() {
            Some(proof) if !wanted.is_met_by(&proof, now) => {
                let text = "This asks for a fresh proof of who you are: sign in again, with a second factor.";
                Err(FhirError::unauthenticated(text, wanted.challenge()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Signing asks for a fresh proof: a person's Provenance with a signature, as of a prescription, is only stored if they
/// showed two factors a moment ago.
#[derive(Debug)]
pub struct SigningIsProved {
    clock: Clock,
    wanted: Wanted,
}

impl SigningIsProved {
    /// `max_age` is how long ago the proof may have been.
    pub fn new(clock: Clock, max_age: SignedDuration) -> SigningIsProved {
        let assurance = Assurance::TwoFactors;
        SigningIsProved {
            clock,
            wanted: Wanted { assurance, max_age },
        }
    }
}

impl Guard for SigningIsProved {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "Provenance"
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        caller: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        let signatures = |resource: &serde_json::Value| resource.get("signature").cloned();
        let before = draft.before.and_then(signatures);
        let after = draft.after.as_deref().and_then(signatures);
        let signs = after.is_some() && after != before;
        Box::pin(async move {
            match signs {
                true => caller.require_proof(self.clock.now(), self.wanted),
                false => Ok(()),
            }
        })
    }

    fn after_all<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        _: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_strong_and_fresh_enough_or_not() {
        let at = Timestamp::UNIX_EPOCH;
        let proof = |assurance| Proof { at, assurance };
        let wanted = Wanted {
            assurance: Assurance::TwoFactors,
            max_age: SignedDuration::from_secs(60),
        };
        let after = |seconds| at + SignedDuration::from_secs(seconds);
        assert!(wanted.is_met_by(&proof(Assurance::TwoFactors), after(60)));
        assert!(wanted.is_met_by(&proof(Assurance::Passkey), after(0)));
        assert!(!wanted.is_met_by(&proof(Assurance::Passkey), after(61)));
        assert!(!wanted.is_met_by(&proof(Assurance::OneFactor), after(0)));
        assert_eq!(
            wanted.challenge(),
            "Bearer error=\"insufficient_user_authentication\", \
             acr_values=\"https://refeds.org/profile/mfa phr\", max_age=\"60\""
        );
    }

    #[test]
    fn names_and_numbers_lead_back() {
        for assurance in Assurance::ALL {
            assert_eq!(Assurance::of_acr(assurance.acr()), Some(assurance));
            assert_eq!(Assurance::of_number(assurance.number()), Some(assurance));
        }
        assert_eq!((Assurance::of_acr("0"), Assurance::of_number(4)), (None, None));
    }
}
