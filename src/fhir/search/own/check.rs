//! Whether a SearchParameter can be used. Looks at nothing but the definition and R4: what other resources define is the
//! [`guard`](super::guard)'s to compare.

use std::collections::BTreeSet;

use serde_json::Value;

use super::definition::{self, concrete_types};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::registry::Family;
use crate::knowledge::definitions::{
    Definitions, SearchParameter, SearchParameterType, TypeDefinition, TypeId, TypeKind,
};
use crate::knowledge::extraction::{PlanError, value_types};
use crate::knowledge::fhirpath::ResultType;

/// Checks a SearchParameter that is about to be stored. One that is not active is not used and may say anything.
///
/// # Errors
/// 422, naming the element that is wrong and what would be right.
pub fn check(definitions: &'static Definitions, resource: &Value) -> Result<(), FhirError> {
    if resource.get("status").and_then(Value::as_str) != Some("active") {
        return Ok(());
    }
    // What cannot be read is not valid, which is told by validation.
    let Some(own) = definition::read(resource) else {
        return Ok(());
    };
    if let Some(known) = definition::built_in(definitions, &own.url) {
        return check_copy(known, &own);
    }
    check_code(&own)?;
    check_kind(&own, resource)?;
    check_base(definitions, &own)?;
    check_targets(definitions, &own)?;
    check_expression(definitions, &own)?;
    check_free(definitions, &own)
}

fn refuse(element: &str, text: impl Into<String>) -> FhirError {
    FhirError::unprocessable(text).at(format!("SearchParameter.{element}"))
}

/// R4's own parameters may be stored, for clients that want to read them; they are in use anyway.
fn check_copy(known: &SearchParameter, copy: &SearchParameter) -> Result<(), FhirError> {
    let facts = |p: &SearchParameter| {
        let base: BTreeSet<String> = p.base.iter().cloned().collect();
        (p.code.clone(), p.kind, base, p.expression.clone())
    };
    if facts(known) == facts(copy) {
        return Ok(());
    }
    let text = format!(
        "{} is R4's own parameter '{}' and cannot be redefined. Give yours a canonical URL and a code of its own.",
        known.url, known.code
    );
    Err(refuse("url", text))
}

fn check_code(own: &SearchParameter) -> Result<(), FhirError> {
    let first = own.code.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = own
        .code
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if first && rest && own.code.len() <= 64 {
        return Ok(());
    }
    let text = format!(
        "'{}' cannot be a parameter's name in a query: it takes up to 64 letters, digits, '-' and '_', beginning with a \
         letter or digit. Names that begin with '_' are the specification's.",
        excerpt(&own.code)
    );
    Err(refuse("code", text))
}

fn check_kind(own: &SearchParameter, resource: &Value) -> Result<(), FhirError> {
    if own.kind == SearchParameterType::Special {
        return Err(refuse(
            "type",
            "Only the specification says how a special parameter is to be matched.",
        ));
    }
    match resource.get("xpathUsage").and_then(Value::as_str) {
        None | Some("normal") => Ok(()),
        Some(usage) => {
            let text = format!("Values are matched as they are: xpathUsage '{usage}' is not supported, only 'normal'.");
            Err(refuse("xpathUsage", text))
        }
    }
}

fn check_base(definitions: &Definitions, own: &SearchParameter) -> Result<(), FhirError> {
    let is_resource = |name: &String| {
        let ty = definitions.type_id(name).map(|id| definitions.get(id));
        ty.is_some_and(|ty| ty.kind == TypeKind::Resource)
    };
    match own.base.iter().find(|name| !is_resource(name)) {
        None => Ok(()),
        Some(name) => Err(refuse(
            "base",
            format!("'{}' is no resource type of R4.", excerpt(name)),
        )),
    }
}

fn check_targets(definitions: &Definitions, own: &SearchParameter) -> Result<(), FhirError> {
    match own
        .targets
        .iter()
        .find(|name| definitions.resource_type(name).is_none())
    {
        None => Ok(()),
        Some(name) => Err(refuse(
            "target",
            format!("'{}' is no resource type of R4.", excerpt(name)),
        )),
    }
}

