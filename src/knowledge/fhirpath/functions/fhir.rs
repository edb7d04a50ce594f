//! FHIR's own functions (<https://hl7.org/fhir/R4/fhirpath.html#functions>).

use std::borrow::Cow;

use serde_json::Value;

use super::{ANYTHING, At, Function, Gives, OneItem, Parameter, Result, STRING};
use crate::knowledge::fhirpath::item::{Collection, Element, Item};
use crate::knowledge::fhirpath::model::{GO_ON, Primitive, get};
use crate::knowledge::fhirpath::types::SystemType;

const A_BOOLEAN: Gives = Gives::One(SystemType::Boolean);
const ONE_STRING: &[Parameter] = &[Parameter::Value(STRING)];
const CORE_PROFILES: &str = "http://hl7.org/fhir/StructureDefinition/";

pub(super) static FUNCTIONS: &[Function] = &[
    Function::items("extension", Gives::Extensions, extension).taking(ONE_STRING),
    Function::item("hasValue", A_BOOLEAN, has_value),
    Function::item("getValue", Gives::Unknown, get_value),
    Function::items("resolve", Gives::Unknown, resolve),
    Function::item("memberOf", A_BOOLEAN, member_of).taking(ONE_STRING),
    Function::item("conformsTo", A_BOOLEAN, conforms_to).taking(ONE_STRING),
    Function::item("subsumes", A_BOOLEAN, |at| subsumption(at, false)).taking(&[Parameter::Value(ANYTHING)]),
    Function::item("subsumedBy", A_BOOLEAN, |at| subsumption(at, true)).taking(&[Parameter::Value(ANYTHING)]),
    Function::item("htmlChecks", A_BOOLEAN, html_checks),
    Function::items("checkModifiers", Gives::Input, check_modifiers)
        .taking(ONE_STRING)
        .repeating(),
];

fn extension<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let Some(url) = at.text_argument(0)? else {
        return Ok(());
    };
    for item in &at.input()? {
        let Some(element) = item.as_element() else {
            continue;
        };
        let _ = at.evaluation.model.named(element, "extension", &mut |extension| {
            if extension.value.get("url").and_then(Value::as_str) == Some(&url) {
                out.push(Item::Element(extension));
            }
            GO_ON
        });
    }
    Ok(())
}

/// Whether the input is one primitive with a value, as opposed to one with extensions only.
fn has_value<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let has_value = match at.input()?.as_slice() {
        [Item::Element(element)] => {
            at.evaluation.model.primitive(element.type_id).is_some() && !element.value.is_null()
        }
        [_] => true,
        _ => false,
    };
    Ok(Some(Item::Boolean(has_value)))
}

fn get_value<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    match at.input()?.as_slice() {
        [Item::Element(element)] if at.evaluation.model.primitive(element.type_id).is_none() => Ok(None),
        [item] => Ok(at.evaluation.system(item)),
        _ => Ok(None),
    }
}

/// The resources that References, canonicals and URIs name. One that is not found is left out.
fn resolve<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    for item in &at.input()? {
        let text = match item {
            Item::Element(Element {
                value: Value::Object(object),
                ..
            }) => get(object, "reference").and_then(Value::as_str).map(Cow::Borrowed),
            item => match at.evaluation.system(item) {
                Some(Item::String(text)) => Some(text),
                _ => None,
            },
        };
        at.evaluation.spend(1, at.call.position)?;
        if let Some(text) = text
            && let Some(resource) = find(at, &text)?
        {
            out.extend(Item::resource(resource, at.evaluation.model.definitions));
        }
    }
    Ok(())
}

/// Looks in the containing resource, then in the Bundle around it, then asks the caller's resolver.
fn find<'a>(at: &At<'_, '_, 'a>, reference: &str) -> Result<Option<&'a Value>> {
    let root = at.evaluation.root_resource().as_element().map(|element| element.value);
    if let Some(id) = reference.strip_prefix('#') {
        let contained = root.and_then(|root| root.get("contained")).and_then(Value::as_array);
        let found = contained
            .into_iter()
            .flatten()
            .find(|resource| text(resource, "id") == Some(id));
        return Ok(if id.is_empty() { root } else { found });
    }
    let entries = root.filter(|root| text(root, "resourceType") == Some("Bundle"));
    for entry in entries
        .and_then(|bundle| bundle.get("entry"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        at.evaluation.spend(1, at.call.position)?;
        let Some(resource) = entry.get("resource") else {
            continue;
        };
        if text(entry, "fullUrl") == Some(reference) || is_relative(reference, resource) {
            return Ok(Some(resource));
        }
    }
    Ok(at
        .evaluation
        .environment
        .resolver
        .and_then(|resolver| resolver.resolve(reference)))
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

/// Whether `reference` is this resource's `Type/id`.
fn is_relative(reference: &str, resource: &Value) -> bool {
    reference.split_once('/').is_some_and(|(resource_type, id)| {
        text(resource, "resourceType") == Some(resource_type) && text(resource, "id") == Some(id)
    })
}

/// The codings in a `code`, `Coding` or `CodeableConcept`; `None` for another type.
fn codings<'a>(at: &At<'_, '_, 'a>, item: &Item<'a>) -> Option<Vec<(Option<&'a str>, Cow<'a, str>)>> {
    let coding = |value: &'a Value| Some((text(value, "system"), Cow::Borrowed(text(value, "code")?)));
    match item {
        Item::Element(Element {
            value: value @ Value::Object(_),
            type_id,
            ..
        }) => match at.evaluation.model.type_name(*type_id) {
            "Coding" => Some(coding(value).into_iter().collect()),
            "CodeableConcept" => {
                let all = value.get("coding").and_then(Value::as_array).into_iter().flatten();
                Some(all.filter_map(coding).collect())
            }
            _ => None,
        },
        item => match at.evaluation.system(item)? {
            Item::String(code) => Some(vec![(None, code)]),
            _ => None,
        },
    }
}

