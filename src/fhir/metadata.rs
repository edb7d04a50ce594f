//! What the server can do, as a CapabilityStatement (<https://hl7.org/fhir/R4/capabilitystatement.html>).
//!
//! Nothing here is a claim of its own: types come from the definitions, search parameters and includes from the registry
//! that indexes and searches by them, operations from the hooks, profiles from the package that is enforced, formats from
//! the code that reads them. Every type has
//! the same interactions because they share their code.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::http::patch;
use super::resource::instant;
use super::search::{Parameter, SearchRegistry};
use super::server::{FhirServer, FhirSettings};
use crate::knowledge::definitions::{SearchParameterType, TypeDefinition};
use crate::knowledge::profiles::Package;

/// Where clients get tokens, and give them back: absolute URLs.
#[derive(Clone, Debug)]
pub struct OAuthEndpoints {
    pub authorize: String,
    pub token: String,
    pub introspect: String,
    /// Where people see who has access, and take it away.
    pub manage: String,
    pub revoke: String,
}

/// JSON text of the CapabilityStatement, with the search parameters of one moment.
pub fn capability_statement(server: &FhirServer, registry: &SearchRegistry) -> String {
    let settings = &server.settings;
    let statement = Statement {
        resource_type: "CapabilityStatement",
        url: format!("{}/metadata", settings.base_url),
        name: "MedConsult",
        status: "active",
        date: instant(server.clock.now()),
        kind: "instance",
        software: json!({"name": "MedConsult", "version": env!("CARGO_PKG_VERSION")}),
        implementation: json!({"description": "MedConsult FHIR server", "url": settings.base_url}),
        fhir_version: "4.0.1",
        format: ["application/fhir+json", "json"],
        patch_format: patch::FORMATS,
        rest: [Rest {
            mode: "server",
            security: security(settings),
            resource: resources(server, registry),
            interaction: codes(["transaction", "batch", "search-system", "history-system"]),
            search_param: system_parameters(server, registry),
            operation: operations(server, None),
            compartment: compartments(server),
        }],
    };
    serde_json::to_string(&statement).expect("strings and lists always serialise")
}

/// How to be let in (<https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html#using-capabilitystatement>).
fn security(settings: &FhirSettings) -> Value {
    let mut security = json!({"cors": settings.cors});
    if let Some(endpoints) = &settings.oauth {
        let uri = |name, url| json!({"url": name, "valueUri": url});
        security["extension"] = json!([{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [
                uri("authorize", &endpoints.authorize),
                uri("token", &endpoints.token),
                uri("introspect", &endpoints.introspect),
                uri("manage", &endpoints.manage),
                uri("revoke", &endpoints.revoke),
            ],
        }]);
        security["service"] = json!([{
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
            }],
        }]);
    }
    security
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'r> {
    resource_type: &'static str,
    url: String,
    name: &'static str,
    status: &'static str,
    date: String,
    kind: &'static str,
    software: Value,
    implementation: Value,
    fhir_version: &'static str,
    format: [&'static str; 2],
    patch_format: [&'static str; 3],
    rest: [Rest<'r>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rest<'r> {
    mode: &'static str,
    security: Value,
    resource: Vec<Resource<'r>>,
    interaction: Vec<Code>,
    search_param: Vec<SearchParam<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operation: Vec<Value>,
    /// Canonical URLs of CompartmentDefinitions.
    compartment: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'r> {
    r#type: &'static str,
    profile: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    supported_profile: &'static [String],
    interaction: Vec<Code>,
    versioning: &'static str,
    read_history: bool,
    update_create: bool,
    conditional_create: bool,
    conditional_read: &'static str,
    conditional_update: bool,
    conditional_delete: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    search_include: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    search_rev_include: Vec<String>,
    search_param: Vec<SearchParam<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operation: Vec<Value>,
}

#[derive(Serialize)]
struct Code {
    code: &'static str,
}

#[derive(Serialize)]
struct SearchParam<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<&'r str>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<&'static str>,
}

fn codes<const N: usize>(codes: [&'static str; N]) -> Vec<Code> {
    codes.into_iter().map(|code| Code { code }).collect()
}

/// The parameters that every resource has without an index row of its own.
fn rowless_parameters(server: &FhirServer) -> Vec<SearchParam<'static>> {
    let parameter = |name, definition, r#type| SearchParam {
        name,
        definition,
        r#type,
        documentation: None,
    };
    let mut rowless = vec![
        parameter("_id", Some("http://hl7.org/fhir/SearchParameter/Resource-id"), "token"),
        parameter(
            "_lastUpdated",
            Some("http://hl7.org/fhir/SearchParameter/Resource-lastUpdated"),
            "date",
        ),
        // The search page of R4 defines these, and no SearchParameter does.
        parameter("_filter", None, "special"),
        parameter("_has", None, "special"),
        parameter("_list", None, "special"),
    ];
    if server.settings.full_text {
        let content = "http://hl7.org/fhir/SearchParameter/Resource-content";
        let text = "http://hl7.org/fhir/SearchParameter/DomainResource-text";
        rowless.extend([
            parameter("_content", Some(content), "string"),
            parameter("_text", Some(text), "string"),
        ]);
    }
    rowless
}

/// The parameters of a search over all types: those that every type has.
fn system_parameters<'r>(server: &FhirServer, registry: &'r SearchRegistry) -> Vec<SearchParam<'r>> {
    let mut types = server.definitions.resource_types();
    let Some(first) = types.next() else { return Vec::new() };
    let others: Vec<&TypeDefinition> = types.collect();
    let everywhere = |parameter: &&Parameter| {
        let on = |ty: &&TypeDefinition| registry.parameter(&ty.name, &parameter.definition.code).is_some();
        others.iter().all(on)
    };
    let common = registry
        .parameters(&first.name)
        .filter(everywhere)
        .map(|parameter| search_param(registry, parameter));
    let of_system = SearchParam {
        name: "_type",
        definition: None,
        r#type: "special",
        documentation: None,
    };
    rowless_parameters(server)
        .into_iter()
        .chain([of_system])
        .chain(common)
        .collect()
}