/// The expression must find, in each base type, values that the parameter's type can index.
fn check_expression(definitions: &'static Definitions, own: &SearchParameter) -> Result<(), FhirError> {
    let Some(expression) = &own.expression else {
        let text = "A parameter is indexed by its FHIRPath expression, which is missing; an xpath is not used.";
        return Err(refuse("expression", text));
    };
    for base in own.base.iter().filter_map(|name| definitions.type_id(name)) {
        let base = definitions.get(base);
        let found = value_types(definitions, base.id, expression).map_err(|error| misfit("expression", &error))?;
        if own.kind == SearchParameterType::Composite {
            check_components(definitions, own, base, found)?;
            continue;
        }
        let Some(found) = found else { continue };
        if found.is_empty() {
            let text = format!("The expression finds nothing in {}, which 'base' names.", base.name);
            return Err(refuse("expression", text));
        }
        let names: BTreeSet<&str> = found
            .iter()
            .map(|ty| match ty {
                ResultType::Element(id) => definitions.get(*id).name.as_str(),
                ResultType::Computed(name) => name,
            })
            .collect();
        let indexable = found
            .iter()
            .any(|ty| matches!(ty, ResultType::Element(id) if takes(definitions, own.kind, definitions.get(*id))));
        if !indexable {
            let names: Vec<&str> = names.into_iter().take(8).collect();
            let text = format!(
                "In {} the expression finds values of type {}; a {} parameter indexes {}.",
                base.name,
                names.join(", "),
                own.kind.code(),
                indexed_types(own.kind)
            );
            return Err(refuse("type", text));
        }
    }
    Ok(())
}

/// What an expression is refused for.
fn misfit(element: &str, error: &PlanError) -> FhirError {
    let mut text = error.to_string();
    // The sentence begins with "the".
    text.replace_range(..1, "T");
    refuse(element, format!("{text}."))
}

/// A composite finds instances of known types, and in each of them every component finds values that can be indexed. A
/// component is defined by a parameter of R4, which cannot go away or change under the composite.
fn check_components(
    definitions: &'static Definitions,
    own: &SearchParameter,
    base: &TypeDefinition,
    instances: Option<Vec<ResultType>>,
) -> Result<(), FhirError> {
    if !(2..=3).contains(&own.components.len()) {
        return Err(refuse(
            "component",
            "A composite parameter has two or three components.",
        ));
    }
    let elements = instances.into_iter().flatten().filter_map(|instance| match instance {
        ResultType::Element(id) => Some(id),
        ResultType::Computed(_) => None,
    });
    let elements: BTreeSet<TypeId> = elements.collect();
    if elements.is_empty() {
        let text = format!(
            "The expression of a composite parameter is a path; it finds nothing in {}.",
            base.name
        );
        return Err(refuse("expression", text));
    }
    for component in &own.components {
        let defined = definition::built_in(definitions, &component.definition);
        if defined
            .and_then(|known| Family::of(known.kind))
            .is_none_or(|family| family == Family::Composite)
        {
            let text = format!(
                "A component is defined by a parameter of R4 that is neither composite nor special; {} is none.",
                excerpt(&component.definition)
            );
            return Err(refuse("component.definition", text));
        }
        let mut is_indexable = false;
        for &element in &elements {
            let found = value_types(definitions, element, &component.expression);
            let found = found.map_err(|error| misfit("component.expression", &error))?;
            is_indexable |= found.into_iter().flatten().any(|ty| match ty {
                ResultType::Element(id) => {
                    let name = definitions.get(id).name.as_str();
                    Family::OF_ONE_VALUE.into_iter().any(|family| family.holds(name))
                }
                ResultType::Computed(_) => false,
            });
        }
        if !is_indexable {
            let text = format!(
                "'{}' finds nothing that can be indexed.",
                excerpt(&component.expression)
            );
            return Err(refuse("component.expression", text));
        }
    }
    Ok(())
}

