//! What is read from HL7's package: the facts of each definition, and none of its prose.
//!
//! The structs name only the fields we carry over, so a description cannot slip through: serde drops what is not named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::GenerateError;
use crate::knowledge::terminology::{self, Library};

/// The package and version everything is generated from.
pub const PACKAGE_NAME: &str = "hl7.fhir.r4.examples";
pub const PACKAGE_VERSION: &str = "4.0.1";

/// Marks the search parameters that the specification itself defines. The package also carries example parameters and
/// unfinished drafts about extensions, which have no such mark.
const STANDARDS_STATUS: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status";

/// The definitions of the package that describe R4 itself, keyed so that their order never depends on the file system.
pub struct Package {
    /// Primitive, complex and resource types by name. No profiles, no logical models.
    pub structures: BTreeMap<String, StructureDefinition>,
    /// By canonical URL.
    pub search_parameters: BTreeMap<String, SearchParameter>,
    /// By the type that owns the compartment.
    pub compartments: BTreeMap<String, CompartmentDefinition>,
    /// By canonical URL.
    pub code_systems: BTreeMap<String, CodeSystem>,
    /// By canonical URL.
    pub value_sets: BTreeMap<String, ValueSet>,
    /// Both again, as terminology reads them.
    pub library: Library,
}

/// <https://hl7.org/fhir/R4/structuredefinition.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StructureDefinition {
    #[serde(rename = "type")]
    pub type_name: String,
    pub kind: String,
    #[serde(rename = "abstract")]
    pub is_abstract: bool,
    pub derivation: Option<String>,
    pub base_definition: Option<String>,
    pub snapshot: Option<Snapshot>,
}

#[derive(Deserialize)]
pub struct Snapshot {
    pub element: Vec<Element>,
}

/// <https://hl7.org/fhir/R4/elementdefinition.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Element {
    pub path: String,
    pub min: u32,
    pub max: String,
    #[serde(rename = "type", default)]
    pub types: Vec<ElementType>,
    pub content_reference: Option<String>,
    pub binding: Option<Binding>,
    #[serde(default, rename = "constraint")]
    pub constraints: Vec<Constraint>,
    #[serde(default)]
    pub is_summary: bool,
    #[serde(default)]
    pub is_modifier: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElementType {
    pub code: String,
    #[serde(default)]
    pub profile: Vec<String>,
    #[serde(default)]
    pub target_profile: Vec<String>,
    #[serde(default)]
    pub extension: Vec<Extension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    pub url: String,
    pub value_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    pub strength: String,
    pub value_set: Option<String>,
}

#[derive(Deserialize)]
pub struct Constraint {
    pub key: String,
    pub severity: String,
    pub expression: Option<String>,
}

/// <https://hl7.org/fhir/R4/searchparameter.html>
#[derive(Deserialize)]
pub struct SearchParameter {
    pub url: String,
    pub code: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub base: Vec<String>,
    pub expression: Option<String>,
    #[serde(default)]
    pub target: Vec<String>,
    #[serde(default)]
    pub component: Vec<SearchParameterComponent>,
    #[serde(default)]
    pub extension: Vec<Extension>,
}

#[derive(Deserialize)]
pub struct SearchParameterComponent {
    pub definition: String,
    pub expression: String,
}

/// <https://hl7.org/fhir/R4/compartmentdefinition.html>
#[derive(Deserialize)]
pub struct CompartmentDefinition {
    pub url: String,
    pub code: String,
    #[serde(default)]
    pub resource: Vec<CompartmentMember>,
}

#[derive(Deserialize)]
pub struct CompartmentMember {
    pub code: String,
    #[serde(default)]
    pub param: Vec<String>,
}

/// <https://hl7.org/fhir/R4/codesystem.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeSystem {
    pub url: String,
    pub version: Option<String>,
    pub content: String,
    /// Absent means that the code system does not say.
    pub case_sensitive: Option<bool>,
    #[serde(default)]
    pub concept: Vec<Concept>,
}

#[derive(Deserialize)]
pub struct Concept {
    pub code: String,
    #[serde(default)]
    pub concept: Vec<Concept>,
}

