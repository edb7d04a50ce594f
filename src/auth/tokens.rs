//! Grants and their tokens: made, changed for others, looked up, withdrawn.
//!
//! A token is a random word, and the database says what it stands for. A signed one could be checked without asking, but
//! not withdrawn at once; it would show its holder's claims to whoever sees it; and a record server asks its database anyway.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row};

use super::accounts::Role;
use super::launches::Context;
use super::recognition::TokenHash;
use super::scopes::{Kind, Scopes};
use crate::base::{IdGenerator, crypto};
use crate::fhir::step_up::{Assurance, Proof};

/// How long a back end may use an access token, as the guide recommends.
const BACK_END_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// How long an application may, before it refreshes it.
const APP_LIFE: SignedDuration = SignedDuration::from_mins(30);
/// How long a refresh token waits to be used. Using it gives a new one.
const REFRESH_LIFE: SignedDuration = SignedDuration::from_hours(92 * 24);
/// How long a grant lasts, however often it is refreshed.
const LONGEST_GRANT: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How long an authorization code waits to be used.
const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);

/// What somebody allows an application.
#[derive(Debug)]
pub struct NewGrant<'a> {
    pub client: &'a str,
    pub scopes: &'a Scopes,
    pub context: &'a Context,
    /// Who allows it; `None` where a back end acts in its own name.
    pub person: Option<GrantedBy<'a>>,
}

/// A person at a browser.
#[derive(Debug)]
pub struct GrantedBy<'a> {
    pub account: &'a str,
    pub session: &'a str,
    /// When and how surely they proved who they are,
    pub proof: Proof,
    /// and by what.
    pub methods: &'a [String],
}

impl NewGrant<'_> {
    /// Stores the grant; gives its id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store(
        &self,
        connection: &mut PgConnection,
        ids: &IdGenerator,
        now: Timestamp,
    ) -> Result<String, sqlx::Error> {
        let id = ids.next().to_string();
        if let Some(person) = &self.person {
            check_session(connection, person).await?;
        }
        // Access that was not asked to outlive the session ends with it.
        let person = self.person.as_ref();
        let session = person
            .map(|person| person.session)
            .filter(|_| !self.scopes.has(Kind::Offline));
        sqlx::query(
            "INSERT INTO oauth_grant
                 (id, client, account, session, scope, patient, encounter, context, proved_at, created_at, ends_at, assurance, methods)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(&id)
        .bind(self.client)
        .bind(person.map(|person| person.account))
        .bind(session)
        .bind(self.scopes.to_string())
        .bind(&self.context.patient)
        .bind(&self.context.encounter)
        .bind(Json(&self.context.rest))
        .bind(person.map(|person| person.proof.at.to_sqlx()))
        .bind(now.to_sqlx())
        .bind(after(now, LONGEST_GRANT))
        .bind(person.map(|person| person.proof.assurance.number()))
        .bind(person.map(|person| person.methods))
        .execute(connection)
        .await?;
        Ok(id)
    }
}

/// Refuses to grant anything in a session that was ended in this moment, by a change of the password for example. The lock on
/// the account makes such a change come before, or wait until the grant is there to be ended as well.
async fn check_session(connection: &mut PgConnection, person: &GrantedBy<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT FROM account WHERE id = $1 AND active FOR SHARE")
        .bind(person.account)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("SELECT FROM session WHERE id = $1 AND account = $2")
        .bind(person.session)
        .bind(person.account)
        .fetch_one(connection)
        .await?;
    Ok(())
}

fn after(now: Timestamp, life: SignedDuration) -> jiff_sqlx::Timestamp {
    now.saturating_add(life).unwrap_or(now).to_sqlx()
}

/// What an authorization code is bound to.
#[derive(Debug)]
pub struct NewCode<'a> {
    pub redirect_uri: &'a str,
    pub challenge: &'a str,
    pub nonce: Option<&'a str>,
}