/// No parameter of R4 may have the code in any of the types.
fn check_free(definitions: &Definitions, own: &SearchParameter) -> Result<(), FhirError> {
    for ty in concrete_types(definitions, &own.base) {
        let taken = definitions.search_parameters.iter().find(|known| {
            let mut bases = known.base.iter().filter_map(|name| definitions.type_id(name));
            known.code == own.code && bases.any(|base| definitions.is_a(ty.id, base))
        });
        if let Some(known) = taken {
            return Err(refuse("code", taken_by(&ty.name, &own.code, &known.url)));
        }
    }
    Ok(())
}

/// Why a code cannot be used.
pub(super) fn taken_by(resource_type: &str, code: &str, owner: &str) -> String {
    format!("{resource_type} has a search parameter '{code}' already, defined by {owner}. Give this one another code.")
}

/// Whether values of this type make index rows of a parameter of this kind.
fn takes(definitions: &Definitions, kind: SearchParameterType, ty: &TypeDefinition) -> bool {
    let name = ty.name.as_str();
    let is_quantity = || {
        let quantity = definitions.type_id("Quantity");
        quantity.is_some_and(|quantity| definitions.is_a(ty.id, quantity))
    };
    match kind {
        SearchParameterType::Token => {
            matches!(name, "Coding" | "CodeableConcept" | "Identifier" | "ContactPoint")
                || (ty.kind == TypeKind::Primitive && !matches!(name, "base64Binary" | "xhtml"))
        }
        SearchParameterType::Reference => name == "Reference" || is_uri(name),
        SearchParameterType::String => {
            matches!(name, "HumanName" | "Address" | "string" | "markdown" | "code" | "id") || is_uri(name)
        }
        SearchParameterType::Date => matches!(name, "date" | "dateTime" | "instant" | "Period" | "Timing"),
        SearchParameterType::Number => matches!(name, "integer" | "decimal" | "positiveInt" | "unsignedInt" | "Range"),
        SearchParameterType::Quantity => matches!(name, "Money" | "Range" | "SampledData") || is_quantity(),
        SearchParameterType::Uri => is_uri(name),
        SearchParameterType::Composite | SearchParameterType::Special => false,
    }
}

fn is_uri(name: &str) -> bool {
    matches!(name, "uri" | "url" | "canonical" | "oid" | "uuid")
}

