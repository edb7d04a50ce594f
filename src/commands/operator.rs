//! Who runs a command that changes who is let in, and the record of it: accounts, applications and keys are not changed without one.

use std::env;

use anyhow::{Context, Result};
use sqlx::{Postgres, Transaction};

use super::OpenDatabase;
use crate::app;
use crate::audit::key;
use crate::base::Clock;
use crate::base::postgres::own_name;
use crate::config::Config;
use crate::fhir::trail::{Event, Kind, Trail};

/// Longest name that is believed.
const LONGEST: usize = 64;

/// Somebody at the server's machine.
pub struct Operator {
    name: String,
    trail: Trail,
}

impl Operator {
    /// Whoever runs this process, with the trail of the database. A server makes AuditEvents of what is recorded, this one or the
    /// next that starts.
    ///
    /// # Errors
    /// When the trail's key cannot be had.
    pub async fn at(database: &OpenDatabase, config: &Config) -> Result<Operator> {
        let key = key::load(&database.pools.write, &app::vault(config)?).await?;
        Ok(Operator {
            name: name(own_name(), env::var("SUDO_USER").ok()),
            trail: Trail::new(&database.pools, Clock::system(), key),
        })
    }

    /// Something that they did.
    pub fn did(&self, kind: Kind, change: &str) -> Event {
        Event::new(kind).operator(&self.name).detail("change", change)
    }

    /// Records it in the transaction that does it, and ends that.
    ///
    /// # Errors
    /// When the database cannot store it: then it is not done either.
    pub async fn commit(&self, mut transaction: Transaction<'_, Postgres>, event: Event) -> Result<()> {
        let recorded = self.trail.write(&mut transaction, &[event]).await;
        recorded.context("what is done cannot be recorded, so it is not done")?;
        Ok(transaction.commit().await?)
    }
}

/// `root, for ada`: the account that the process has, and the one that `sudo` was called by.
fn name(own: Option<String>, by_sudo: Option<String>) -> String {
    let is_name = |name: &String| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain)
    };
    let own = own.filter(is_name).unwrap_or_else(|| "unknown".to_owned());
    match by_sudo.filter(is_name) {
        Some(by) => format!("{own}, for {by}"),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_named_as_the_system_knows_them() {
        let name = |own: &str, sudo: &str| name(Some(own.to_owned()), Some(sudo.to_owned()));
        assert_eq!(name("root", "ada"), "root, for ada");
        assert_eq!(name("ada", ""), "ada");
        assert_eq!(name("", "a b"), "unknown");
        assert_eq!(name("ada@clinic.example", &"x".repeat(65)), "ada@clinic.example");
    }
}
