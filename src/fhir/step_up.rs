//! How surely a person proved who they are, and what asks for more than that.

use jiff::{SignedDuration, Timestamp};

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