fn search_param<'r>(registry: &SearchRegistry, parameter: &'r Parameter) -> SearchParam<'r> {
    let incomplete = registry.is_incomplete(parameter.id);
    SearchParam {
        name: &parameter.definition.code,
        definition: Some(&parameter.definition.url),
        r#type: parameter.definition.kind.code(),
        documentation: incomplete.then_some("Resources are being indexed by it. Until that is done, a search says so."),
    }
}

fn compartments(server: &FhirServer) -> Vec<String> {
    let codes = server
        .definitions
        .compartments
        .iter()
        .map(|compartment| &compartment.code);
    codes
        .map(|code| format!("http://hl7.org/fhir/CompartmentDefinition/{}", code.to_lowercase()))
        .collect()
}

fn resources<'r>(server: &FhirServer, registry: &'r SearchRegistry) -> Vec<Resource<'r>> {
    let includes = Includes::of(server, registry);
    server
        .definitions
        .resource_types()
        .map(|ty| resource(server, registry, ty, &includes))
        .collect()
}

fn resource<'r>(
    server: &FhirServer,
    registry: &'r SearchRegistry,
    ty: &'static TypeDefinition,
    includes: &Includes,
) -> Resource<'r> {
    let name = ty.name.as_str();
    let indexed = registry
        .parameters(name)
        .map(|parameter| search_param(registry, parameter));
    // AuditEvents are the server's own, where it makes them.
    let is_written = name != "AuditEvent" || !server.trail.is_on();
    let writing = ["create", "update", "patch", "delete"]
        .into_iter()
        .filter(|_| is_written);
    let interactions = ["read", "vread", "history-instance", "history-type", "search-type"];
    let interactions = interactions.into_iter().chain(writing).map(|code| Code { code });
    Resource {
        r#type: name,
        profile: format!("http://hl7.org/fhir/StructureDefinition/{name}"),
        supported_profile: Package::medconsult().profiles_of(name),
        interaction: interactions.collect(),
        versioning: "versioned-update",
        read_history: true,
        update_create: is_written,
        conditional_create: is_written,
        conditional_read: "full-support",
        conditional_update: is_written,
        conditional_delete: if is_written { "single" } else { "not-supported" },
        search_include: includes.forward.get(name).cloned().unwrap_or_default(),
        search_rev_include: includes.reverse.get(name).cloned().unwrap_or_default(),
        search_param: rowless_parameters(server).into_iter().chain(indexed).collect(),
        operation: operations(server, Some(name)),
    }
}

/// `Source:parameter` for every reference parameter, by the type it starts from and by the types it may lead to.
struct Includes {
    forward: BTreeMap<&'static str, Vec<String>>,
    reverse: BTreeMap<String, Vec<String>>,
}

impl Includes {
    fn of(server: &FhirServer, registry: &SearchRegistry) -> Includes {
        let mut includes = Includes {
            forward: BTreeMap::new(),
            reverse: BTreeMap::new(),
        };
        for ty in server.definitions.resource_types() {
            let parameters = registry.parameters(&ty.name).map(|parameter| &parameter.definition);
            for parameter in parameters.filter(|parameter| parameter.kind == SearchParameterType::Reference) {
                let include = format!("{}:{}", ty.name, parameter.code);
                for target in &parameter.targets {
                    includes
                        .reverse
                        .entry(target.clone())
                        .or_default()
                        .push(include.clone());
                }
                includes.forward.entry(ty.name.as_str()).or_default().push(include);
            }
        }
        includes
    }
}

/// The operations defined on a type, or on the whole server.
fn operations(server: &FhirServer, resource_type: Option<&str>) -> Vec<Value> {
    let definitions = server.hooks.operations.iter().map(|operation| operation.definition());
    let here = definitions.filter(|definition| match resource_type {
        None => definition["system"] == true,
        Some(name) => {
            let mut types = definition["resource"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            (definition["type"] == true || definition["instance"] == true)
                && types.any(|ty| ty == name || ty == "Resource")
        }
    });
    here.map(|definition| json!({"name": definition["code"], "definition": definition["url"]}))
        .collect()
}
