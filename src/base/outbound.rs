//! Requests to addresses that somebody else named, such as where an application keeps its keys.
//!
//! Whoever names an address must not make this server knock at doors that only it can reach: other machines of the practice,
//! itself, or the one where a cloud tells its secrets. So names are resolved here, and only public addresses are used; the
//! connection goes to the address that was judged. Nothing is followed to another address, and an answer is bounded in
//! size and time.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// Asks strangers.
#[derive(Debug)]
pub struct Outbound {
    client: Client,
    /// Hosts, as they stand in an address, whose addresses may be private.
    private_hosts: Vec<String>,
}

/// Why there is no answer. Says nothing about what is at the address: whoever named it may read this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundError {
    /// It is none that may be asked: no https, or not public.
    NotAllowed,
    /// It does not answer, in time, or with a success.
    Failed,
    /// Its answer is too long.
    TooLong,
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutboundError::NotAllowed => "the address may not be asked",
            OutboundError::Failed => "the address does not answer",
            OutboundError::TooLong => "the answer is too long",
        })
    }
}

impl Outbound {
    /// `private_hosts` may have private addresses, and those of this machine may do without TLS. An answer must be complete
    /// after `patience`.
    ///
    /// # Errors
    /// When TLS cannot be prepared.
    pub fn new(private_hosts: Vec<String>, patience: Duration) -> reqwest::Result<Outbound> {
        let client = Client::builder()
            // A proxy would resolve the name again, and might come to another address than the one that was judged.
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(PublicOnly {
                private_hosts: private_hosts.clone(),
            })
            .timeout(patience)
            .build()?;
        Ok(Outbound { client, private_hosts })
    }

    /// The answer at `address`, of at most `longest` bytes, with its headers.
    ///
    /// # Errors
    /// [`OutboundError`]
    pub async fn get(&self, address: &str, longest: usize) -> Result<(HeaderMap, Vec<u8>), OutboundError> {
        let url = Url::parse(address).map_err(|_| OutboundError::NotAllowed)?;
        if !self.allows(&url) {
            return Err(OutboundError::NotAllowed);
        }
        let request = self.client.get(url).header("accept", "application/json");
        let mut response = request.send().await.map_err(|_| OutboundError::Failed)?;
        if !response.status().is_success() {
            return Err(OutboundError::Failed);
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|_| OutboundError::Failed)? {
            if body.len() + part.len() > longest {
                return Err(OutboundError::TooLong);
            }
            body.extend_from_slice(&part);
        }
        Ok((response.headers().clone(), body))
    }

    /// Judges what can be judged before a name is resolved.
    fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let is_named = self.private_hosts.iter().any(|named| named == host);
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_this_machine = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let is_scheme = url.scheme() == "https" || url.scheme() == "http" && is_this_machine && is_named;
        let is_plain = url.username().is_empty() && url.password().is_none();
        // A resolver is not asked about numbers.
        is_scheme && is_plain && (is_named || address.is_none_or(is_public))
    }
}

/// Resolves names as the machine does, and drops what is not public.
struct PublicOnly {
    private_hosts: Vec<String>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let may_be_private = self.private_hosts.iter().any(|host| host == name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found.filter(|found| may_be_private || is_public(found.ip())).collect();
            match allowed.is_empty() {
                true => Err(io::Error::other("no public address").into()),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether everybody on the internet comes to the same machine by it
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, and the same for IPv6).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224
        // Between a carrier and its customers; protocol assignments; measurements.
        || a == 100 && (64..128).contains(&b)
        || (a, b, c) == (192, 0, 0)
        || a == 198 && (b == 18 || b == 19);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only this eighth is given out at all. In it: what carries an IPv4 address (Teredo, 6to4), documentation.
    let is_global = a & 0xe000 == 0x2000;
    let is_special = a == 0x2001 && (b < 0x0200 || b == 0x0db8) || a == 0x2002 || a == 0x3fff;
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for public in [
            "8.8.8.8",
            "100.63.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450::8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn addresses_are_judged_before_anything_is_sent() {
        let outbound = |hosts: &[&str]| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            Outbound::new(hosts, Duration::from_secs(1)).unwrap()
        };
        let allows = |outbound: &Outbound, address: &str| outbound.allows(&Url::parse(address).unwrap());
        let strict = outbound(&[]);
        assert!(allows(&strict, "https://app.example/keys") && allows(&strict, "https://8.8.8.8/keys"));
        for wrong in [
            "http://app.example/keys",
            "http://127.0.0.1/keys",
            "https://127.0.0.1/keys",
            "https://[::1]/keys",
            "https://[::ffff:10.0.0.1]/keys",
            "https://0x7f000001/keys",
            "https://2130706433/keys",
            "https://user@app.example/keys",
            "ftp://app.example/keys",
            "file:///etc/passwd",
        ] {
            assert!(!allows(&strict, wrong), "{wrong}");
        }
        let open = outbound(&["127.0.0.1", "keys.clinic.internal"]);
        assert!(allows(&open, "http://127.0.0.1:8000/keys") && allows(&open, "https://keys.clinic.internal/"));
        assert!(!allows(&open, "http://keys.clinic.internal/") && !allows(&open, "http://localhost/keys"));
    }

    #[tokio::test]
    async fn names_of_private_addresses_lead_nowhere() {
        let outbound = Outbound::new(Vec::new(), Duration::from_secs(5)).unwrap();
        let answer = outbound.get("https://localhost/keys", 1000).await;
        assert_eq!(answer.unwrap_err(), OutboundError::Failed);
    }
}
