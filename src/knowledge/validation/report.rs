//! From a schema's errors to findings: where, as FHIRPath, and in words that a person can act on.
//!
//! Only for resources that are not valid, so this may take its time. It starts at the resource's schema and follows
//! [`TYPE_KEYWORD`] errors into the schemas of the values that failed.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use serde_json::Value;

use super::compiled::{ANY_RESOURCE, PRESENCE_KEYWORD, TYPE_KEYWORD, TypeSchema};
use super::{Finding, FindingCode, Step, nulls};
use crate::knowledge::definitions::{Definitions, ElementDefinition, TypeDefinition, TypeId, TypeKind};

/// More findings than these help nobody, and a hostile body could hold millions.
const MAX_FINDINGS: usize = 100;
/// A list of codes up to this length is spelled out.
const MAX_LISTED: usize = 15;
/// A name that a client made up is repeated up to this length.
const MAX_NAME: usize = 64;

/// Everything that is wrong with `resource`.
pub fn report(definitions: &Definitions, resource: &Value) -> Vec<Finding> {
    let mut reporter = Reporter {
        definitions,
        resource,
        findings: Vec::new(),
    };
    if !resource.is_object() {
        reporter.add(
            FindingCode::Structure,
            String::new(),
            "A resource is a JSON object.".to_owned(),
        );
    } else {
        reporter.resource(resource, &mut Vec::new());
        nulls::find_orphans(resource, &mut Vec::new(), &mut |path| {
            let place = reporter.place(path);
            // Elsewhere the schema has refused the `null` already.
            if !place.property.starts_with('_') && place.of_type.is_none_or(|t| t.kind != TypeKind::Primitive) {
                return;
            }
            let message = format!(
                "{} is null, and its counterpart in {} has nothing either: leave it out.",
                place.label,
                place.counterpart()
            );
            reporter.add(FindingCode::Structure, place.expression, message);
        });
    }
    reporter.findings
}

struct Reporter<'a> {
    definitions: &'a Definitions,
    resource: &'a Value,
    findings: Vec<Finding>,
}

/// What the definitions know about a place in the resource.
struct Place<'a> {
    expression: String,
    /// The element's name as one would say it: `birthDate`, `given[1]`.
    label: String,
    /// The JSON property, of which a leading `_` has been kept.
    property: &'a str,
    element: Option<&'a ElementDefinition>,
    /// Type of the value; unknown below a property that does not exist.
    of_type: Option<&'a TypeDefinition>,
    value: &'a Value,
    is_item: bool,
}

impl Place<'_> {
    fn counterpart(&self) -> String {
        match self.property.strip_prefix('_') {
            Some(plain) => plain.to_owned(),
            None => format!("_{}", self.property),
        }
    }
}

impl<'a> Reporter<'a> {
    /// Checks a resource, the outermost or one within, as the type it says it is.
    fn resource(&mut self, value: &'a Value, path: &mut Vec<Step<'a>>) {
        let place = self.place(path);
        let name = value.get("resourceType").and_then(Value::as_str);
        match name
            .and_then(|name| self.definitions.resource_type(name))
            .and_then(|t| TypeSchema::of(&t.name))
        {
            Some(schema) => self.schema(schema, value, path),
            None if !value.is_object() => {
                self.add(
                    FindingCode::Structure,
                    place.expression,
                    format!("{} must be a resource.", place.label),
                );
            }
            None if value.get("resourceType").is_none() => {
                let message = "resourceType is required: it names the type of the resource.".to_owned();
                self.add(FindingCode::Required, place.expression, message);
            }
            None => {
                let known = self.definitions.resource_types().map(|t| t.name.as_str());
                let hint = name
                    .and_then(|name| nearest(name, known))
                    .map(did_you_mean)
                    .unwrap_or_default();
                let message = format!("resourceType is not one of R4's resource types.{hint}");
                self.add(FindingCode::Value, place.expression, message);
            }
        }
    }

