//! What is different from a server in earnest.

use anyhow::{Context, Result, ensure};

use crate::config::{Auth, Config};

/// The settings of the demo, out of those of the operator.
///
/// # Errors
/// When the demo could be reached from another machine, or its mails could.
pub fn of_demo(mut config: Config) -> Result<Config> {
    ensure!(
        config.listen.ip().is_loopback(),
        "the demo listens on a loopback address only: everybody knows its passwords"
    );
    let public = &config.public_url;
    ensure!(
        public.is_empty() || is_here(public),
        "the demo has no public address: everybody knows its passwords"
    );
    let mail = [config.mail.server.reveal(), &config.mail.provider];
    ensure!(
        mail.iter().all(|url| url.is_empty() || is_here(url)),
        "the demo sends no mail to other machines: leave mail.server and mail.provider empty, or name what is on this one"
    );
    config.auth = Auth::On;
    config.demo = true;
    if config.database.url.reveal().is_none() {
        config.data_dir = config.data_dir.join("demo");
    }
    Ok(config)
}

/// Whether the host of a URL is this machine.
fn is_here(url: &str) -> bool {
    let host = || -> Result<bool> {
        let url: reqwest::Url = url.parse().context("this is no URL")?;
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        Ok(host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
    };
    host().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_stays_on_this_machine() {
        let config = of_demo(Config::default()).unwrap();
        assert!(config.auth == Auth::On && config.data_dir.ends_with("demo"));
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            of_demo(config).is_err()
        };
        assert!(refused(|config| config.listen = "0.0.0.0:8080".parse().unwrap()));
        assert!(refused(|config| config.public_url = "https://clinic.example".to_owned()));
        assert!(refused(
            |config| config.mail.server = "smtp://mail.example".to_owned().into()
        ));
        assert!(!refused(
            |config| config.mail.server = "smtp://127.0.0.1:2525".to_owned().into()
        ));
        assert!(!refused(|config| config.public_url = "http://localhost:8080".to_owned()));
        assert!(!refused(|config| config.listen = "[::1]:8080".parse().unwrap()));
    }
}
