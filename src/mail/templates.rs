//! The words of mails. One file per mail and language says it as plain text, in three blocks: `subject`, `body` and `button`
//! (what the link is called). The two layouts make of these the text and the HTML of the mail, which therefore never say
//! different things, and HTML escapes whatever stands in it.
//!
//! `<language>/words.jinja` has what a language says in several mails, `<language>/footer.jinja` what stands below all.
//! A folder of the operator's may replace each file, or add languages; what it lacks is taken from the built-in ones.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use minijinja::{AutoEscape, Captured, Environment, Error, UndefinedBehavior, context};
use serde_json::{Value, json};

use super::Letter;

macro_rules! files {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/mail/", $name)))),*]
    };
}

/// Name and text of each file of `templates/mail/`, in alphabetical order. A test compares the list with the folder.
const FILES: &[(&str, &str)] = files![
    "de/account-changed.jinja",
    "de/account-closed.jinja",
    "de/account-code.jinja",
    "de/account-created.jinja",
    "de/account-exists.jinja",
    "de/account-invitation.jinja",
    "de/account-is-closed.jinja",
    "de/account-new-address.jinja",
    "de/account-reopen.jinja",
    "de/account-reset.jinja",
    "de/account-verified.jinja",
    "de/appointment-approved.jinja",
    "de/appointment-cancelled.jinja",
    "de/appointment-rejected.jinja",
    "de/appointment-requested.jinja",
    "de/appointment-rescheduled.jinja",
    "de/document-added.jinja",
    "de/footer.jinja",
    "de/payment-failed.jinja",
    "de/payment-refunded.jinja",
    "de/payment-succeeded.jinja",
    "de/prescription-added.jinja",
    "de/reschedule-declined.jinja",
    "de/reschedule-requested.jinja",
    "de/words.jinja",
    "en/account-changed.jinja",
    "en/account-closed.jinja",
    "en/account-code.jinja",
    "en/account-created.jinja",
    "en/account-exists.jinja",
    "en/account-invitation.jinja",
    "en/account-is-closed.jinja",
    "en/account-new-address.jinja",
    "en/account-reopen.jinja",
    "en/account-reset.jinja",
    "en/account-verified.jinja",
    "en/appointment-approved.jinja",
    "en/appointment-cancelled.jinja",
    "en/appointment-rejected.jinja",
    "en/appointment-requested.jinja",
    "en/appointment-rescheduled.jinja",
    "en/document-added.jinja",
    "en/footer.jinja",
    "en/payment-failed.jinja",
    "en/payment-refunded.jinja",
    "en/payment-succeeded.jinja",
    "en/prescription-added.jinja",
    "en/reschedule-declined.jinja",
    "en/reschedule-requested.jinja",
    "en/words.jinja",
    "layout.html",
    "layout.text",
];

/// Files of a language that are no mails.
const PARTS: [&str; 2] = ["footer", "words"];

/// A mail in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// All templates, read and tried.
pub struct Templates {
    environment: Environment<'static>,
    /// Of those who understand none of ours.
    language: String,
    /// Who writes, as every mail says.
    sender: String,
}

