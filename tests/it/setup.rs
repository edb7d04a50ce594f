//! `scripts/setup` on machines that lack something, played by folders with fake programs: nothing is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A machine that has exactly these programs.
struct Machine(PathBuf);

impl Machine {
    fn with(name: &str, programs: &[(&str, &str)]) -> Machine {
        let folder = std::env::temp_dir().join(format!("medconsult-setup-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let machine = Machine(folder);
        machine.add("env", r#"while [ "${1#*=}" != "$1" ]; do shift; done; exec "$@""#);
        for (program, script) in programs {
            machine.add(program, script);
        }
        // What the script finds by absolute paths is this real machine's.
        let script = include_str!("../../scripts/setup");
        let script = ["/usr/", "/opt/", "/home/"]
            .iter()
            .fold(script.to_owned(), |script, root| {
                script.replace(&format!(" {root}"), &format!(" {}/none{root}", machine.0.display()))
            });
        fs::write(machine.0.join("setup"), script).unwrap();
        for font in ["NotoSans-Regular.ttf", "wqy-microhei.ttc"] {
            machine.add_font(font);
        }
        machine
    }

    fn fonts(&self) -> PathBuf {
        self.0.join("none/usr/share/fonts/truetype")
    }

    fn add_font(&self, name: &str) {
        fs::create_dir_all(self.fonts()).unwrap();
        fs::write(self.fonts().join(name), "").unwrap();
    }

    /// Adds a program, which writes down that it was called.
    fn add(&self, program: &str, script: &str) {
        let path = self.0.join(program);
        let log = self.0.join("calls");
        let text = format!(
            "#!/bin/bash\nprintf '%s\\n' \"{program} $*\" >> '{}'\n{script}\n",
            log.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Whether the script ends well, what it says, and which installations it asks for.
    fn set_up(&self, environment: &[(&str, &str)]) -> (bool, String, Vec<String>) {
        self.set_up_for(&[], environment)
    }

    fn set_up_for(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String, Vec<String>) {
        let output = Command::new("/bin/bash")
            .arg(self.0.join("setup"))
            .args(arguments)
            .env_clear()
            .env("PATH", &self.0)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let calls = fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        let installs = calls
            .lines()
            .filter(|call| call.starts_with("apt-get"))
            .map(str::to_owned);
        (output.status.success(), said, installs.collect())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}

const ROOT: (&str, &str) = ("id", "echo 0");
const PERSON: (&str, &str) = ("id", "echo 1000");
const INSTALL: &str = "apt-get install --yes --no-install-recommends";

#[test]
fn nothing_is_installed_where_nothing_is_missing() {
    let tools = [("cc", ""), ("initdb", ""), ("postgres", ""), ("apt-get", ""), ROOT];
    assert_eq!(
        Machine::with("whole", &tools).set_up(&[]),
        (true, String::new(), vec![])
    );
    // A database elsewhere makes a private one unnecessary.
    let tools = [("cc", ""), ("apt-get", ""), ROOT];
    let elsewhere = [("DATABASE_URL", "postgres://elsewhere")];
    assert_eq!(
        Machine::with("elsewhere", &tools).set_up(&elsewhere),
        (true, String::new(), vec![])
    );
}

#[test]
fn what_is_missing_is_installed() {
    let bare = Machine::with("bare", &[("apt-get", ""), ROOT]);
    let (done, said, installs) = bare.set_up(&[]);
    assert!(done && said.contains("installing build-essential postgresql"), "{said}");
    assert_eq!(installs, [format!("{INSTALL} build-essential postgresql")]);

    let person = Machine::with(
        "sudo",
        &[
            ("cc", ""),
            ("apt-get", ""),
            ("sudo", r#"[ "$1" = -n ] || "$@""#),
            PERSON,
        ],
    );
    let (done, said, installs) = person.set_up(&[]);
    assert!(done, "{said}");
    assert_eq!(installs, [format!("{INSTALL} postgresql")]);
}

#[test]
fn what_only_tests_need_is_installed_for_tests_only() {
    let server = [("cc", ""), ("initdb", ""), ("postgres", ""), ("apt-get", ""), ROOT];
    let (done, said, installs) = Machine::with("tests", &server).set_up_for(&["tests"], &[]);
    assert!(done, "{said}");
    assert_eq!(
        installs,
        [format!(
            "{INSTALL} chromium python3-venv poppler-utils zbar-tools clamav-daemon"
        )]
    );
    let more = ["chromium-browser", "python3", "pdftoppm", "zbarimg", "clamd"].map(|program| (program, ""));
    let whole = [&server[..], &more].concat();
    assert_eq!(
        Machine::with("tests-whole", &whole).set_up_for(&["tests"], &[]),
        (true, String::new(), vec![])
    );
}

#[test]
fn fonts_are_installed_where_a_sheet_would_have_gaps() {
    let server = [("cc", ""), ("initdb", ""), ("postgres", ""), ("apt-get", ""), ROOT];
    let machine = Machine::with("fonts", &server);
    fs::remove_dir_all(machine.fonts()).unwrap();
    let (done, said, installs) = machine.set_up(&[]);
    assert!(done, "{said}");
    assert_eq!(installs, [format!("{INSTALL} fonts-noto-core fonts-wqy-microhei")]);
    // Larger ones of the same alphabets will do.
    machine.add_font("NotoSans[wght].ttf");
    machine.add_font("NotoSansCJK-Regular.ttc");
    fs::remove_file(machine.0.join("calls")).unwrap();
    assert_eq!(machine.set_up(&[]), (true, String::new(), vec![]));
}

#[test]
fn package_lists_are_fetched_where_a_package_is_not_found() {
    // As in a fresh container: the first installation fails.
    let fails_once =
        r#"[ "$1" != install ] || [ -e "$0.updated" ] || exit 100; [ "$1" != update ] || : > "$0.updated""#;
    let fresh = Machine::with("fresh", &[("cc", ""), ("apt-get", fails_once), ROOT]);
    let (done, said, installs) = fresh.set_up(&[]);
    assert!(done, "{said}");
    let install = format!("{INSTALL} postgresql");
    assert_eq!(installs, [install.clone(), "apt-get update".to_owned(), install]);
}

#[test]
fn who_may_not_install_is_told_what_to_type() {
    let (done, said, installs) = Machine::with("person", &[("apt-get", ""), PERSON]).set_up(&[]);
    assert!(!done && installs.is_empty());
    assert!(
        said.contains(&format!("sudo {INSTALL} build-essential postgresql")),
        "{said}"
    );
    let (done, said, _) = Machine::with("other", &[("cc", ""), ROOT]).set_up(&[]);
    assert!(
        !done && said.contains("needs: postgresql") && said.contains("brew install"),
        "{said}"
    );
}
