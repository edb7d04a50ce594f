//! Which factors a role must show, and which it may.

use crate::auth::accounts::{Account, Role};
use crate::auth::sessions::Session;
use crate::fhir::step_up::Assurance;

/// What a role must show to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A password; a second factor if the person set one up.
    Optional,
    /// A second factor, whichever.
    Required,
    /// A passkey, which cannot be shown to the wrong site.
    Passkey,
}

/// The rules of this deployment.
#[derive(Clone, Copy, Debug)]
pub struct FactorPolicy {
    pub patient: Demand,
    pub practitioner: Demand,
    pub admin: Demand,
    /// Whether a role may have its codes by mail: patient, practitioner, admin. Whoever reads the mail can also set another
    /// password, so such a code stops those who know the password only.
    pub by_mail: [bool; 3],
}

/// What is missing until a session is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A factor that the account has must be shown.
    Show,
    /// The account has none that its role asks for.
    SetUp,
    SetUpPasskey,
}

impl FactorPolicy {
    pub fn demand(&self, role: Role) -> Demand {
        match role {
            Role::Patient => self.patient,
            Role::Practitioner => self.practitioner,
            Role::Admin => self.admin,
        }
    }

    /// Whether the last second factor of this role may be removed.
    pub fn may_do_without(&self, role: Role) -> bool {
        self.demand(role) == Demand::Optional
    }

    pub fn may_have_codes_by_mail(&self, role: Role) -> bool {
        let [patient, practitioner, admin] = self.by_mail;
        match role {
            Role::Patient => patient,
            Role::Practitioner => practitioner,
            Role::Admin => admin,
        }
    }

    /// Whether the person chose to have codes by mail, and still may.
    pub fn mails_codes_to(&self, account: &Account) -> bool {
        account.mail_codes && self.may_have_codes_by_mail(account.role)
    }

    pub fn has_second_factor(&self, account: &Account) -> bool {
        account.has_totp || account.passkeys > 0 || self.mails_codes_to(account)
    }

    /// What must be shown before something important is changed: all that the account has.
    pub fn assurance_of(&self, account: &Account) -> Assurance {
        match self.demand(account.role) {
            Demand::Passkey if account.passkeys > 0 => Assurance::Passkey,
            _ if self.has_second_factor(account) => Assurance::TwoFactors,
            _ => Assurance::OneFactor,
        }
    }

    /// What is still missing for this account to be let in, after so much was shown.
    pub fn missing(&self, account: &Account, shown: Assurance) -> Option<Missing> {
        if shown < self.assurance_of(account) {
            return Some(Missing::Show);
        }
        match self.demand(account.role) {
            Demand::Optional => None,
            Demand::Required if shown >= Assurance::TwoFactors => None,
            Demand::Required => Some(Missing::SetUp),
            Demand::Passkey if shown == Assurance::Passkey => None,
            Demand::Passkey => Some(Missing::SetUpPasskey),
        }
    }

    /// The same for a session; nothing for one that is complete, as that of a browser that is remembered.
    pub fn missing_in(&self, session: &Session) -> Option<Missing> {
        match session.complete {
            true => None,
            // Complete by what was shown and not marked so: the account or the rules changed in between. It is shown again.
            false => Some(
                self.missing(&session.account, session.assurance)
                    .unwrap_or(Missing::Show),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(role: Role, has_totp: bool, passkeys: i64, mail_codes: bool) -> Account {
        Account {
            id: "1".to_owned(),
            email: "ada@clinic.example".to_owned(),
            role,
            given: "Ada".to_owned(),
            family: "Lovelace".to_owned(),
            person: "2".to_owned(),
            profile: "Patient/3".to_owned(),
            has_totp,
            passkeys,
            mail_codes,
        }
    }

    const POLICY: FactorPolicy = FactorPolicy {
        patient: Demand::Optional,
        practitioner: Demand::Required,
        admin: Demand::Passkey,
        by_mail: [true, false, false],
    };

    #[test]
    fn a_role_shows_what_it_must() {
        use Assurance::{OneFactor, Passkey, TwoFactors};
        for (account, shown, missing) in [
            (account(Role::Patient, false, 0, false), OneFactor, None),
            (account(Role::Patient, true, 0, false), OneFactor, Some(Missing::Show)),
            (account(Role::Patient, false, 0, true), OneFactor, Some(Missing::Show)),
            (account(Role::Patient, false, 1, false), OneFactor, Some(Missing::Show)),
            (account(Role::Patient, true, 1, true), TwoFactors, None),
            (
                account(Role::Practitioner, false, 0, false),
                OneFactor,
                Some(Missing::SetUp),
            ),
            // Chosen when it was allowed, or in another role.
            (
                account(Role::Practitioner, false, 0, true),
                OneFactor,
                Some(Missing::SetUp),
            ),
            (
                account(Role::Practitioner, true, 0, false),
                OneFactor,
                Some(Missing::Show),
            ),
            (account(Role::Practitioner, true, 0, false), TwoFactors, None),
            (account(Role::Practitioner, false, 1, false), Passkey, None),
            (
                account(Role::Admin, false, 0, false),
                OneFactor,
                Some(Missing::SetUpPasskey),
            ),
            (account(Role::Admin, true, 0, false), OneFactor, Some(Missing::Show)),
            (
                account(Role::Admin, true, 0, false),
                TwoFactors,
                Some(Missing::SetUpPasskey),
            ),
            // Who has a passkey cannot get around it by less.
            (account(Role::Admin, true, 1, false), TwoFactors, Some(Missing::Show)),
            (account(Role::Admin, true, 1, false), Passkey, None),
        ] {
            assert_eq!(POLICY.missing(&account, shown), missing, "{account:?} {shown:?}");
        }
    }
}