impl Templates {
    /// The built-in templates, with those of `folder` in place of or beside them (none if it is empty). `language` is for
    /// those who have not chosen one that there are templates in, `sender` the name of who writes.
    ///
    /// # Errors
    /// When the folder cannot be read, a file of it is no template, or does not do for what such a mail is about.
    pub fn open(folder: &Path, language: &str, sender: &str) -> Result<Templates> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
            true => AutoEscape::Html,
            false => AutoEscape::None,
        });
        for (name, text) in FILES {
            environment.add_template(name, text)?;
        }
        if !folder.as_os_str().is_empty() {
            for (name, text) in files_of(folder)? {
                let added = environment.add_template_owned(name, text);
                added.with_context(|| format!("a template in {}", folder.display()))?;
            }
        }
        let templates = Templates {
            environment,
            language: language.to_lowercase(),
            sender: sender.to_owned(),
        };
        templates.try_all()?;
        Ok(templates)
    }

    /// Puts a letter into words, in the first of the reader's languages that has its template.
    ///
    /// # Errors
    /// When the template does not exist, or names a value that the letter does not have.
    pub fn write(&self, letter: &Letter) -> Result<Words, Error> {
        self.write_in(&self.language_for(letter), letter)
    }

    fn write_in(&self, language: &str, letter: &Letter) -> Result<Words, Error> {
        let values = context! {
            link => "",
            code => "",
            sender => self.sender.as_str(),
            language => language,
            preferences => letter.preferences.as_deref().unwrap_or_default(),
        };
        let own = letter.values.iter().map(|(name, value)| (name.as_str(), named(value)));
        let values = context! { ..minijinja::Value::from_pairs(own), ..values };
        let mail = self
            .environment
            .get_template(&format!("{language}/{}.jinja", letter.template))?;
        let mut mail = mail.render_captured(&values)?;
        let footer = self.environment.get_template(&format!("{language}/footer.jinja"))?;
        let mut footer = footer.render_captured(&values)?;
        let subject = paragraphs(&mut mail, "subject")?.join(" ");
        let parts = context! {
            subject => subject.as_str(),
            paragraphs => paragraphs(&mut mail, "body")?,
            button => paragraphs(&mut mail, "button")?.join(" "),
            copy => paragraphs(&mut footer, "copy")?.join(" "),
            footer => paragraphs(&mut footer, "footer")?,
            ..values
        };
        let layout = |name: &str| self.environment.get_template(name)?.render(&parts);
        Ok(Words {
            text: layout("layout.text")?,
            html: layout("layout.html")?,
            subject,
        })
    }

    /// RFC 4647, section 3.4: the tags in order, each shortened from its end until there is something.
    fn language_for(&self, letter: &Letter) -> String {
        let has = |tag: &&str| {
            let name = format!("{tag}/{}.jinja", letter.template);
            self.environment.get_template(&name).is_ok()
        };
        let ranges = ranges(&letter.languages);
        let mut wanted = ranges.iter().flat_map(|range| shortened(range));
        let found = wanted.find(has).map(str::to_owned);
        let fallback = [self.language.as_str(), "en"].into_iter().find(has);
        found.or(fallback.map(str::to_owned)).unwrap_or_default()
    }

    /// Writes every mail in every language that there is, so that a template that fails does so now.
    fn try_all(&self) -> Result<()> {
        let names: BTreeSet<&str> = self.environment.templates().map(|(name, _)| name).collect();
        ensure!(
            names.contains(format!("{}/words.jinja", self.language).as_str()),
            "there are no templates in the language {:?}",
            self.language
        );
        for name in names {
            let Some((language, template)) = name.strip_suffix(".jinja").and_then(|name| name.split_once('/')) else {
                continue;
            };
            if PARTS.contains(&template) {
                continue;
            }
            for letter in samples(template) {
                let written = self.write_in(language, &letter);
                let written = written.with_context(|| format!("the template {name}"))?;
                ensure!(!written.subject.is_empty(), "the template {name} has no subject");
            }
        }
        Ok(())
    }
}

/// A value as templates see it.
fn named(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(is) => (*is).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.to_string().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().map(named).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            minijinja::Value::from_pairs(members.iter().map(|(name, value)| (name.as_str(), named(value))))
        }
    }
}

/// A block as paragraphs: what blank lines separate, each on one line.
fn paragraphs(of: &mut Captured<'_>, block: &str) -> Result<Vec<String>, Error> {
    let text = of.with_state_mut(|state| state.render_block(block))?;
    let mut paragraphs = vec![String::new()];
    for line in text.lines() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(&line);
            }
            _ => paragraphs.push(String::new()),
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    Ok(paragraphs)
}

/// Language ranges of a header Accept-Language, lower-case, the best first.
fn ranges(header: &str) -> Vec<String> {
    let mut ranges: Vec<(u32, String)> = Vec::new();
    for range in header.split(',').take(20) {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim().to_lowercase();
        let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok());
        let quality = (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32;
        let is_tag = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_tag && quality > 0 {
            ranges.push((quality, tag));
        }
    }
    ranges.sort_by_key(|(quality, _)| Reverse(*quality));
    ranges.into_iter().map(|(_, tag)| tag).collect()
}

/// `de-at-1996`, `de-at`, `de`
fn shortened(tag: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(tag), |tag| tag.rsplit_once('-').map(|(rest, _)| rest))
}

/// The templates in an operator's folder: files in it and in the folders of languages.
fn files_of(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let entries = |path: &Path| fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()));
    for entry in entries(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            for file in entries(&entry.path())? {
                let file = file?;
                let inner = file.file_name().to_string_lossy().into_owned();
                if inner.ends_with(".jinja") {
                    files.push((format!("{}/{inner}", name.to_lowercase()), read(&file.path())?));
                }
            }
        } else if name == "layout.html" || name == "layout.text" {
            files.push((name, read(&entry.path())?));
        }
    }
    Ok(files)
}