/// The same for a message.
fn indexed_types(kind: SearchParameterType) -> &'static str {
    match kind {
        SearchParameterType::Token => "Coding, CodeableConcept, Identifier, ContactPoint and primitive values",
        SearchParameterType::Reference => "Reference and canonical",
        SearchParameterType::String => "HumanName, Address and texts",
        SearchParameterType::Date => "date, dateTime, instant, Period and Timing",
        SearchParameterType::Number => "integer, decimal, positiveInt, unsignedInt and Range",
        SearchParameterType::Quantity => "Quantity, Money, Range and SampledData",
        SearchParameterType::Uri => "uri, url, canonical, oid and uuid",
        SearchParameterType::Composite | SearchParameterType::Special => "nothing by itself",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The diagnostics of the refusal, and the element that it names.
    fn refusal(resource: &Value) -> (String, String) {
        let error = check(Definitions::r4(), resource).expect_err("it is refused");
        assert_eq!(error.status.as_u16(), 422);
        (
            error.issues[0].diagnostics.clone(),
            error.issues[0].expression[0].clone(),
        )
    }

    fn parameter(code: &str, base: &[&str], kind: &str, expression: &str) -> Value {
        json!({"resourceType": "SearchParameter", "url": "http://example.org/sp", "name": "P", "status": "active",
            "description": "x", "code": code, "base": base, "type": kind, "expression": expression})
    }

    #[test]
    fn r4s_own_parameters_fit_the_rules() {
        let definitions = Definitions::r4();
        for known in &definitions.search_parameters {
            // Bundle's parameters refer by whole resources, which only R4 itself does.
            let is_whole = known.base == ["Bundle"] && known.kind == SearchParameterType::Reference;
            let computed = matches!(
                known.kind,
                SearchParameterType::Composite | SearchParameterType::Special
            );
            if known.expression.is_none() || computed || is_whole {
                continue;
            }
            let checked = check_expression(definitions, known);
            assert!(
                checked.is_ok(),
                "{}: {:?}",
                known.url,
                checked.err().map(|error| error.to_json())
            );
        }
    }

    #[test]
    fn extensions_choices_and_computed_booleans_can_be_indexed() {
        let extension = "http://example.org/fhir/StructureDefinition/x";
        for (base, kind, expression) in [
            (
                "Patient",
                "token",
                format!("Patient.extension.where(url='{extension}').value"),
            ),
            (
                "Patient",
                "date",
                format!("Patient.extension('{extension}').value.ofType(dateTime)"),
            ),
            (
                "Patient",
                "reference",
                format!("(Patient.extension('{extension}').value as Reference)"),
            ),
            (
                "DomainResource",
                "string",
                format!("DomainResource.extension('{extension}').value"),
            ),
            ("Patient", "token", "Patient.contact.exists()".to_owned()),
            (
                "Patient",
                "string",
                "Patient.name.where(use = 'official' and period.empty()).family".to_owned(),
            ),
            ("Encounter", "quantity", "Encounter.length".to_owned()),
            ("Patient", "number", "Patient.multipleBirth.ofType(integer)".to_owned()),
        ] {
            let checked = check(Definitions::r4(), &parameter("own", &[base], kind, &expression));
            assert!(
                checked.is_ok(),
                "{expression}: {:?}",
                checked.err().map(|error| error.to_json())
            );
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let cases = [
            (
                parameter("x", &["Patient"], "string", "Patient.name."),
                "expression",
                "not FHIRPath",
            ),
            (
                parameter("x", &["Patient"], "string", "Patient.nickname"),
                "expression",
                "`nickname`",
            ),
            (
                parameter("x", &["Practitioner"], "string", "Patient.name"),
                "expression",
                "finds nothing in Practitioner",
            ),
            (
                parameter("x", &["Patient"], "date", "Patient.name"),
                "type",
                "HumanName",
            ),
            (
                parameter("x", &["Patient"], "string", "Patient.name.given.first() & '!'"),
                "type",
                "String",
            ),
            (
                parameter("x", &["Patient"], "token", "Patient.name.given + 1"),
                "expression",
                "does not fit Patient",
            ),
            (
                parameter("x", &["Encounter"], "string", "Encounter.subject.resolve().name"),
                "expression",
                "resolve()",
            ),
            (
                parameter("x", &["Patient"], "token", "Patient.birthDate < today()"),
                "expression",
                "today()",
            ),
            (parameter("x", &["Klingon"], "token", "Klingon.code"), "base", "Klingon"),
            (
                parameter("x", &["HumanName"], "token", "HumanName.use"),
                "base",
                "HumanName",
            ),
            (
                parameter("gender", &["Patient"], "token", "Patient.active"),
                "code",
                "individual-gender",
            ),
            (
                parameter("_own", &["Patient"], "token", "Patient.active"),
                "code",
                "'_'",
            ),
            (
                parameter("a:b", &["Patient"], "token", "Patient.active"),
                "code",
                "'a:b'",
            ),
            (
                parameter("x", &["Patient"], "special", "Patient.active"),
                "type",
                "special",
            ),
        ];
        for (resource, element, hint) in cases {
            let (text, at) = refusal(&resource);
            assert_eq!(at, format!("SearchParameter.{element}"), "{text}");
            assert!(text.contains(hint), "{text}");
        }
        let mut without = parameter("x", &["Patient"], "token", "Patient.active");
        without.as_object_mut().unwrap().remove("expression");
        assert_eq!(refusal(&without).1, "SearchParameter.expression");
        without["status"] = json!("draft");
        assert!(check(Definitions::r4(), &without).is_ok(), "a draft is not used");
    }

    #[test]
    fn r4s_parameters_may_be_stored_but_not_changed() {
        let known = Definitions::r4()
            .search_parameters
            .iter()
            .find(|p| p.code == "birthdate")
            .unwrap();
        let mut copy = parameter("birthdate", &[], "date", known.expression.as_deref().unwrap());
        copy["url"] = json!(known.url);
        copy["base"] = json!(known.base);
        assert!(check(Definitions::r4(), &copy).is_ok());
        copy["expression"] = json!("Patient.deceased");
        assert_eq!(refusal(&copy).1, "SearchParameter.url");
    }
}
