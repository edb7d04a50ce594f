//! MedConsult's FHIR package, the folder `profiles/`: what it holds, and whether a resource is what its profiles ask.
//!
//! A resource says by `meta.profile` which profiles it claims (<https://hl7.org/fhir/R4/resource.html#Meta>); those of this
//! package are held against it. Extensions of this package are checked wherever a resource has one at its root, whether or
//! not it claims anything. Profiles of others, also those that clients store, are not enforced.
//!
//! | in a differential | what is checked |
//! |---|---|
//! | `min`, `max` | how often an element is there; extensions in place of a primitive's value count |
//! | `type` | which types a choice may have; which types of resources a Reference may point at, where its text says so |
//! | `fixed[x]`, `pattern[x]` | the value |
//! | `binding`, if required | the code; of a CodeableConcept, one of its codings |
//! | `slicing` by value or pattern | how often each slice is there, and its items; open or closed |
//! | `constraint` | FHIRPath |
//!
//! Anything else in a differential is an error when the package is read, not a rule that nobody enforces.
//!
//! | file | concern |
//! |---|---|
//! | `files` | the files of the package |
//! | `compile` | from a differential to rules |
//! | `rules` | what they look like |
//! | `check` | a resource held against them |

mod check;
mod compile;
mod files;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::Value;

use self::check::Check;
use self::compile::Context;
use self::rules::{Extension, Profile};
use super::definitions::{Definitions, TypeId};
use super::fhirpath::Item;
use super::terminology::{CodeSystem, Library, ValueSet, split_version};
use super::validation::{Finding, FindingCode};

/// Canonical base of everything in the package.
pub const BASE: &str = "https://medconsult.example/fhir/";

/// The OperationDefinition `https://medconsult.example/fhir/OperationDefinition/<name>` of the package.
///
/// # Panics
/// When there is none: an operation and its definition come together.
pub fn operation(name: &str) -> &'static Value {
    let wanted = format!("{BASE}OperationDefinition/{name}");
    let found = Package::medconsult()
        .files
        .iter()
        .find(|file| url(&file.resource) == wanted);
    found.map_or_else(|| panic!("the package has no operation {name}"), |file| &file.resource)
}

/// A FHIR package: definitions, and rules made of them.
#[derive(Debug)]
pub struct Package {
    files: Vec<File>,
    /// By canonical URL.
    profiles: HashMap<String, Profile>,
    extensions: HashMap<String, Extension>,
    /// Canonical URLs of the profiles on a type.
    by_type: BTreeMap<String, Vec<String>>,
    extension_type: TypeId,
    /// What its canonical URLs begin with, where they are of StructureDefinitions.
    structures: String,
    definitions: &'static Definitions,
}

/// One definition.
#[derive(Debug)]
pub struct File {
    /// Its path in `profiles/`, without `.json`.
    pub name: &'static str,
    pub text: &'static str,
    pub resource: Value,
}

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("profiles/{file}.json: {reason}")]
pub struct PackageError {
    pub file: &'static str,
    pub reason: String,
}

