//! An audit of the dependencies that needs no network: what `Cargo.lock` and the crates' own manifests tell.
//!
//! It does not know of security advisories, whose list must be fetched: `make audit` does that where `cargo-deny` and a
//! network are at hand.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Crates that must not come in, not even by another's hand, and what is used instead.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls with aws-lc-rs"),
    ("native-tls", "TLS is rustls with aws-lc-rs"),
    ("ring", "cryptography is aws-lc-rs"),
    ("once_cell_try", "std::sync::OnceLock"),
    ("async-std", "the runtime is tokio"),
];

/// Licences that a proprietary or open product may both be built with. A crate may offer a choice (`OR`) but must allow
/// one of these; of a conjunction (`AND`), all must be here.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
    "BSL-1.0",
    "OpenSSL",
];

/// The platform of a deployment.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Every package that the program is linked with on Linux: not what only builds or tests it.
fn linked_packages() -> Vec<Value> {
    let metadata: Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        PLATFORM,
    ]))
    .unwrap();
    // The metadata counts optional dependencies that nothing turns on; the tree does not.
    let tree = cargo(&[
        "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", PLATFORM,
    ]);
    let linked: BTreeSet<&str> = tree.lines().map(|line| line.split(" (").next().unwrap()).collect();
    array(&metadata["packages"])
        .iter()
        .filter(|package| {
            let name = package["name"].as_str().unwrap();
            name != "medconsult"
                && linked.contains(format!("{name} v{}", package["version"].as_str().unwrap()).as_str())
        })
        .cloned()
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args([
            "--locked",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn allowed(licence: &str) -> bool {
    // Old manifests write a choice as `MIT/Apache-2.0`.
    let licence = licence.replace('/', " OR ").replace(['(', ')'], "");
    licence
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(|part| LICENCES.contains(&part.trim())))
}

#[test]
fn dependencies_are_licensed_from_the_registry_and_not_banned() {
    let packages = linked_packages();
    assert!(packages.len() > 50, "the list of dependencies was not read");
    let mut wrong = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        if let Some((_, instead)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            wrong.push(format!("{name} is banned: {instead}"));
        }
        if !package["source"]
            .as_str()
            .is_some_and(|source| source.starts_with("registry+"))
        {
            wrong.push(format!(
                "{name} does not come from crates.io but from {}",
                package["source"]
            ));
        }
        match package["license"].as_str() {
            Some(licence) if allowed(licence) => {}
            licence => wrong.push(format!("{name} has the licence {licence:?}, which is not on the list")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn licence_expressions_are_understood() {
    assert!(allowed("MIT OR Apache-2.0") && allowed("MIT/GPL-3.0") && allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!allowed("GPL-3.0-only") && !allowed("MIT AND AGPL-3.0"));
}
