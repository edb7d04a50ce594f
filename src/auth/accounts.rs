//! Accounts: who signs in, and which resources stand for them.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};

use super::AuthServer;
pub use crate::fhir::access::Role;
use crate::fhir::caller::Caller;
use crate::fhir::commit::{CommitError, Op, Target, Write, commit};

/// An account, without its password.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: String,
    pub email: String,
    pub role: Role,
    pub given: String,
    pub family: String,
    /// The id of a Person, which links to the profile.
    pub person: String,
    /// `Patient/…` or `Practitioner/…`
    pub profile: String,
    /// Whether an authenticator app is set up.
    pub has_totp: bool,
    /// How many passkeys there are.
    pub passkeys: i64,
    /// Whether the person chose to have codes by mail. Their role must allow it, too
    /// ([`FactorPolicy::mails_codes_to`](super::factors::policy::FactorPolicy::mails_codes_to)).
    pub mail_codes: bool,
}

/// Who closed an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The person: they may change their mind for a while ([`REOPENING`]).
    Owner,
    /// The practice: only it opens the account again.
    Operator,
}

impl ClosedBy {
    fn name(self) -> &'static str {
        match self {
            ClosedBy::Owner => "owner",
            ClosedBy::Operator => "operator",
        }
    }
}

/// For how long after closing their account people may open it again by mail. An operator always can.
pub const REOPENING: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What there is at an address.
#[derive(Debug)]
pub enum Found {
    Open(Account),
    /// Closed by its owner a short while ago: it can be opened again.
    Reopenable(Account),
    /// Closed for good, as far as its owner is concerned.
    Closed(Account),
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
pub const COLUMNS: &str = "a.id, a.email, a.role, a.given, a.family, a.person, a.profile, \
     a.totp_secret IS NOT NULL AS has_totp, a.mail_codes, \
     (SELECT count(*) FROM passkey k WHERE k.account = a.id) AS passkeys";

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
            person: row.try_get("person")?,
            profile: row.try_get("profile")?,
            has_totp: row.try_get("has_totp")?,
            passkeys: row.try_get("passkeys")?,
            mail_codes: row.try_get("mail_codes")?,
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

    /// The open account of this id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn by_id(database: impl PgExecutor<'_>, id: &str) -> Result<Option<Account>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM account a WHERE a.id = $1 AND a.active");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(database)
            .await?;
        row.map(|row| Account::of_row(&row)).transpose()
    }

    /// The address of whoever has this profile (`Patient/…`, `Practitioner/…`) and an open account.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn address_of(database: impl PgExecutor<'_>, profile: &str) -> Result<Option<String>, sqlx::Error> {
        let sql = "SELECT email FROM account WHERE profile = $1 AND active ORDER BY created_at LIMIT 1";
        sqlx::query_scalar(sql).bind(profile).fetch_optional(database).await
    }

    /// What there is at this address, closed accounts too.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn look_up(
        database: impl PgExecutor<'_>,
        now: Timestamp,
        email: &str,
    ) -> Result<Option<Found>, sqlx::Error> {
        let sql = format!(
            "SELECT {COLUMNS}, a.active, coalesce(a.closed_by = 'owner' AND a.closed_at > $2, false) AS reopenable
             FROM account a WHERE a.email = $1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(email)
            .bind(now.saturating_sub(REOPENING).unwrap_or(now).to_sqlx())
            .fetch_optional(database)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let account = Account::of_row(&row)?;
        Ok(Some(match (row.try_get("active")?, row.try_get("reopenable")?) {
            (true, _) => Found::Open(account),
            (false, true) => Found::Reopenable(account),
            (false, false) => Found::Closed(account),
        }))
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
            person: person.id,
            profile: person.profile,
            has_totp: false,
            passkeys: 0,
            mail_codes: false,
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
    pub async fn set_password(transaction: &mut PgConnection, id: &str, hash: &str) -> Result<(), sqlx::Error> {
        Account::end_everything(transaction, id).await?;
        sqlx::query("UPDATE account SET password = $2 WHERE id = $1")
            .bind(id)
            .bind(hash)
            .execute(transaction)
            .await?;
        Ok(())
    }

    /// Closes the account: nobody signs in, and every session and every application's access ends. The resources, and how the
    /// person proves who they are, stay: a record outlives an account.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn close(
        transaction: &mut PgConnection,
        now: Timestamp,
        id: &str,
        by: ClosedBy,
    ) -> Result<(), sqlx::Error> {
        Account::end_everything(transaction, id).await?;
        sqlx::query("UPDATE account SET active = false, closed_at = $2, closed_by = $3 WHERE id = $1")
            .bind(id)
            .bind(now.to_sqlx())
            .bind(by.name())
            .execute(transaction)
            .await?;
        Ok(())
    }

    /// Opens a closed account again. Whether it was closed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn reopen(database: impl PgExecutor<'_>, id: &str) -> Result<bool, sqlx::Error> {
        let opened = sqlx::query(
            "UPDATE account SET active = true, closed_at = NULL, closed_by = NULL WHERE id = $1 AND NOT active",
        )
        .bind(id)
        .execute(database)
        .await?;
        Ok(opened.rows_affected() == 1)
    }

    /// Ends every session, remembered browser, application's access and mailed link of the account.
    ///
    /// The account is locked first, by a statement of its own: whoever signs in at this moment with the old password either
    /// is done, and is seen by the statement that follows, or waits for the lock and finds the password changed
    /// ([`Session::begin`](super::sessions::Session::begin)).
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_everything(transaction: &mut PgConnection, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT FROM account WHERE id = $1 FOR UPDATE")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "WITH sessions AS (DELETE FROM session WHERE account = $1),
                  links AS (DELETE FROM mailed_link WHERE account = $1),
                  devices AS (DELETE FROM remembered_device WHERE account = $1)
             DELETE FROM oauth_grant WHERE account = $1",
        )
        .bind(id)
        .execute(transaction)
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