/// Makes a code of the grant.
///
/// # Errors
/// Those of the database.
pub async fn new_code(
    connection: &mut PgConnection,
    now: Timestamp,
    grant: &str,
    code: &NewCode<'_>,
) -> Result<String, sqlx::Error> {
    let secret = crypto::random_token();
    sqlx::query(
        "INSERT INTO authorization_code (hash, grant_id, redirect_uri, challenge, nonce, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(crypto::digest(&secret))
    .bind(grant)
    .bind(code.redirect_uri)
    .bind(code.challenge)
    .bind(code.nonce)
    .bind(after(now, CODE_LIFE))
    .execute(connection)
    .await?;
    Ok(secret)
}

/// A grant whose code or refresh token was just used up.
#[derive(Debug)]
pub struct Redeemed {
    pub grant: String,
    pub client: String,
    pub scopes: Scopes,
    pub context: Context,
    pub account: Option<String>,
    /// How the person proved who they are, and by what.
    pub proof: Option<Proof>,
    pub methods: Option<Vec<String>>,
    pub expired: bool,
}

/// The rest of what a code was bound to.
#[derive(Debug)]
pub struct CodeBinding {
    pub redirect_uri: String,
    pub challenge: String,
    pub nonce: Option<String>,
}

const GRANT_COLUMNS: &str = "g.id, g.client, g.scope, g.patient, g.encounter, g.context, g.account, g.proved_at, \
     g.assurance, g.methods";

/// The proof behind a grant `g`; `None` for a back end's.
fn proof_of(row: &PgRow) -> Result<Option<Proof>, sqlx::Error> {
    let at: Option<jiff_sqlx::Timestamp> = row.try_get("proved_at")?;
    let assurance: Option<i16> = row.try_get("assurance")?;
    Ok(at.map(|at| Proof {
        at: at.to_jiff(),
        assurance: assurance.and_then(Assurance::of_number).unwrap_or(Assurance::OneFactor),
    }))
}

fn redeemed(row: &PgRow) -> Result<Redeemed, sqlx::Error> {
    let scope: String = row.try_get("scope")?;
    Ok(Redeemed {
        grant: row.try_get("id")?,
        client: row.try_get("client")?,
        scopes: Scopes::parse(&scope).map_err(|error| sqlx::Error::Decode(error.0.into()))?,
        context: Context::of_row(row)?,
        account: row.try_get("account")?,
        proof: proof_of(row)?,
        methods: row.try_get("methods")?,
        expired: row.try_get("expired")?,
    })
}

/// Uses a code up. Of several that use it at the same time, one gets the grant. Whoever comes later gets nothing and ends
/// it: one of them is a thief, and nobody knows which.
///
/// # Errors
/// Those of the database.
pub async fn redeem_code(
    connection: &mut PgConnection,
    now: Timestamp,
    code: &str,
) -> Result<Option<(Redeemed, CodeBinding)>, sqlx::Error> {
    let sql = format!(
        "UPDATE authorization_code c SET used = true FROM oauth_grant g
         WHERE c.hash = $1 AND g.id = c.grant_id AND NOT c.used
         RETURNING {GRANT_COLUMNS}, c.expires_at <= $2 AS expired, c.redirect_uri, c.challenge, c.nonce"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(crypto::digest(code))
        .bind(now.to_sqlx())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        sqlx::query("DELETE FROM oauth_grant g USING authorization_code c WHERE c.hash = $1 AND g.id = c.grant_id")
            .bind(crypto::digest(code))
            .execute(connection)
            .await?;
        return Ok(None);
    };
    let binding = CodeBinding {
        redirect_uri: row.try_get("redirect_uri")?,
        challenge: row.try_get("challenge")?,
        nonce: row.try_get("nonce")?,
    };
    Ok(Some((redeemed(&row)?, binding)))
}

/// The id of the client that was given a refresh token.
///
/// # Errors
/// Those of the database.
pub async fn client_of_refresh_token(
    database: impl PgExecutor<'_>,
    token: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT g.client FROM refresh_token t JOIN oauth_grant g ON g.id = t.grant_id WHERE t.hash = $1")
        .bind(crypto::digest(token))
        .fetch_optional(database)
        .await
}

/// Uses a refresh token up, if it is this client's, in the same way: a second use ends the grant with all its tokens.
///
/// # Errors
/// Those of the database.
pub async fn redeem_refresh_token(
    connection: &mut PgConnection,
    now: Timestamp,
    client: &str,
    token: &str,
) -> Result<Option<Redeemed>, sqlx::Error> {
    let sql = format!(
        "UPDATE refresh_token t SET used = true FROM oauth_grant g LEFT JOIN account a ON a.id = g.account
         WHERE t.hash = $1 AND g.id = t.grant_id AND g.client = $3 AND NOT t.used AND coalesce(a.active, true)
         RETURNING {GRANT_COLUMNS}, (t.expires_at <= $2 OR g.ends_at <= $2) AS expired"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(crypto::digest(token))
        .bind(now.to_sqlx())
        .bind(client)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        sqlx::query(
            "DELETE FROM oauth_grant g USING refresh_token t
             WHERE t.hash = $1 AND g.id = t.grant_id AND g.client = $2 AND t.used",
        )
        .bind(crypto::digest(token))
        .bind(client)
        .execute(connection)
        .await?;
        return Ok(None);
    };
    Ok(Some(redeemed(&row)?))
}

/// Tokens that were just made: the only moment when they are known.
#[derive(Debug)]
pub struct Issued {
    pub access_token: String,
    /// The name of the access token where it must not be shown.
    pub jti: String,
    pub expires_in: SignedDuration,
    pub refresh_token: Option<String>,
}

/// Makes an access token of the grant with these scopes, and a refresh token if the grant is to last.
///
/// # Errors
/// Those of the database.
pub async fn issue(
    connection: &mut PgConnection,
    ids: &IdGenerator,
    now: Timestamp,
    grant: &str,
    granted: &Scopes,
    scopes: &Scopes,
) -> Result<Issued, sqlx::Error> {
    let access_token = crypto::random_token();
    let jti = ids.next().to_string();
    let expires_in = if granted.are_for_back_ends() {
        BACK_END_LIFE
    } else {
        APP_LIFE
    };
    sqlx::query(
        "INSERT INTO access_token (hash, jti, grant_id, scope, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(crypto::digest(&access_token))
    .bind(&jti)
    .bind(grant)
    .bind(scopes.to_string())
    .bind(now.to_sqlx())
    .bind(after(now, expires_in))
    .execute(&mut *connection)
    .await?;
    let lasts = granted.has(Kind::Offline) || granted.has(Kind::Online);
    let refresh_token = lasts.then(crypto::random_token);
    if let Some(token) = &refresh_token {
        sqlx::query("INSERT INTO refresh_token (hash, grant_id, expires_at) VALUES ($1, $2, $3)")
            .bind(crypto::digest(token))
            .bind(grant)
            .bind(after(now, REFRESH_LIFE))
            .execute(connection)
            .await?;
    }
    Ok(Issued {
        access_token,
        jti,
        expires_in,
        refresh_token,
    })
}

/// A token that is good now.
#[derive(Clone, Debug)]
pub struct Live {
    pub jti: String,
    pub client: String,
    pub scopes: Scopes,
    /// What the application was opened about.
    pub context: Context,
    /// The session with which it ends, if it does not outlive it.
    pub session: Option<String>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// On whose behalf; `None` for a back end.
    pub user: Option<LiveUser>,
    /// How that person proved who they are.
    pub proof: Option<Proof>,
}

/// The account on whose behalf a token is used.
#[derive(Clone, Debug)]
pub struct LiveUser {
    pub account: String,
    pub role: Role,
    /// `Patient/…` or `Practitioner/…`
    pub profile: String,
    /// The id of their Person.
    pub person: String,
    pub given: String,
    pub family: String,
}

/// What the token of this hash stands for; `None` if it is unknown, has expired or was withdrawn, or its client or account is closed.
///
/// # Errors
/// Those of the database.
pub async fn look_up(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    token: &TokenHash,
) -> Result<Option<Live>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT t.jti, c.id AS client, t.scope, t.issued_at, t.expires_at, g.account, g.proved_at, g.assurance, g.session, g.patient, g.encounter,
                g.context, a.role, a.profile, a.person, a.given, a.family
         FROM access_token t JOIN oauth_grant g ON g.id = t.grant_id JOIN oauth_client c ON c.id = g.client
              LEFT JOIN account a ON a.id = g.account
         WHERE t.hash = $1 AND t.expires_at > $2 AND c.enabled AND coalesce(a.active, true)",
    )
    .bind(token)
    .bind(now.to_sqlx())
    .fetch_optional(database)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let instant = |column: &str| {
        row.try_get::<jiff_sqlx::Timestamp, _>(column)
            .map(|instant| instant.to_jiff())
    };
    let user = match row.try_get("account")? {
        None => None,
        Some(account) => Some(LiveUser {
            account,
            role: row
                .try_get::<String, _>("role")?
                .parse()
                .map_err(|error: String| sqlx::Error::Decode(error.into()))?,
            profile: row.try_get("profile")?,
            person: row.try_get("person")?,
            given: row.try_get("given")?,
            family: row.try_get("family")?,
        }),
    };
    // A scope that this release no longer knows makes the token worthless rather than powerful.
    let Ok(scopes) = Scopes::parse(row.try_get("scope")?) else {
        return Ok(None);
    };
    Ok(Some(Live {
        jti: row.try_get("jti")?,
        client: row.try_get("client")?,
        scopes,
        context: Context::of_row(&row)?,
        session: row.try_get("session")?,
        issued_at: instant("issued_at")?,
        expires_at: instant("expires_at")?,
        user,
        proof: proof_of(&row)?,
    }))
}

