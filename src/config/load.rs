//! Reads the settings: the file, then the environment, then the files of secrets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use toml::{Table, Value};

use super::{Config, ProviderConfig};
use crate::base::secrets;

const PREFIX: &str = "MEDCONSULT_";
/// Variables with our prefix that are not settings: where the settings are, and where tests find their data.
const NOT_SETTINGS: [&str; 3] = ["MEDCONSULT_CONFIG", "MEDCONSULT_SHARED", "MEDCONSULT_HL7_PACKAGE"];
const DEFAULT_FILE: &str = "medconsult.toml";

impl Config {
    /// Reads the file named by `file`, else by `MEDCONSULT_CONFIG`, else `medconsult.toml` if there is one, and then the
    /// environment.
    ///
    /// # Errors
    /// A file that cannot be read, a name that does not exist, a value of the wrong type.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let named = file
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("MEDCONSULT_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        // A variable that is not UTF-8 cannot be one of ours.
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::from_parts(&text, &path, environment)
    }

    fn from_parts(text: &str, path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let mut table: Table = toml::from_str(text).with_context(|| format!("{} is not valid TOML", path.display()))?;
        let mut environment: Vec<_> = environment.collect();
        let known = known_settings(&provider_names(&table, &environment));
        refuse_unknown(&table, "", &known).with_context(|| format!("in {}", path.display()))?;
        // So that MEDCONSULT_DATABASE_URL, which is more explicit, wins over DATABASE_URL, which other programs read too.
        environment.sort();
        for (name, value) in environment {
            let setting = match name.as_str() {
                "DATABASE_URL" => "database.url".to_owned(),
                _ if !name.starts_with(PREFIX) || NOT_SETTINGS.contains(&name.as_str()) => continue,
                _ => known
                    .iter()
                    .map(|(setting, _)| setting)
                    .find(|setting| variable(setting) == name)
                    .cloned()
                    .with_context(|| unknown("environment variable", &name, known.iter().map(|(s, _)| variable(s))))?,
            };
            let example = known
                .iter()
                .find(|(known, _)| *known == setting)
                .map(|(_, example)| example);
            let value = match example {
                Some(Value::Integer(_)) => Value::Integer(
                    value
                        .parse()
                        .with_context(|| format!("{name} must be a whole number"))?,
                ),
                Some(Value::Boolean(_)) => {
                    Value::Boolean(value.parse().with_context(|| format!("{name} must be true or false"))?)
                }
                Some(Value::Array(_)) => {
                    let elements = value.split(',').map(str::trim).filter(|element| !element.is_empty());
                    Value::Array(elements.map(|element| Value::String(element.to_owned())).collect())
                }
                _ => Value::String(value),
            };
            insert(&mut table, &setting, value);
        }
        let mut config: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.to_string().trim()))?;
        config.read_secret_files()?;
        config.check()?;
        Ok(config)
    }

    /// Reads the secrets that are named by a file, so that none needs to stand in a settings file or an environment, which
    /// other processes of the account can read. (The master key is read where it may have to be made.)
    fn read_secret_files(&mut self) -> Result<()> {
        fn read<S: From<String>>(name: &str, file: &Path, is_set: bool, secret: &mut S) -> Result<()> {
            if file.as_os_str().is_empty() {
                return Ok(());
            }
            if is_set {
                bail!("{name} and {name}_file are both set: leave one of them out");
            }
            *secret = secrets::read(file).with_context(|| format!("{name}_file"))?.into();
            Ok(())
        }
        let (database, mail) = (&mut self.database, &mut self.mail);
        let is_set = database.url.reveal().is_some();
        read("database.url", &database.url_file, is_set, &mut database.url)?;
        let is_set = !mail.server.reveal().is_empty();
        read("mail.server", &mail.server_file, is_set, &mut mail.server)?;
        let is_set = !mail.provider_key.reveal().is_empty();
        read(
            "mail.provider_key",
            &mail.provider_key_file,
            is_set,
            &mut mail.provider_key,
        )?;
        let payments = &mut self.payments;
        let is_set = !payments.stripe_key.reveal().is_empty();
        read(
            "payments.stripe_key",
            &payments.stripe_key_file,
            is_set,
            &mut payments.stripe_key,
        )?;
        let is_set = !payments.webhook_secret.reveal().is_empty();
        let file = &payments.webhook_secret_file;
        read("payments.webhook_secret", file, is_set, &mut payments.webhook_secret)?;
        let objects = &mut self.objects;
        let is_set = !objects.access_key.reveal().is_empty();
        read(
            "objects.access_key",
            &objects.access_key_file,
            is_set,
            &mut objects.access_key,
        )?;
        let is_set = !objects.secret_key.reveal().is_empty();
        read(
            "objects.secret_key",
            &objects.secret_key_file,
            is_set,
            &mut objects.secret_key,
        )?;
        for (name, provider) in &mut self.identity.providers {
            let name = format!("identity.providers.{name}.client_secret");
            let is_set = !provider.client_secret.reveal().is_empty();
            read(&name, &provider.client_secret_file, is_set, &mut provider.client_secret)?;
        }
        Ok(())
    }
}

