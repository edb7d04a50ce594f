//! Accounts: who signs in, and which resources stand for them.

use jiff_sqlx::ToSqlx;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row};

use super::AuthServer;
pub use crate::fhir::access::Role;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{CommitError, Op, Target, Write, commit};

impl Role {
    /// Whether it may sign in by password alone.
    pub fn needs_second_factor(self) -> bool {
        match self {
            Role::Patient => false,
            Role::Practitioner | Role::Admin => true,
        }
    }
}

/// An account, without its password.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: String,
    pub email: String,
    pub role: Role,
    pub given: String,
    pub family: String,
    /// `Patient/…` or `Practitioner/…`
    pub profile: String,
    /// The id of their Person.
    pub person: String,
    /// Whether an authenticator app is set up.
    pub has_totp: bool,
}

/// What an account is made from, once the address is proved.
#[derive(Debug)]
pub struct NewAccount {
    pub email: String,
    pub role: Role,
    pub given: String,
    pub family: String,
    /// As [`Passwords::hash`](super::passwords::Passwords::hash) made it.
    pub password: String,
}

/// Why no account was made.
#[derive(Debug)]
pub enum NotCreated {
    /// The address has an account.
    Taken,
    /// The database does not answer, or the resources were refused.
    Failed,
}

impl From<sqlx::Error> for NotCreated {
    fn from(_: sqlx::Error) -> NotCreated {
        NotCreated::Failed
    }
}

impl From<CommitError> for NotCreated {
    fn from(error: CommitError) -> NotCreated {
        tracing::error!(%error.error, "the resources of a new account were refused");
        NotCreated::Failed
    }
}

/// The columns that [`Account::of_row`] reads, of an `account` called `a`.
pub const COLUMNS: &str =
    "a.id, a.email, a.role, a.given, a.family, a.profile, a.person, a.totp_secret IS NOT NULL AS has_totp";

impl Account {
    /// # Errors
    /// When a column is missing, or the role is unknown to this release.
    pub fn of_row(row: &PgRow) -> Result<Account, sqlx::Error> {
        let role: String = row.try_get("role")?;
        Ok(Account {
            id: row.try_get("id")?,
            email: row.try_get("email")?,
            role: role
                .parse()
                .map_err(|error: String| sqlx::Error::Decode(error.into()))?,
            given: row.try_get("given")?,
            family: row.try_get("family")?,
            profile: row.try_get("profile")?,
            person: row.try_get("person")?,
            has_totp: row.try_get("has_totp")?,
        })
    }

    /// The account of this address and the hash of its password, unless it was deactivated.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn by_email(
        database: impl PgExecutor<'_>,
        email: &str,
    ) -> Result<Option<(Account, String)>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS}, a.password FROM account a WHERE a.email = $1 AND a.active");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(email)
            .fetch_optional(database)
            .await?;
        row.map(|row| Ok((Account::of_row(&row)?, row.try_get("password")?)))
            .transpose()
    }

    /// Makes an account and, in one commit, the resources that stand for the person.
    ///
    /// The resources come first, under fresh ids. If the server stops in between, nobody refers to them, and the next
    /// attempt makes others; an account without its resources would be worse.
    ///
    /// # Errors
    /// [`NotCreated`]
    pub async fn create(auth: &AuthServer, new: NewAccount) -> Result<Account, NotCreated> {
        let taken: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM account WHERE email = $1)")
            .bind(&new.email)
            .fetch_one(&auth.pool)
            .await?;
        if taken {
            return Err(NotCreated::Taken);
        }
        let person = Person::new(auth, &new);
        let writes = person.resources.into_iter().map(|resource| Op {
            write: Write::Update {
                target: Target::Instance {
                    resource_type: resource["resourceType"].as_str().unwrap_or_default().to_owned(),
                    id: resource["id"].as_str().unwrap_or_default().to_owned(),
                },
                resource,
                if_match: None,
                if_none_match_any: false,
            },
            full_url: None,
        });
        commit(&auth.fhir, &Caller::server(), writes.collect()).await?;
        let account = Account {
            id: auth.ids.next().to_string(),
            email: new.email,
            role: new.role,
            given: new.given,
            family: new.family,
            profile: person.profile,
            person: person.id,
            has_totp: false,
        };
        let added = sqlx::query(
            "INSERT INTO account (id, email, role, password, given, family, person, profile, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (email) DO NOTHING",
        )
        .bind(&account.id)
        .bind(&account.email)
        .bind(account.role.name())
        .bind(&new.password)
        .bind(&account.given)
        .bind(&account.family)
        .bind(&account.person)
        .bind(&account.profile)
        .bind(auth.clock.now().to_sqlx())
        .execute(&auth.pool)
        .await?;
        match added.rows_affected() {
            1 => Ok(account),
            _ => Err(NotCreated::Taken),
        }
    }

    /// Sets another password, and ends every session, every application's access and every forgotten-password link.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_password(database: impl PgExecutor<'_>, id: &str, hash: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "WITH sessions AS (DELETE FROM session WHERE account = $1),
                  links AS (DELETE FROM mailed_link WHERE account = $1 AND purpose = 'reset'),
                  devices AS (DELETE FROM remembered_device WHERE account = $1),
                  grants AS (DELETE FROM oauth_grant WHERE account = $1)
             UPDATE account SET password = $2 WHERE id = $1",
        )
        .bind(id)
        .bind(hash)
        .execute(database)
        .await?;
        Ok(())
    }

    /// Closes the account: nobody signs in, and every session and every application's access ends. The resources stay as they are: a record outlives an
    /// account.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn deactivate(database: impl PgExecutor<'_>, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "WITH sessions AS (DELETE FROM session WHERE account = $1),
                  links AS (DELETE FROM mailed_link WHERE account = $1),
                  devices AS (DELETE FROM remembered_device WHERE account = $1),
                  grants AS (DELETE FROM oauth_grant WHERE account = $1)
             UPDATE account SET active = false WHERE id = $1",
        )
        .bind(id)
        .execute(database)
        .await?;
        Ok(())
    }
}

