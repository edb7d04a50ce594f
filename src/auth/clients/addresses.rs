//! Addresses of applications: what may be registered, and where people may be sent.

use std::net::Ipv6Addr;

/// A loopback address in two parts, before and after its port; `None` for every other address.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]"]
        .into_iter()
        .find(|host| uri.starts_with(host))?;
    let rest = &uri[host.len()..];
    let (port, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_port.then_some((host, path))
}

/// Digits only: a sign in front of them would be a number to a parser, and nonsense to a browser.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Whether this is a host, perhaps with a port.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '@', '[', ']']),
    };
    is_host && port.is_none_or(is_port)
}

/// Whether `uri` is what was registered, but for the port of an application on the person's own machine.
pub(super) fn is_same(registered: &str, uri: &str) -> bool {
    registered == uri || without_port(registered).is_some_and(|registered| without_port(uri) == Some(registered))
}

/// Checks an address that people are to be sent back to: one of the web, or of an installed application's own scheme.
///
/// # Errors
/// A sentence about what is wrong.
pub fn check_redirect_uri(uri: &str) -> Result<(), String> {
    match scheme_of(uri)? {
        "https" | "http" => check_web_address(uri),
        // A dot, as in com.example.app: what browsers and systems understand themselves has none.
        scheme if scheme.contains('.') => Ok(()),
        scheme => Err(format!(
            "the scheme {scheme} is not an application's own, which has a dot, as in com.example.app"
        )),
    }
}

/// Checks an address of the web: absolute, without a fragment, by TLS or on the person's own machine.
///
/// # Errors
/// A sentence about what is wrong.
pub fn check_web_address(uri: &str) -> Result<(), String> {
    let scheme = scheme_of(uri)?;
    let authority = uri[scheme.len() + 1..]
        .strip_prefix("//")
        .and_then(|rest| rest.split(['/', '?']).next())
        .filter(|authority| is_authority(authority));
    let is_here =
        || without_port(uri).is_some() || authority.is_some_and(|host| host.split(':').next() == Some("localhost"));
    match scheme {
        "https" if authority.is_some() => Ok(()),
        "http" if is_here() => Ok(()),
        _ => Err(format!(
            "{uri} must begin with https:// and a host, or be on this machine (http://127.0.0.1)"
        )),
    }
}

/// The scheme of an absolute address without a fragment, of plain characters.
fn scheme_of(uri: &str) -> Result<&str, String> {
    let (scheme, rest) = uri
        .split_once(':')
        .ok_or_else(|| format!("{uri} is not an absolute address"))?;
    let is_plain = uri
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
    let is_scheme = scheme
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    match is_plain && is_scheme && !rest.is_empty() {
        true => Ok(scheme),
        false => Err(format!("{uri} is not an address without a fragment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_trusted_are_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example/cb?a=1",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:8000/cb",
            "http://[::1]/cb",
            "http://localhost:3000/",
            "com.example.app:/cb",
            "com.example.app://cb",
        ] {
            assert_eq!(check_redirect_uri(good), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "app.example/cb",
            "/cb",
            "http://app.example/cb",
            "https://",
            "https:/cb",
            "https://:443/cb",
            "https://app.example:/cb",
            "https://app.example:+80/cb",
            "https://app.example:65536/cb",
            "https://a:1:2/cb",
            "https://[::1/cb",
            "https://u@app.example/",
            "https://app.example/#x",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://app.example/a b",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example/",
            "myapp://cb",
        ] {
            assert!(check_redirect_uri(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn applications_are_opened_at_addresses_of_the_web() {
        assert_eq!(check_web_address("https://app.example/launch"), Ok(()));
        assert_eq!(check_web_address("http://127.0.0.1:8000/launch"), Ok(()));
        for wrong in [
            "com.example.app:/launch",
            "http://app.example/",
            "javascript:alert(1)",
            "https://a/#b",
            "",
        ] {
            assert!(check_web_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn people_are_sent_back_to_registered_addresses_only() {
        let web = "https://app.example/cb";
        assert!(is_same(web, "https://app.example/cb"));
        for other in [
            "https://app.example/cb/",
            "https://app.example/CB",
            "https://APP.example/cb",
            "https://app.example:443/cb",
            "https://app.example/cb?x=1",
            "https://app.example/cb#x",
            "https://app.example/cb/../cb",
            "https://app.example/%63b",
            "https://app.example%2Fcb",
            "https://u@app.example/cb",
            "http://app.example/cb",
            "https://app.example.evil.example/cb",
            "",
            "javascript:alert(1)",
        ] {
            assert!(!is_same(web, other), "{other}");
        }
        let native = "http://127.0.0.1/cb";
        assert!(is_same(native, "http://127.0.0.1:49152/cb") && is_same(native, "http://127.0.0.1/cb"));
        for other in [
            "http://127.0.0.1:1/other",
            "http://127.0.0.1:x/cb",
            "http://127.0.0.1:+80/cb",
            "http://127.0.0.1@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://[::1]/cb",
            "http://localhost/cb",
        ] {
            assert!(!is_same(native, other), "{other}");
        }
    }
}