/// The providers that the file or the environment names: the only settings whose names an operator chooses.
fn provider_names(table: &Table, environment: &[(String, String)]) -> BTreeSet<String> {
    let in_file = table.get("identity").and_then(|identity| identity.get("providers"));
    let in_file = in_file
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::keys)
        .cloned();
    let suffixes: Vec<String> = settings_of(&ProviderConfig::default(), "")
        .into_iter()
        .map(|(key, _)| format!("_{}", key.to_uppercase()))
        .collect();
    let in_environment = environment.iter().filter_map(|(variable, _)| {
        let rest = variable.strip_prefix("MEDCONSULT_IDENTITY_PROVIDERS_")?;
        let name = suffixes.iter().find_map(|suffix| rest.strip_suffix(suffix.as_str()))?;
        Some(name.to_lowercase())
    });
    in_file.chain(in_environment).filter(|name| !name.is_empty()).collect()
}

/// Every setting as `section.key`, with its default.
fn known_settings(providers: &BTreeSet<String>) -> Vec<(String, Value)> {
    let mut known = settings_of(&Config::default(), "");
    for name in providers {
        known.extend(settings_of(
            &ProviderConfig::default(),
            &format!("identity.providers.{name}."),
        ));
    }
    known
}

/// The settings in a section, each with its default.
fn settings_of(section: &impl Serialize, prefix: &str) -> Vec<(String, Value)> {
    fn collect(table: &Table, prefix: &str, into: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            match value {
                Value::Table(section) => collect(section, &format!("{prefix}{key}."), into),
                leaf => into.push((format!("{prefix}{key}"), leaf.clone())),
            }
        }
    }
    let mut settings = Vec::new();
    if let Ok(Value::Table(table)) = Value::try_from(section) {
        collect(&table, prefix, &mut settings);
    }
    settings
}

fn refuse_unknown(table: &Table, prefix: &str, known: &[(String, Value)]) -> Result<()> {
    for (key, value) in table {
        let setting = format!("{prefix}{key}");
        let section = format!("{setting}.");
        match value {
            Value::Table(inner) if known.iter().any(|(known, _)| known.starts_with(&section)) => {
                refuse_unknown(inner, &section, known)?;
            }
            Value::Table(inner) if inner.is_empty() => {}
            _ if known.iter().any(|(known, _)| *known == setting) => {}
            _ => bail!(unknown(
                "setting",
                &setting,
                known.iter().map(|(setting, _)| setting.clone())
            )),
        }
    }
    Ok(())
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let nearest = known
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 4);
    match nearest {
        Some((_, nearest)) => format!("unknown {what} {name}; did you mean {nearest}?"),
        None => format!("unknown {what} {name}; `medconsult config` lists all settings"),
    }
}

fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "_").to_uppercase())
}