/// <https://hl7.org/fhir/R4/valueset.html>
#[derive(Deserialize)]
pub struct ValueSet {
    pub url: String,
    pub compose: Option<Compose>,
}

#[derive(Deserialize)]
pub struct Compose {
    #[serde(default)]
    pub include: Vec<Include>,
    #[serde(default)]
    pub exclude: Vec<Include>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Include {
    pub system: Option<String>,
    #[serde(default)]
    pub concept: Vec<Concept>,
    /// Only whether there are any matters: a filtered inclusion is not expanded.
    #[serde(default)]
    pub filter: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    pub value_set: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    name: String,
    version: String,
}

impl Package {
    /// Reads the unpacked npm package in `folder`.
    ///
    /// Refuses any other package or version. That the files are HL7's own is npm's part: it checks the archive against
    /// the hash in `conformance/hl7/package-lock.json` before it unpacks anything.
    pub fn read(folder: &Path) -> Result<Package, GenerateError> {
        let manifest: Manifest = parse(&folder.join("package.json"))?;
        if manifest.name != PACKAGE_NAME || manifest.version != PACKAGE_VERSION {
            return Err(GenerateError::WrongPackage {
                folder: folder.to_owned(),
                found: format!("{}@{}", manifest.name, manifest.version),
            });
        }
        Ok(Package {
            structures: keyed(
                folder,
                "StructureDefinition",
                |s: &StructureDefinition| &s.type_name,
                is_base_type,
            )?,
            search_parameters: keyed(
                folder,
                "SearchParameter",
                |p: &SearchParameter| &p.url,
                |p| p.extension.iter().any(|e| e.url == STANDARDS_STATUS),
            )?,
            compartments: keyed(
                folder,
                "CompartmentDefinition",
                |c: &CompartmentDefinition| &c.code,
                |c| {
                    c.url
                        .eq_ignore_ascii_case(&format!("http://hl7.org/fhir/CompartmentDefinition/{}", c.code))
                },
            )?,
            code_systems: keyed(folder, "CodeSystem", |c: &CodeSystem| &c.url, |_| true)?,
            value_sets: keyed(folder, "ValueSet", |v: &ValueSet| &v.url, |_| true)?,
            library: library(folder)?,
        })
    }
}

fn library(folder: &Path) -> Result<Library, GenerateError> {
    let mut library = Library::default();
    for path in files_of(folder, "CodeSystem")? {
        let system = terminology::CodeSystem::from_resource(&parse(&path)?);
        library.code_systems.insert(system.url.clone(), system);
    }
    for path in files_of(folder, "ValueSet")? {
        let value_set = terminology::ValueSet::from_resource(&parse(&path)?);
        library.value_sets.insert(value_set.url.clone(), value_set);
    }
    Ok(library)
}

/// Whether a definition is a type of R4: not a profile on one, and not a logical model or pattern.
fn is_base_type(structure: &StructureDefinition) -> bool {
    structure.kind != "logical" && structure.derivation.as_deref() != Some("constraint") && structure.snapshot.is_some()
}

/// All files of the folder that hold one resource type, filtered and keyed.
fn keyed<T: DeserializeOwned>(
    folder: &Path,
    resource_type: &str,
    key: impl Fn(&T) -> &String,
    wanted: impl Fn(&T) -> bool,
) -> Result<BTreeMap<String, T>, GenerateError> {
    let mut found = BTreeMap::new();
    for path in files_of(folder, resource_type)? {
        let item: T = parse(&path)?;
        if !wanted(&item) {
            continue;
        }
        if let Some(_earlier) = found.insert(key(&item).clone(), item) {
            return Err(GenerateError::Duplicate(path));
        }
    }
    Ok(found)
}

fn files_of(folder: &Path, resource_type: &str) -> Result<Vec<PathBuf>, GenerateError> {
    let prefix = format!("{resource_type}-");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| GenerateError::io(folder, source))? {
        let entry = entry.map_err(|source| GenerateError::io(folder, source))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, GenerateError> {
    let text = std::fs::read_to_string(path).map_err(|source| GenerateError::io(path, source))?;
    serde_json::from_str(&text).map_err(|source| GenerateError::Json {
        path: path.to_owned(),
        source,
    })
}
