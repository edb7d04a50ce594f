//! Who has an account in the demo.

use anyhow::{Context, Result, anyhow};

use super::DOMAIN;
use crate::auth::AuthServer;
use crate::auth::accounts::{Account, NewAccount, NotCreated, Role};
use crate::auth::factors::authenticator::{self, Authenticator};
use crate::auth::passwords::Busy;

/// The password of every account of the demo.
pub const PASSWORD: &str = "try-medconsult";
/// What their authenticator apps hold, as a person types it in.
pub const CODES: &str = "NVSWIY3PNZZXK3DUEBSGK3LPEBRW6ZDF";
/// The same as bytes.
const SHARED: [u8; 20] = *b"medconsult demo code";

/// Somebody with an account.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// What the files of the story call them, and their address begins with.
    pub name: &'static str,
    pub given: &'static str,
    pub family: &'static str,
    pub role: Role,
    /// What there is to see with this account.
    pub about: &'static str,
}

const fn person(
    name: &'static str,
    (given, family): (&'static str, &'static str),
    role: Role,
    about: &'static str,
) -> Person {
    Person {
        name,
        given,
        family,
        role,
        about,
    }
}

/// All but the administrator.
pub const PEOPLE: [Person; 8] = [
    person(
        "nora",
        ("Nora", "Lindqvist"),
        Role::Patient,
        "a long record, visits to come and past",
    ),
    person(
        "mateo",
        ("Mateo", "Silva"),
        Role::Patient,
        "asthma; waits for an approval",
    ),
    person(
        "yuki",
        ("Yuki", "Mori"),
        Role::Patient,
        "a visit in the past, nothing to come",
    ),
    person(
        "bell",
        ("Mira", "Bell"),
        Role::Practitioner,
        "general practice, Berlin: a day with many visits",
    ),
    person("rivera", ("Tomás", "Rivera"), Role::Practitioner, "cardiology, Madrid"),
    person("rao", ("Anjali", "Rao"), Role::Practitioner, "paediatrics, Kolkata"),
    person("osei", ("Samuel", "Osei"), Role::Practitioner, "psychiatry, New York"),
    person("tanabe", ("Aiko", "Tanabe"), Role::Practitioner, "dermatology, Tokyo"),
];

/// Who runs the practice.
pub const ADMIN: Person = person("admin", ("Ruth", "Hale"), Role::Admin, "runs the practice");

/// All of them.
pub fn everybody() -> impl Iterator<Item = Person> {
    PEOPLE.into_iter().chain([ADMIN])
}

impl Person {
    pub fn email(&self) -> String {
        format!("{}{DOMAIN}", self.name)
    }

    /// Whether a code is asked for when they sign in.
    pub fn has_codes(&self) -> bool {
        self.role != Role::Patient
    }

    /// Opens the account. `hash` is that of [`PASSWORD`], which takes a while to make.
    ///
    /// # Errors
    /// When the database does not answer, or there is such an account.
    pub async fn open_account(&self, auth: &AuthServer, hash: &str) -> Result<Account> {
        let new = NewAccount {
            email: self.email(),
            role: self.role,
            given: self.given.to_owned(),
            family: self.family.to_owned(),
            password: hash.to_owned(),
        };
        let account = Account::create(auth, new).await.map_err(|error| match error {
            NotCreated::Taken => anyhow!("{} has an account already", self.email()),
            NotCreated::Failed => anyhow!("the account of {} could not be made", self.email()),
        })?;
        if self.has_codes() {
            let sealed = authenticator().seal(&auth.vault, &account.id);
            let mut transaction = auth.pool.begin().await?;
            authenticator::set_up(&mut transaction, &account.id, &sealed, 0).await?;
            transaction.commit().await?;
        }
        Ok(account)
    }
}

/// What every authenticator app of the demo holds.
pub fn authenticator() -> Authenticator {
    Authenticator::of(SHARED)
}

/// The hash of [`PASSWORD`].
///
/// # Errors
/// When it cannot be made now.
pub async fn password_hash(auth: &AuthServer) -> Result<String> {
    let hash = auth.passwords.hash(PASSWORD).await;
    hash.map_err(|Busy| anyhow!("too many passwords are being hashed"))
        .context("the password of the demo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_is_shown_is_the_key_that_is_used() {
        assert_eq!(authenticator().key(), CODES);
    }

    #[test]
    fn everybody_has_a_name_of_their_own() {
        let mut names: Vec<_> = everybody().map(|person| person.email()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), PEOPLE.len() + 1);
    }
}