/// Letters as this template gets them, of every kind.
fn samples(template: &str) -> Vec<Letter> {
    let link = "https://clinic.example/apps/patient/open/7";
    let at = json!({"year": 2026, "month": 3, "day": 29, "time": "09:30", "zone": "Europe/Berlin"});
    let values: Vec<Value> = match template {
        "account-code" => vec![json!({"code": "12345678"})],
        "account-is-closed" => vec![json!({})],
        "account-changed" => CHANGES
            .iter()
            .map(|change| json!({"link": link, "change": change, "provider": "Clinic"}))
            .collect(),
        _ if template.starts_with("account-") => vec![json!({"link": link})],
        _ => {
            let states = ["approved", "pending-payment", "requested"];
            let roles = ["patient", "practitioner"];
            let kinds = roles
                .iter()
                .flat_map(|role| states.iter().map(move |state| (*role, *state)));
            kinds
                .map(|(role, state)| json!({"link": link, "role": role, "state": state, "at": at}))
                .collect()
        }
    };
    let letter = |values: Value| Letter {
        to: "ada@clinic.example".to_owned(),
        template: template.to_owned(),
        languages: String::new(),
        values: values.as_object().cloned().unwrap_or_default(),
        preferences: (!template.starts_with("account-")).then(|| "https://clinic.example/settings".to_owned()),
    };
    values.into_iter().map(letter).collect()
}