/// Ends the grant of an access or refresh token of this client, and with it every token of the grant. Does nothing for one
/// that is unknown or another client's (<https://www.rfc-editor.org/rfc/rfc7009#section-2.2>).
///
/// # Errors
/// Those of the database.
pub async fn revoke(database: impl PgExecutor<'_>, client: &str, token: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM oauth_grant g
         WHERE g.client = $2 AND g.id IN (SELECT grant_id FROM access_token WHERE hash = $1
                                          UNION ALL SELECT grant_id FROM refresh_token WHERE hash = $1)",
    )
    .bind(crypto::digest(token))
    .bind(client)
    .execute(database)
    .await?;
    Ok(())
}

/// Ends a grant.
///
/// # Errors
/// Those of the database.
pub async fn end_grant(database: impl PgExecutor<'_>, grant: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM oauth_grant WHERE id = $1")
        .bind(grant)
        .execute(database)
        .await?;
    Ok(())
}

/// The applications that a person has let in, by name, each with its id.
///
/// # Errors
/// Those of the database.
pub async fn applications_of(
    database: impl PgExecutor<'_>,
    now: Timestamp,
    account: &str,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT DISTINCT c.name, c.id FROM oauth_grant g JOIN oauth_client c ON c.id = g.client
         WHERE g.account = $1 AND g.ends_at > $2
           AND (EXISTS (SELECT FROM access_token t WHERE t.grant_id = g.id AND t.expires_at > $2)
                OR EXISTS (SELECT FROM refresh_token t WHERE t.grant_id = g.id AND t.expires_at > $2 AND NOT t.used))
         ORDER BY 1, 2",
    )
    .bind(account)
    .bind(now.to_sqlx())
    .fetch_all(database)
    .await
}

/// Takes an application's access to an account away.
///
/// # Errors
/// Those of the database.
pub async fn end_application(database: impl PgExecutor<'_>, account: &str, client: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM oauth_grant WHERE account = $1 AND client = $2")
        .bind(account)
        .bind(client)
        .execute(database)
        .await?;
    Ok(())
}

/// Removes what has expired by itself. Run by the job `auth.sweep`; doing it twice does no harm.
///
/// # Errors
/// Those of the database.
pub async fn sweep(connection: &mut PgConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM used_assertion WHERE expires_at <= $1",
        "DELETE FROM access_token WHERE expires_at <= $1",
        "DELETE FROM refresh_token WHERE expires_at <= $1",
        // A code is remembered as long as what it was changed for could last, to notice a second use; so it goes with it.
        "DELETE FROM oauth_grant g WHERE ends_at <= $1
         OR created_at <= $1 - interval '1 hour' AND NOT EXISTS (SELECT FROM access_token t WHERE t.grant_id = g.id)
            AND NOT EXISTS (SELECT FROM refresh_token t WHERE t.grant_id = g.id AND NOT t.used)",
    ] {
        sqlx::query(statement)
            .bind(now.to_sqlx())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