    fn schema(&mut self, schema: &TypeSchema, value: &'a Value, path: &mut Vec<Step<'a>>) {
        let depth = path.len();
        for error in schema.validator().iter_errors(value) {
            if self.findings.len() >= MAX_FINDINGS {
                return;
            }
            let mut at = value;
            for segment in error.instance_path() {
                let (step, next) = match segment {
                    LocationSegment::Index(index) => (Step::Index(index), at.get(index)),
                    LocationSegment::Property(name) => {
                        match at.as_object().and_then(|members| members.get_key_value(name.as_ref())) {
                            Some((name, member)) => (Step::Property(name), Some(member)),
                            None => continue,
                        }
                    }
                };
                path.push(step);
                at = next.unwrap_or(&Value::Null);
            }
            self.error(&error, at, path);
            path.truncate(depth);
        }
    }

    fn error(&mut self, error: &ValidationError<'_>, value: &'a Value, path: &mut Vec<Step<'a>>) {
        let is_binding = error.schema_path().as_str().contains("/then/");
        match error.kind() {
            ValidationErrorKind::Custom { keyword, message } if keyword == TYPE_KEYWORD => {
                if message == ANY_RESOURCE {
                    self.resource(value, path);
                } else if let Some(schema) = TypeSchema::of(message) {
                    self.schema(schema, value, path);
                }
            }
            ValidationErrorKind::Custom { keyword, .. } if keyword == PRESENCE_KEYWORD => self.presence(path),
            ValidationErrorKind::Required { .. } if is_binding => self.binding(path),
            ValidationErrorKind::Contains => {
                // The error is about the list `coding`; the binding is its parent's.
                path.pop();
                self.binding(path);
            }
            ValidationErrorKind::Enum { .. } => self.binding(path),
            ValidationErrorKind::Required { property } => {
                let place = self.place(path);
                let name = property.as_str().unwrap_or_default();
                self.add(
                    FindingCode::Required,
                    join(&place.expression, name),
                    format!("{name} is required."),
                );
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for name in unexpected {
                    self.unknown_property(path, name);
                }
            }
            ValidationErrorKind::FalseSchema => {
                let place = self.place(path);
                let message = match place.property {
                    "contained" => "A contained resource must not contain others: move them up one level.".to_owned(),
                    name => format!("{name} is not allowed here."),
                };
                self.add(FindingCode::Structure, place.expression, message);
            }
            ValidationErrorKind::MinItems { .. } | ValidationErrorKind::MinProperties { .. } => {
                let place = self.place(path);
                let message = match value {
                    Value::Array(items) if !items.is_empty() => format!("{} has too few items.", place.label),
                    Value::Array(_) => format!("{} is an empty list: leave it out.", place.label),
                    _ => format!("{} is an empty object: leave it out.", place.label),
                };
                self.add(FindingCode::Structure, place.expression, message);
            }
            ValidationErrorKind::MaxItems { limit } => {
                let place = self.place(path);
                let message = format!("{} may have at most {limit} items.", place.label);
                self.add(FindingCode::Structure, place.expression, message);
            }
            _ => self.wrong_value(path),
        }
    }