/// What `account-changed` tells of: the codes of the changes that their owners are told about.
pub const CHANGES: [&str; 13] = [
    "address asked for",
    "authenticator removed",
    "authenticator set up",
    "backup codes",
    "codes by mail",
    "codes by mail ended",
    "passkey added",
    "passkey removed",
    "password",
    "password reset",
    "provider connected",
    "provider disconnected",
    "reopened",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Templates {
        Templates::open(Path::new(""), "en", "Clinic <South>").unwrap()
    }

    /// Every mail there is, in the words of every language.
    fn every() -> Vec<(String, String, Words)> {
        let templates = built_in();
        let mut all = Vec::new();
        for (name, _) in FILES {
            let Some((language, template)) = name.strip_suffix(".jinja").and_then(|name| name.split_once('/')) else {
                continue;
            };
            if !PARTS.contains(&template) {
                for letter in samples(template) {
                    let words = templates.write_in(language, &letter).unwrap();
                    all.push((language.to_owned(), template.to_owned(), words));
                }
            }
        }
        all
    }

    #[test]
    fn the_list_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/mail");
        let mut there: Vec<String> = files_of(&folder).unwrap().into_iter().map(|(name, _)| name).collect();
        there.sort_unstable();
        let listed: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(there, listed);
        let of = |language: &str| {
            let files = FILES.iter().filter_map(|(name, _)| name.strip_prefix(language));
            files
                .map(|name| name.trim_start_matches('/').to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("de/"), of("en/"));
    }

    /// Words that would tell a stranger who reads over a shoulder what somebody suffers from, takes, or whom they see.
    #[test]
    fn no_mail_says_anything_about_health() {
        let telling = [
            "prescri",
            "medic",
            "drug",
            "tablet",
            "diagnos",
            "doctor",
            "physician",
            "lab ",
            "disease",
            "illness",
            "symptom",
            "therap",
            "rezept",
            "verschreib",
            "arznei",
            "befund",
            "krank",
            "arzt",
            "ärzt",
            "medizin",
        ];
        for (language, template, words) in every() {
            let said = format!("{} {} {}", words.subject, words.text, words.html).to_lowercase();
            let found = telling.iter().find(|word| said.contains(**word));
            assert_eq!(found, None, "{language}/{template}: {said}");
        }
    }

    #[test]
    fn every_mail_is_whole_in_both_forms() {
        let all = every();
        assert!(all.len() > 150, "{}", all.len());
        for (language, template, words) in all {
            let place = format!("{language}/{template}");
            let Words { subject, text, html } = words;
            assert!(
                !subject.contains('\n') && subject.chars().count() <= 78,
                "{place}: {subject}"
            );
            assert!(html.contains(&format!("<html lang=\"{language}\">")), "{place}");
            assert!(
                html.contains("Clinic &lt;South&gt;") && !html.contains("Clinic <South>"),
                "{place}: {html}"
            );
            assert!(
                text.contains("Clinic <South>") && !text.contains("&lt;"),
                "{place}: {text}"
            );
            for line in text.lines() {
                assert!(!line.contains("{{") && !line.contains("  "), "{place}: {line:?}");
            }
            let has_link = text
                .lines()
                .any(|line| line == "https://clinic.example/apps/patient/open/7");
            let needs_none = template == "account-code" || template == "account-is-closed";
            assert_eq!(has_link, !needs_none, "{place}: {text}");
            assert_eq!(
                html.contains("<a href=\"https:&#x2f;&#x2f;clinic.example&#x2f;apps"),
                has_link,
                "{place}: {html}"
            );
            assert_eq!(
                text.contains("https://clinic.example/settings"),
                !template.starts_with("account-"),
                "{place}"
            );
        }
    }

    #[test]
    fn what_is_put_in_cannot_become_html() {
        let mut letter = samples("account-changed")
            .into_iter()
            .find(|letter| letter.values["change"] == "provider connected")
            .unwrap();
        letter
            .values
            .insert("provider".to_owned(), json!("<script>alert(1)</script>"));
        let words = built_in().write(&letter).unwrap();
        assert!(
            !words.html.contains("<script>") && words.html.contains("&lt;script&gt;"),
            "{}",
            words.html
        );
    }

    #[test]
    fn the_language_is_the_best_of_those_that_there_are() {
        let templates = built_in();
        let language = |languages: &str| {
            let letter = Letter {
                languages: languages.to_owned(),
                ..samples("account-verified").remove(0)
            };
            templates.language_for(&letter)
        };
        for (wanted, expected) in [
            ("", "en"),
            ("de", "de"),
            ("de-AT", "de"),
            ("DE-at-1996", "de"),
            ("fr, de;q=0.5, en;q=0.2", "de"),
            ("de;q=0.2,en;q=0.8", "en"),
            ("de;q=0, fr", "en"),
            ("*", "en"),
            ("../../etc, de", "de"),
        ] {
            assert_eq!(language(wanted), expected, "{wanted:?}");
        }
        let german = Templates::open(Path::new(""), "de", "Klinik").unwrap();
        let letter = samples("account-verified").remove(0);
        assert_eq!(german.write(&letter).unwrap().subject, "Ihr Konto ist eröffnet");
    }

    #[test]
    fn moments_are_told_in_the_words_of_the_language() {
        let letter = samples("payment-succeeded").remove(0);
        let templates = built_in();
        let text = |language: &str| templates.write_in(language, &letter).unwrap().text;
        assert!(
            text("en").contains("on 29 March 2026 at 09:30 (Europe/Berlin)"),
            "{}",
            text("en")
        );
        assert!(
            text("de").contains("am 29. März 2026 um 09:30 Uhr (Europe/Berlin)"),
            "{}",
            text("de")
        );
    }

    #[test]
    fn a_folder_replaces_templates_and_adds_languages() {
        let folder = std::env::temp_dir().join(format!("medconsult-templates-{}", std::process::id()));
        fs::create_dir_all(folder.join("en")).unwrap();
        fs::create_dir_all(folder.join("fr")).unwrap();
        let mail = |subject: &str| {
            format!(
                "{{% block subject %}}{subject}{{% endblock %}}{{% block body %}}x{{% endblock %}}{{% block button %}}y{{% endblock %}}"
            )
        };
        fs::write(
            folder.join("en/account-verified.jinja"),
            mail("Welcome to {{ sender }}"),
        )
        .unwrap();
        fs::write(folder.join("fr/account-verified.jinja"), mail("Bienvenue")).unwrap();
        let footer = "{% block copy %}c{% endblock %}{% block footer %}f{% endblock %}";
        fs::write(folder.join("fr/footer.jinja"), footer).unwrap();
        let templates = Templates::open(&folder, "en", "Clinic").unwrap();
        let subject = |template: &str, languages: &str| {
            let letter = Letter {
                languages: languages.to_owned(),
                ..samples(template).remove(0)
            };
            templates.write(&letter).unwrap().subject
        };
        assert_eq!(subject("account-verified", "en"), "Welcome to Clinic");
        assert_eq!(subject("account-verified", "fr-CA"), "Bienvenue");
        // What the folder does not have.
        assert_eq!(subject("account-reset", "fr"), "Choose another password");

        // One that names what such a mail does not have is told at the start.
        fs::write(folder.join("en/account-reset.jinja"), mail("{{ password }}")).unwrap();
        let error = Templates::open(&folder, "en", "Clinic").err().unwrap();
        assert!(format!("{error:#}").contains("en/account-reset.jinja"), "{error:#}");
        fs::remove_dir_all(&folder).unwrap();
        assert!(Templates::open(Path::new(""), "eo", "Clinic").is_err());
    }
}
