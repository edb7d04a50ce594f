//! What fuzzing calls: the parsers of what strangers send, and what must hold of whatever they accept. `cargo fuzz` runs these with
//! inputs that it finds by coverage (`make fuzz`), an ordinary test with the corpus and some thousand changes to it.

use jiff::Timestamp;
use medconsult::auth::clients::{Client, Proof, check_redirect_uri};
use medconsult::auth::oauth::assertion;
use medconsult::auth::scopes::Scopes;
use medconsult::edge::cors::origin_of;
use medconsult::fhir::http::query::Query;
use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search;
use medconsult::fhir::server::FhirServer;

/// A list of scopes means the same when it is written and read again, and covers itself.
pub fn scopes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(scopes) = Scopes::parse(text) else {
        return;
    };
    let written = scopes.to_string();
    assert_eq!(Scopes::parse(&written).as_ref(), Ok(&scopes), "{written:?}");
    assert!(scopes.cover(&scopes), "{written:?}");
    assert!(
        written
            .split(' ')
            .all(|word| text.split(' ').any(|asked| asked == word)),
        "nothing is added to {text:?}"
    );
    // What an application gets of what it asks for is never more than either says.
    let registered = "openid patient/*.rs patient/Observation.cu user/Patient.r?gender=female";
    let registered = Scopes::parse(registered).unwrap_or_default();
    let common = registered.common(&scopes);
    assert!(registered.cover(&common) && scopes.cover(&common), "{written:?}");
}

/// An assertion that is read names a client, and ends within minutes.
pub fn assertions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let now = Timestamp::UNIX_EPOCH;
    let Some((_, claims)) = assertion::read(text, &["https://clinic.example/auth/token"], now) else {
        return;
    };
    assert!(!claims.client.is_empty() && !claims.jti.is_empty());
    assert!(
        claims.expires_at > now && claims.expires_at.as_second() <= 330,
        "{}",
        claims.expires_at
    );
}

/// Two lines: an address that is registered, and one that a request asks to be sent back to. Who can register the first is
/// sent there, and to no other host.
pub fn redirects(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (registered, asked) = text.split_once('\n').unwrap_or((text, text));
    if check_redirect_uri(registered).is_err() {
        return;
    }
    let client = Client {
        id: "app".to_owned(),
        name: String::new(),
        scopes: Scopes::default(),
        redirect_uris: vec![registered.to_owned()],
        launch_url: None,
        launches: false,
        is_own: false,
        proof: Proof::Public,
    };
    assert!(client.may_redirect_to(registered), "{registered:?}");
    if client.may_redirect_to(asked) && asked != registered {
        // Only the port of this machine may differ.
        let host = ["http://127.0.0.1", "http://[::1]"]
            .into_iter()
            .find(|host| asked.starts_with(host));
        let host = host.unwrap_or_else(|| panic!("{registered:?} {asked:?}"));
        let registered = registered.strip_prefix(host).map(without_port);
        assert_eq!(registered, asked.strip_prefix(host).map(without_port));
    }
    if let Some(origin) = origin_of(registered) {
        let rest = origin.split_once("://").map_or("", |(_, rest)| rest);
        assert!(
            !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ']),
            "{origin:?}"
        );
        assert_eq!(
            origin_of(&origin).as_deref(),
            Some(origin.as_str()),
            "an origin is its own"
        );
    }
}

fn without_port(rest: &str) -> &str {
    rest.strip_prefix(':')
        .map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A search of a type, as in `Patient?name=x`, is read or refused in words; a client that may send anything never finds a fault
/// in the program.
pub fn searches(server: &FhirServer, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (resource_type, query) = text.split_once('?').unwrap_or(("Observation", text));
    let Ok(query) = Query::parse(query) else {
        return;
    };
    for handling in [Handling::Lenient, Handling::Strict] {
        if let Err(error) = search::parse(server, search::Scope::Type(resource_type), &query.0, handling) {
            assert!(error.status.is_client_error(), "{text:?}: {error}");
        }
    }
}