/// The resources that stand for a person: a Person, which links to a Patient, or to a Practitioner with a PractitionerRole.
struct Person {
    id: String,
    profile: String,
    resources: Vec<Value>,
}

impl Person {
    fn new(auth: &AuthServer, new: &NewAccount) -> Person {
        let fresh = || auth.ids.next().to_string();
        let name = json!([{"use": "official", "family": new.family, "given": [new.given]}]);
        let (profile_type, profile_id) = match new.role {
            Role::Patient => ("Patient", fresh()),
            Role::Practitioner | Role::Admin => ("Practitioner", fresh()),
        };
        let profile = format!("{profile_type}/{profile_id}");
        let id = fresh();
        let mut resources = vec![
            json!({"resourceType": profile_type, "id": profile_id, "active": true, "name": name}),
            json!({
                "resourceType": "Person", "id": id, "active": true, "name": name,
                // The person proved an address; that they are who they say is for the practice to check.
                "link": [{"target": {"reference": profile}, "assurance": "level1"}],
            }),
        ];
        let code = match new.role {
            Role::Patient => None,
            Role::Practitioner => Some(json!([{
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/practitioner-role", "code": "doctor"}],
            }])),
            Role::Admin => Some(json!([{"text": "Administrator"}])),
        };
        if let Some(code) = code {
            resources.push(json!({
                "resourceType": "PractitionerRole", "id": fresh(), "active": true,
                "practitioner": {"reference": profile}, "code": code,
            }));
        }
        Person { id, profile, resources }
    }
}

/// An address as it is compared and stored; `None` for what cannot be one.
pub fn fold_email(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let is_plain = text.len() <= 254
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || "<>,;:\"()[]\\".contains(c));
    let is_address =
        is_plain && !local.is_empty() && !local.contains('@') && domain.split('.').all(|label| !label.is_empty());
    is_address.then(|| text.to_lowercase())
}

/// Text of a name, or `None` for what cannot be one.
pub fn tidy_name(text: &str) -> Option<String> {
    let tidy = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_name = (1..=100).contains(&tidy.chars().count()) && !tidy.chars().any(char::is_control);
    is_name.then_some(tidy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_and_judged() {
        assert_eq!(
            fold_email(" Ada@Clinic.Example "),
            Some("ada@clinic.example".to_owned())
        );
        assert_eq!(fold_email("root@localhost"), Some("root@localhost".to_owned()));
        let long = format!("{}@clinic.example", "a".repeat(250));
        for wrong in [
            "",
            "ada",
            "@clinic.example",
            "ada@",
            "ada@clinic..example",
            "a da@x.y",
            "a@b@c.d",
            "<a@b.c>",
            "a\r\nb@c.d",
            &long,
        ] {
            assert_eq!(fold_email(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_tidied_and_judged() {
        assert_eq!(tidy_name("  Mary  Ann "), Some("Mary Ann".to_owned()));
        assert_eq!(
            (tidy_name(" "), tidy_name("a\u{0}b"), tidy_name(&"x".repeat(101))),
            (None, None, None)
        );
    }
}