fn member_of<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(item), Some(url)) = (at.input_item()?, at.text_argument(0)?) else {
        return Ok(None);
    };
    let Some(codings) = codings(at, &item) else {
        return Err(at.wrong_input(&item, "code, Coding or CodeableConcept"));
    };
    let borrowed: Vec<(Option<&str>, &str)> = codings.iter().map(|(system, code)| (*system, code.as_ref())).collect();
    let asked = at
        .evaluation
        .environment
        .resolver
        .and_then(|resolver| resolver.member_of(&url, &borrowed));
    let known = || {
        let url = url.split('|').next().unwrap_or_default();
        let members = at.evaluation.model.definitions.value_sets.get(url)?;
        Some(members.iter().any(|(system, code)| {
            borrowed
                .iter()
                .any(|(wanted_system, wanted)| *wanted == code && wanted_system.is_none_or(|w| w == system))
        }))
    };
    Ok(asked.or_else(known).map(Item::Boolean))
}

fn conforms_to<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let (Some(item), Some(url)) = (at.input_item()?, at.text_argument(0)?) else {
        return Ok(None);
    };
    let Some(element) = item.as_element() else {
        return Err(at.wrong_input(&item, "resource or element"));
    };
    if let Some(resolver) = at.evaluation.environment.resolver
        && let Some(conforms) = resolver.conforms_to(element.value, &url)
    {
        return Ok(Some(Item::Boolean(conforms)));
    }
    let definitions = at.evaluation.model.definitions;
    match url
        .strip_prefix(CORE_PROFILES)
        .and_then(|name| definitions.type_id(name))
    {
        Some(wanted) => Ok(Some(Item::Boolean(definitions.is_a(element.type_id, wanted)))),
        None => Err(at.error("conformsTo() does not know this profile")),
    }
}

/// `subsumes`: the input is the ancestor; `subsumedBy`: the argument is.
fn subsumption<'a>(at: &At<'_, '_, 'a>, is_by: bool) -> OneItem<'a> {
    let argument = at.argument(0)?;
    let other = at.evaluation.single(&argument, at.call.position)?;
    let (Some(item), Some(other)) = (at.input_item()?, other) else {
        return Ok(None);
    };
    let (Some(inputs), Some(others)) = (codings(at, &item), codings(at, other)) else {
        return Err(at.wrong_input(&item, "Coding or CodeableConcept"));
    };
    let (ancestors, descendants) = if is_by { (others, inputs) } else { (inputs, others) };
    let mut answer = None;
    for (ancestor_system, ancestor) in &ancestors {
        for (system, code) in &descendants {
            let (Some(ancestor_system), Some(system)) = (*ancestor_system, *system) else {
                continue;
            };
            let resolver = at.evaluation.environment.resolver;
            let subsumes = match ancestor_system == system && ancestor == code {
                true => Some(true),
                false => resolver.and_then(|resolver| resolver.subsumes((ancestor_system, ancestor), (system, code))),
            };
            answer = match (answer, subsumes) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (answer, subsumes) => answer.or(subsumes),
            };
        }
    }
    Ok(answer.map(Item::Boolean))
}

/// <https://hl7.org/fhir/R4/narrative.html#xhtml>
fn html_checks<'a>(at: &At<'_, '_, 'a>) -> OneItem<'a> {
    let Some(item) = at.input_item()? else {
        return Ok(None);
    };
    let html = match item
        .as_element()
        .map(|element| (element.value, at.evaluation.model.primitive(element.type_id)))
    {
        Some((Value::String(html), Some(Primitive::String))) => html,
        Some((Value::Null, _)) => return Ok(None),
        _ => return Err(at.wrong_input(&item, "xhtml")),
    };
    at.evaluation.spend(html.len() / 64, at.call.position)?;
    Ok(Some(Item::Boolean(super::html::is_narrative(html))))
}

/// The input, if it has no modifier extension but those named.
fn check_modifiers<'a>(at: &At<'_, '_, 'a>, out: &mut Collection<'a>) -> Result<()> {
    let mut known = Vec::with_capacity(at.arguments());
    for index in 0..at.arguments() {
        known.extend(at.text_argument(index)?);
    }
    let input = at.input()?;
    let modifiers = input
        .iter()
        .filter_map(Item::as_element)
        .filter_map(|element| element.value.get("modifierExtension"));
    for extension in modifiers.filter_map(Value::as_array).flatten() {
        if !known.iter().any(|url| text(extension, "url") == Some(url)) {
            return Err(at.error("the input has a modifier extension that is not known"));
        }
    }
    out.extend(input);
    Ok(())
}