    /// A value of the wrong JSON type, or a primitive that is malformed.
    fn wrong_value(&mut self, path: &[Step<'a>]) {
        let place = self.place(path);
        let label = &place.label;
        let is_list = place.element.is_some_and(|e| e.is_array) && !place.is_item;
        let (code, message) = match (place.value, place.of_type) {
            (Value::Null, _) => (FindingCode::Structure, format!("{label} is null: leave it out.")),
            (Value::Array(_), _) if place.is_item => (
                FindingCode::Structure,
                format!("{label} must not be a list within a list."),
            ),
            (Value::Array(_), _) => (
                FindingCode::Structure,
                format!("{label} may be there only once, so it must not be a list."),
            ),
            (_, _) if is_list => (
                FindingCode::Structure,
                format!("{label} must be a list, even of one: [ … ]."),
            ),
            (Value::String(text), _) if text.is_empty() => {
                (FindingCode::Value, format!("{label} is an empty string: leave it out."))
            }
            (_, Some(t)) if t.kind == TypeKind::Primitive => {
                (FindingCode::Value, format!("{label} must be {}.", description(&t.name)))
            }
            (_, Some(t)) => (
                FindingCode::Structure,
                format!("{label} must be an object, of type {}.", t.name),
            ),
            (_, None) => (FindingCode::Value, format!("{label} is not what R4 allows here.")),
        };
        self.add(code, place.expression, message);
    }

    /// A code outside the value set of a required binding.
    fn binding(&mut self, path: &[Step<'a>]) {
        let place = self.place(path);
        let binding = place.element.and_then(|e| e.binding.as_ref());
        let Some(binding) = binding else {
            return self.wrong_value(path);
        };
        let mut codes: Vec<&str> = Vec::new();
        for (_, code) in self
            .definitions
            .value_sets
            .get(&binding.value_set)
            .into_iter()
            .flatten()
        {
            if !codes.contains(&code.as_str()) {
                codes.push(code);
            }
        }
        let what = match place.of_type.is_some_and(|t| t.kind == TypeKind::Primitive) {
            true => "be one of",
            false => "have a coding, with its system, that is one of",
        };
        let message = match codes.len() <= MAX_LISTED {
            true => format!("{} must {what}: {}.", place.label, codes.join(", ")),
            false => format!("{} must {what} the codes of {}.", place.label, binding.value_set),
        };
        self.add(FindingCode::CodeInvalid, place.expression, message);
    }

    /// A required primitive or choice that is missing, or a choice that was made twice.
    fn presence(&mut self, path: &[Step<'a>]) {
        let place = self.place(path);
        let (Some(of_type), Some(object)) = (place.of_type, place.value.as_object()) else {
            return;
        };
        for element in &of_type.elements {
            let names: Vec<String> = match element.is_choice {
                true => element
                    .types
                    .iter()
                    .map(|t| element.choice_property(self.name_of(t.type_id)))
                    .collect(),
                false => vec![element.name.clone()],
            };
            let there = |name: &&String| object.contains_key(*name) || object.contains_key(&format!("_{name}"));
            let present: Vec<&str> = names.iter().filter(there).map(String::as_str).collect();
            let expression = join(&place.expression, &element.name);
            if present.len() > 1 {
                let message = format!(
                    "{}[x] may have one type only: keep one of {}.",
                    element.name,
                    present.join(", ")
                );
                self.add(FindingCode::Structure, expression, message);
            } else if present.is_empty() && element.min > 0 {
                let message = match element.is_choice {
                    true if names.len() <= MAX_LISTED => {
                        format!("{}[x] is required: one of {}.", element.name, names.join(", "))
                    }
                    true => format!(
                        "{}[x] is required, with its type in the name: {}, ….",
                        element.name, names[0]
                    ),
                    false => format!("{} is required.", element.name),
                };
                self.add(FindingCode::Required, expression, message);
            }
        }
    }

    fn unknown_property(&mut self, path: &[Step<'a>], name: &str) {
        let place = self.place(path);
        let Some(of_type) = place.of_type else { return };
        let owner = &of_type.name;
        let shown: String = name.chars().take(MAX_NAME).collect();
        let plain = name.strip_prefix('_').unwrap_or(name);
        let choice = of_type.elements.iter().find(|e| {
            let rest = plain.strip_prefix(e.name.as_str());
            e.is_choice
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_uppercase()))
        });
        let message = if plain == "resourceType" {
            format!("{owner} is not a resource, so it has no resourceType.")
        } else if plain != name && of_type.property(plain).is_some() {
            format!("{plain} has no sibling {shown}: only primitive elements do.")
        } else if let Some(near) = nearest(name, of_type.by_property.keys().map(String::as_str)) {
            format!("{owner} has no element {shown}.{}", did_you_mean(near))
        } else if let Some(choice) = choice {
            let types: Vec<&str> = choice.types.iter().map(|t| self.name_of(t.type_id)).collect();
            let example = choice.choice_property(types[0]);
            format!(
                "{owner} has no element {shown}: {}[x] is written with its type, as in {example}.",
                choice.name
            )
        } else {
            format!("{owner} has no element {shown}.")
        };
        self.add(FindingCode::Structure, join(&place.expression, name), message);
    }

    fn name_of(&self, id: TypeId) -> &'a str {
        &self.definitions.get(id).name
    }

    /// Follows `path` from the outermost resource, through the definitions and the JSON side by side.
    fn place(&self, path: &[Step<'a>]) -> Place<'a> {
        let mut place = Place {
            expression: String::new(),
            label: "The resource".to_owned(),
            property: "",
            element: None,
            of_type: None,
            value: self.resource,
            is_item: false,
        };
        place.of_type = self.concrete(None, place.value);
        place.expression = place.of_type.map_or("Resource", |t| &t.name).to_owned();
        for step in path {
            match *step {
                Step::Property(name) => {
                    let plain = name.strip_prefix('_').unwrap_or(name);
                    let found = place.of_type.and_then(|t| t.property(plain));
                    place.element = found.map(|(element, _)| element);
                    let declared = match name == plain {
                        true => found.map(|(_, of_type)| of_type.type_id),
                        false => self.definitions.type_id("Element"),
                    };
                    place.expression = join(&place.expression, place.element.map_or(plain, |e| &e.name));
                    place.label = plain.chars().take(MAX_NAME).collect();
                    place.property = name;
                    place.is_item = false;
                    place.value = place.value.get(name).unwrap_or(&Value::Null);
                    place.of_type = declared.and_then(|id| self.concrete(Some(id), place.value));
                }
                Step::Index(index) => {
                    place.expression.push_str(&format!("[{index}]"));
                    place.label.push_str(&format!("[{index}]"));
                    place.is_item = true;
                    place.value = place.value.get(index).unwrap_or(&Value::Null);
                    place.of_type = place.of_type.and_then(|t| self.concrete(Some(t.id), place.value));
                }
            }
        }
        place
    }

    /// The type of a value: as declared, unless that is abstract and the value says what it is.
    fn concrete(&self, declared: Option<TypeId>, value: &Value) -> Option<&'a TypeDefinition> {
        let declared = declared.map(|id| self.definitions.get(id));
        if declared.is_some_and(|t| t.kind != TypeKind::Resource) {
            return declared;
        }
        let stated = value.get("resourceType").and_then(Value::as_str);
        stated
            .and_then(|name| self.definitions.resource_type(name))
            .or(declared)
    }

    fn add(&mut self, code: FindingCode, expression: String, message: String) {
        let finding = Finding {
            code,
            expression,
            message,
        };
        if self.findings.len() < MAX_FINDINGS && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// `Patient` and `name` give `Patient.name`; what is no identifier cannot be part of a path and is left out.
fn join(expression: &str, name: &str) -> String {
    let is_identifier = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match name.is_empty() || name.len() > MAX_NAME || !is_identifier(name) {
        true => expression.to_owned(),
        false => format!("{expression}.{name}"),
    }
}

fn did_you_mean(name: &str) -> String {
    format!(" Did you mean {name}?")
}

/// The name that `written` was probably meant to be.
fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Long names cost time and resemble nothing.
    if written.len() > MAX_NAME {
        return None;
    }
    let lower = written.to_ascii_lowercase();
    known
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 2 && *distance * 2 < name.len())
        .min()
        .map(|(_, name)| name)
}

/// What a value of a primitive type looks like (<https://hl7.org/fhir/R4/datatypes.html>).
fn description(primitive: &str) -> &'static str {
    match primitive {
        "boolean" => "true or false, without quotation marks",
        "decimal" => "a number, without quotation marks",
        "integer" => "a whole number between -2147483648 and 2147483647, without fraction, exponent or quotation marks",
        "unsignedInt" => "a whole number between 0 and 2147483647, without fraction, exponent or quotation marks",
        "positiveInt" => "a whole number between 1 and 2147483647, without fraction, exponent or quotation marks",
        "date" => "a date that exists: YYYY, YYYY-MM or YYYY-MM-DD",
        "dateTime" => {
            "a date that exists: YYYY, YYYY-MM, YYYY-MM-DD or, with seconds and time zone, YYYY-MM-DDThh:mm:ss+zz:zz"
        }
        "instant" => "a moment with seconds and time zone, on a date that exists: YYYY-MM-DDThh:mm:ss+zz:zz",
        "time" => "a time of day with seconds: hh:mm:ss",
        "code" => "a code: no spaces at its ends, and no more than one between words",
        "id" => "an id: 1 to 64 letters, digits, hyphens and dots",
        "uri" | "url" | "canonical" => "a URI, without white space",
        "oid" => "an OID as a URI: urn:oid:1.2.840",
        "uuid" => "a UUID as a URI, in lower case: urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        "base64Binary" => "Base64, padded with = to a multiple of four characters",
        "xhtml" => "XHTML in one <div>",
        _ => "a string with at least one visible character, no control characters, and at most 1048576 characters",
    }
}