impl Package {
    /// The package that is compiled into the program; read on first use.
    ///
    /// # Panics
    /// When it says something that would not be enforced; a test reads it.
    pub fn medconsult() -> &'static Package {
        static PACKAGE: LazyLock<Package> = LazyLock::new(|| match Package::parse(files::FILES, Definitions::r4()) {
            Ok(package) => package,
            Err(error) => panic!("{error}"),
        });
        &PACKAGE
    }

    /// Reads a package.
    ///
    /// # Errors
    /// When a file is no resource, or a StructureDefinition asks for something that this module does not check.
    pub fn parse(
        texts: &[(&'static str, &'static str)],
        definitions: &'static Definitions,
    ) -> Result<Package, PackageError> {
        let mut files = Vec::with_capacity(texts.len());
        for &(name, text) in texts {
            let resource = serde_json::from_str(text).map_err(|error| PackageError {
                file: name,
                reason: error.to_string(),
            })?;
            files.push(File { name, text, resource });
        }
        let library = library(&files);
        let structures: Vec<(String, String)> = of_type(&files, "StructureDefinition")
            .map(|file| (url(&file.resource).to_owned(), text(&file.resource, "type").to_owned()))
            .collect();
        let context = Context {
            definitions,
            library: &library,
            structures: &structures,
        };
        let (mut profiles, mut extensions, mut by_type) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        for file in of_type(&files, "StructureDefinition") {
            let failed = |reason| PackageError {
                file: file.name,
                reason,
            };
            if file.resource["type"] == "Extension" {
                let extension = context.extension(&file.resource).map_err(failed)?;
                extensions.insert(extension.url.clone(), extension);
            } else {
                let profile = context.profile(&file.resource).map_err(failed)?;
                let of_type: &mut Vec<String> = by_type.entry(profile.resource_type.clone()).or_default();
                of_type.push(profile.url.clone());
                profiles.insert(profile.url.clone(), profile);
            }
        }
        Ok(Package {
            profiles,
            extensions,
            by_type,
            extension_type: definitions.type_id("Extension").unwrap_or(TypeId(0)),
            structures: format!("{BASE}StructureDefinition/"),
            files,
            definitions,
        })
    }

    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Canonical URLs of the profiles on a type.
    pub fn profiles_of(&self, resource_type: &str) -> &[String] {
        self.by_type.get(resource_type).map_or(&[], Vec::as_slice)
    }

    /// What is wrong with a resource by the profiles of this package that it claims, and by the definitions of its extensions.
    /// It is valid R4: whoever calls this has seen to that. What is neither claimed nor extended costs two look-ups.
    pub fn check(&self, resource: &Value) -> Vec<Finding> {
        let claims = resource
            .get("meta")
            .and_then(|meta| meta.get("profile"))
            .and_then(Value::as_array);
        let extensions = resource.get("extension").and_then(Value::as_array);
        if claims.is_none() && extensions.is_none() {
            return Vec::new();
        }
        self.run(resource, |check| {
            if let Some(extensions) = extensions {
                self.check_extensions(check, resource, extensions);
            }
            for (index, claim) in claims.into_iter().flatten().enumerate() {
                let place = || format!("{}.meta.profile[{index}]", text(resource, "resourceType"));
                match self.claimed(resource, claim.as_str().unwrap_or_default()) {
                    Ok(Some(profile)) => check.profile(profile),
                    Ok(None) => {}
                    Err(why) => check.add(FindingCode::Value, place(), why),
                }
            }
        })
    }

    /// What is wrong with a resource by a profile, whether or not it claims it. `None`: the package has no such profile.
    pub fn check_against(&self, resource: &Value, canonical: &str) -> Option<Vec<Finding>> {
        let profile = self.profiles.get(split_version(canonical).0)?;
        Some(self.run(resource, |check| match self.claimed(resource, canonical) {
            Ok(_) => check.profile(profile),
            Err(why) => check.add(FindingCode::Value, text(resource, "resourceType").to_owned(), why),
        }))
    }

    fn run<'r>(&'r self, resource: &'r Value, checks: impl FnOnce(&mut Check<'r>)) -> Vec<Finding> {
        // Whatever has no type of R4 was refused before.
        let Some(item) = Item::resource(resource, self.definitions) else {
            return Vec::new();
        };
        let mut check = Check::new(item, text(resource, "resourceType"));
        checks(&mut check);
        check.findings()
    }

    /// The profile that a canonical names, if it is one of this package.
    ///
    /// # Errors
    /// A sentence where it cannot be claimed: there is none of that name or version, or it is on another type.
    fn claimed(&self, resource: &Value, canonical: &str) -> Result<Option<&Profile>, String> {
        if !canonical.starts_with(&self.structures) {
            return Ok(None);
        }
        let (url, version) = split_version(canonical);
        let Some(profile) = self.profiles.get(url) else {
            return Err("MedConsult has no such profile.".to_owned());
        };
        if version.is_some_and(|version| version != files::VERSION) {
            return Err(format!("This server has version {} of the profile.", files::VERSION));
        }
        if resource["resourceType"] != profile.resource_type.as_str() {
            return Err(format!("The profile is on {}.", profile.resource_type));
        }
        Ok(Some(profile))
    }

    fn check_extensions<'r>(&'r self, check: &mut Check<'r>, resource: &Value, extensions: &'r [Value]) {
        let resource_type = text(resource, "resourceType");
        let place = |index: usize| format!("{resource_type}.extension[{index}]");
        for (index, value) in extensions.iter().enumerate() {
            let url = url(value);
            if !url.starts_with(&self.structures) {
                continue;
            }
            let Some(extension) = self.extensions.get(url) else {
                let message = "MedConsult has no such extension.".to_owned();
                check.add(FindingCode::Structure, place(index), message);
                continue;
            };
            if !extension.contexts.iter().any(|context| context == resource_type) {
                let message = format!("{url} belongs on {}.", extension.contexts.join(", "));
                check.add(FindingCode::Structure, place(index), message);
                continue;
            }
            check.extension(extension, value, index, self.extension_type);
            let before = extensions[..index].iter().filter(|other| other["url"] == url).count();
            if extension.max.is_some_and(|max| before == max as usize) {
                let message = format!("{url} may be there {before} times at most.");
                check.add(FindingCode::Structure, format!("{resource_type}.extension"), message);
            }
        }
    }
}

/// The code systems and value sets of the package, by URL.
fn library(files: &[File]) -> Library {
    let mut library = Library::default();
    for file in of_type(files, "CodeSystem") {
        let url = url(&file.resource).to_owned();
        library
            .code_systems
            .insert(url, CodeSystem::from_resource(&file.resource));
    }
    for file in of_type(files, "ValueSet") {
        let url = url(&file.resource).to_owned();
        library.value_sets.insert(url, ValueSet::from_resource(&file.resource));
    }
    library
}

fn of_type<'f>(files: &'f [File], resource_type: &'static str) -> impl Iterator<Item = &'f File> {
    files
        .iter()
        .filter(move |file| file.resource["resourceType"] == resource_type)
}

fn url(resource: &Value) -> &str {
    text(resource, "url")
}

fn text<'v>(resource: &'v Value, name: &str) -> &'v str {
    resource[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