fn insert(table: &mut Table, setting: &str, value: Value) {
    match setting.split_once('.') {
        None => {
            table.insert(setting.to_owned(), value);
        }
        Some((section, key)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_parts(text, Path::new("medconsult.toml"), environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = "listen = '127.0.0.1:1'\n[search]\nmax_count = 50\ndefault_count = 10\n";
        let environment = [
            ("MEDCONSULT_LISTEN", "127.0.0.1:2"),
            ("MEDCONSULT_SEARCH_MAX_COUNT", "70"),
            ("HOME", "/root"),
        ];
        let config = load(file, &environment).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!((config.search.default_count, config.search.max_count), (10, 70));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_suggests_the_nearest() {
        let error = load("[search]\nmax_cuont = 5", &[]).unwrap_err();
        assert!(
            error.contains("unknown setting search.max_cuont; did you mean search.max_count?"),
            "{error}"
        );
        let error = load("", &[("MEDCONSULT_LISTEM", "127.0.0.1:1")]).unwrap_err();
        assert!(error.contains("did you mean MEDCONSULT_LISTEN?"), "{error}");
        let error = load("frobnicate = true", &[]).unwrap_err();
        assert!(error.contains("`medconsult config` lists"), "{error}");
    }

    #[test]
    fn without_accounts_only_loopback_is_listened_on() {
        for open in ["0.0.0.0:8080", "[::]:8080", "192.168.1.7:80"] {
            let error = load("", &[("MEDCONSULT_LISTEN", open)]).unwrap_err();
            assert!(error.contains("refusing to listen"), "{error}");
        }
        assert!(load("", &[("MEDCONSULT_LISTEN", "[::1]:8080")]).is_ok());
        assert!(
            load("auth = 'maybe'", &[])
                .unwrap_err()
                .contains("auth cannot be \"maybe\"")
        );
    }

    #[test]
    fn tokens_do_not_cross_a_network_in_the_clear() {
        assert!(load("auth = 'on'", &[]).is_ok());
        let open = "auth = 'on'\nlisten = '0.0.0.0:8080'\n";
        assert!(load(open, &[]).unwrap_err().contains("in the clear"));
        assert!(load(&format!("{open}public_url = 'http://clinic.example'"), &[]).is_err());
        assert!(load(&format!("{open}public_url = 'https://clinic.example'"), &[]).is_ok());
        let tls = "[tls]\ncertificate = 'a.pem'\nkey = 'a.key'";
        assert_eq!(
            load(&format!("{open}{tls}"), &[]).unwrap().root_url(),
            "https://0.0.0.0:8080"
        );
        assert!(
            load("[tls]\ncertificate = 'a.pem'", &[])
                .unwrap_err()
                .contains("go together")
        );
        let plain = load(&format!("public_url = 'http://clinic.example'\n{tls}"), &[]);
        assert!(plain.unwrap_err().contains("must begin with https"));
    }

    #[test]
    fn an_origin_has_no_path() {
        for wrong in [
            "https://app.example/",
            "app.example",
            "https://*.example",
            "null",
            "https://",
        ] {
            let error = load(&format!("[http]\ncors_origins = ['{wrong}']"), &[]).unwrap_err();
            assert!(error.contains("is not an origin"), "{error}");
        }
        assert!(load("[http]\ncors_origins = ['*', 'http://localhost:3000']", &[]).is_ok());
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let file = std::env::temp_dir().join(format!("medconsult-secret-{}", std::process::id()));
        fs::write(&file, "smtps://clinic:hunter2@mail.example\n").unwrap();
        let settings = format!("[mail]\nserver_file = '{}'\n", file.display());
        let config = load(&settings, &[]).unwrap();
        assert_eq!(config.mail.server.reveal(), "smtps://clinic:hunter2@mail.example");
        assert!(!format!("{config:?}{}", config.to_toml()).contains("hunter2"));
        let both = load(&settings, &[("MEDCONSULT_MAIL_SERVER", "smtp://other")]);
        assert!(both.unwrap_err().contains("leave one of them out"));
        fs::remove_file(&file).unwrap();
        assert!(load(&settings, &[]).unwrap_err().contains("mail.server_file"));
    }

    #[test]
    fn secrets_are_masked() {
        let url = "postgres://clinic:hunter2@db.example/records?password=hunter2";
        let config = load("", &[("DATABASE_URL", url)]).unwrap();
        assert_eq!(config.database.url.reveal(), Some(url));
        assert!(config.to_toml().contains("postgres://clinic:***@db.example/records"));
        assert!(!format!("{config:?}{}", config.to_toml()).contains("hunter2"));
        let secrets = [
            ("MEDCONSULT_IDENTITY_MASTER_KEY", "hunter2"),
            ("MEDCONSULT_MAIL_SERVER", "smtps://clinic:hunter2@mail.example"),
            ("MEDCONSULT_IDENTITY_SIGN_UP", "false"),
        ];
        let config = load("", &secrets).unwrap();
        assert_eq!(
            (config.identity.master_key.reveal(), config.identity.sign_up),
            ("hunter2", false)
        );
        assert!(!format!("{config:?}{}", config.to_toml()).contains("hunter2"));
    }

    #[test]
    fn the_key_of_payments_does_not_cross_a_network_in_the_clear() {
        let at = |url: &str| {
            load(
                &format!("[payments]\nstripe_key = 'sk_test_x'\nstripe_url = '{url}'"),
                &[],
            )
        };
        for private in [
            "",
            "https://stripe.example",
            "http://127.0.0.1:12111",
            "http://localhost/",
        ] {
            assert!(at(private).is_ok(), "{private}");
        }
        for open in [
            "http://stripe.example",
            "http://127.0.0.1.example",
            "http://localhost.example:1",
            "stripe",
        ] {
            assert!(at(open).unwrap_err().contains("payments.stripe_url"), "{open}");
        }
        assert!(!at("").unwrap().to_toml().contains("sk_test_x"));
    }

    #[test]
    fn a_switch_is_true_or_false_in_the_environment() {
        let config = load("", &[("MEDCONSULT_SEARCH_FULL_TEXT", "false")]).unwrap();
        assert!(!config.search.full_text);
        assert!(load("", &[("MEDCONSULT_SEARCH_FULL_TEXT", "no")]).is_err());
    }

    #[test]
    fn providers_are_named_by_the_operator() {
        let file = "[identity.providers.clinic]\nissuer = 'https://id.clinic.example'\nclient_id = 'medconsult'\n";
        let environment = [
            ("MEDCONSULT_IDENTITY_PROVIDERS_CLINIC_CLIENT_SECRET", "hunter2"),
            ("MEDCONSULT_IDENTITY_PROVIDERS_OTHER_CONNECT_BY_EMAIL", "true"),
        ];
        let config = load(file, &environment).unwrap();
        let (clinic, other) = (
            &config.identity.providers["clinic"],
            &config.identity.providers["other"],
        );
        assert_eq!(
            (clinic.client_id.as_str(), clinic.client_secret.reveal()),
            ("medconsult", "hunter2")
        );
        assert!(other.connect_by_email && !clinic.connect_by_email && clinic.scopes.len() == 3);
        assert!(!config.to_toml().contains("hunter2"));
        assert_eq!(load(&config.to_toml(), &[]).unwrap().identity.providers.len(), 2);
        let error = load("[identity.providers.clinic]\nisuer = ''", &[]).unwrap_err();
        assert!(
            error.contains("did you mean identity.providers.clinic.issuer?"),
            "{error}"
        );
    }

    #[test]
    fn lists_are_separated_by_commas_in_the_environment() {
        let config = load(
            "",
            &[("MEDCONSULT_HTTP_CORS_ORIGINS", "https://a.example, https://b.example")],
        )
        .unwrap();
        assert_eq!(config.http.cors_origins, ["https://a.example", "https://b.example"]);
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let printed = load("", &[]).unwrap().to_toml();
        assert_eq!(load(&printed, &[]).unwrap().to_toml(), printed);
    }

    #[test]
    fn the_base_url_follows_the_public_one() {
        assert_eq!(load("", &[]).unwrap().fhir_base(), "http://127.0.0.1:8080/fhir");
        assert_eq!(
            load("public_url = 'https://clinic.example/'", &[]).unwrap().fhir_base(),
            "https://clinic.example/fhir"
        );
    }
}
