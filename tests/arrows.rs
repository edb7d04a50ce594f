//! The arrows between the rooms: who may import whom. See the map in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms that it may import. What is not listed is in no room, which fails the test.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("jobs", &["base"]),
    ("knowledge", &["base"]),
    ("config", &["base"]),
    ("fhir", &["base", "jobs", "knowledge"]),
    ("audit", &["base", "fhir"]),
    ("mail", &["base", "jobs"]),
    ("auth", &["base", "jobs", "fhir", "mail"]),
    ("demo", &["base", "jobs", "fhir", "auth", "config"]),
    ("documents", &["base", "jobs", "knowledge", "fhir"]),
    ("edge", &["base", "fhir", "auth"]),
    ("messaging", &["base", "jobs", "fhir", "mail"]),
    ("payments", &["base", "jobs", "knowledge", "fhir"]),
    ("prescriptions", &["base", "jobs", "knowledge", "fhir"]),
    ("scheduling", &["base", "jobs", "knowledge", "fhir"]),
    ("apps", &["base", "fhir", "auth"]),
    // These two know each other: the app serves the routes, and the routes are given the app.
    (
        "app",
        &[
            "base",
            "jobs",
            "knowledge",
            "fhir",
            "audit",
            "auth",
            "documents",
            "edge",
            "mail",
            "messaging",
            "payments",
            "prescriptions",
            "scheduling",
            "apps",
            "config",
            "router",
        ],
    ),
    (
        "router",
        &[
            "base",
            "jobs",
            "knowledge",
            "fhir",
            "auth",
            "demo",
            "documents",
            "edge",
            "mail",
            "payments",
            "prescriptions",
            "scheduling",
            "apps",
            "config",
            "app",
        ],
    ),
    // The suites run on what they test, or speak HTTP to a server.
    ("conformance", &["base", "knowledge", "fhir"]),
    (
        "commands",
        &[
            "base",
            "jobs",
            "knowledge",
            "fhir",
            "audit",
            "auth",
            "mail",
            "demo",
            "apps",
            "config",
            "router",
            "app",
            "conformance",
        ],
    ),
];

#[test]
fn no_room_imports_against_the_arrows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let room = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        // What lies in `bin` are programs of their own: to them, `crate` is not this library.
        if room == "lib" || room == "main" || room == "bin" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: src/{room} is in no list of this test", relative.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            for imported in imports(line) {
                if imported != room && !allowed.contains(&imported.as_str()) {
                    wrong.push(format!(
                        "src/{}:{}: {room} must not import {imported}",
                        relative.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that run the wrong way:\n{}", wrong.join("\n"));
}

/// The rooms named after `crate::` in a line of code, also in `use crate::{a, b::c}`.
fn imports(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let mut rooms = Vec::new();
    for (position, _) in code.match_indices("crate::") {
        // `$crate::` in a macro, and the end of another word, are not this crate.
        if code[..position].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(list.split(',').map(first_word)),
            None => rooms.push(first_word(rest)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn first_word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn imports_are_recognised() {
    assert_eq!(imports("use crate::fhir::error::FhirError;"), ["fhir"]);
    assert_eq!(imports("    crate::base::migrations::run(connection).await"), ["base"]);
    assert_eq!(
        imports("// unlike crate::fhir, this is about crate::jobs"),
        Vec::<String>::new()
    );
    assert_eq!(imports("my_crate::fhir()"), Vec::<String>::new());
}
