//! `schemas/<Type>.schema.json`: one JSON Schema (2020-12) per resource type and data type, one element per line.
//!
//! A file refers to others by `$ref` and is usable by any JSON Schema tool. What JSON Schema cannot say (that the
//! `null`s of `given` and `_given` never meet, that an integer is not written `1.0`) the validator adds.

use serde_json::{Map, Value, json};

use super::{Files, GenerateError, primitives};
use crate::knowledge::definitions::{
    BindingStrength, Definitions, ElementDefinition, ElementType, TypeDefinition, TypeKind,
};

/// The profile on Quantity that forbids a comparator; it is the only profile that R4's types themselves ask for.
const SIMPLE_QUANTITY: &str = "http://hl7.org/fhir/StructureDefinition/SimpleQuantity";

/// Every schema by its path below `fhir-schemas/`.
pub fn write(definitions: &Definitions) -> Result<Files, GenerateError> {
    let mut files = Files::new();
    for t in &definitions.types {
        let text = match t.kind {
            TypeKind::Backbone => continue,
            TypeKind::Primitive => {
                let missing = || GenerateError::Unexpected(format!("the primitive type {} has no schema", t.name));
                let mut document = Document::new(&t.name);
                for (keyword, value) in primitives::schema(&t.name).and_then(into_object).ok_or_else(missing)? {
                    document.member(&keyword, &value);
                }
                document.finish()
            }
            TypeKind::Resource if t.is_abstract && t.base.is_none() => any_resource(definitions, &t.name),
            // Nothing is ever just a DomainResource.
            TypeKind::Resource if t.is_abstract => continue,
            TypeKind::Complex | TypeKind::Resource => (Writer { definitions }).document(t)?,
        };
        files.insert(format!("schemas/{}", file_name(&t.name)), text);
    }
    Ok(files)
}

fn file_name(type_name: &str) -> String {
    format!("{type_name}.schema.json")
}

fn into_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Any concrete resource: what `contained`, `Bundle.entry.resource` and their like hold.
fn any_resource(definitions: &Definitions, name: &str) -> String {
    let names: Vec<&str> = definitions.resource_types().map(|t| t.name.as_str()).collect();
    let mut document = Document::new(name);
    document.member("type", &json!("object"));
    document.member("required", &json!(["resourceType"]));
    document.member("properties", &json!({"resourceType": {"enum": names}}));
    let branches: Vec<String> = names
        .iter()
        .map(|name| {
            let condition = json!({"properties": {"resourceType": {"const": name}}});
            json!({"if": condition, "then": {"$ref": file_name(name)}}).to_string()
        })
        .collect();
    document.raw("allOf", &format!("[\n{}\n]", branches.join(",\n")));
    document.finish()
}

/// A JSON object written member by member, each on a line of its own.
struct Document(Vec<String>);

impl Document {
    fn new(title: &str) -> Document {
        let mut document = Document(Vec::new());
        document.member("$schema", &json!("https://json-schema.org/draft/2020-12/schema"));
        document.member("title", &json!(title));
        document
    }

    fn member(&mut self, name: &str, value: &Value) {
        self.raw(name, &value.to_string());
    }

    fn raw(&mut self, name: &str, text: &str) {
        self.0.push(format!("{}:{text}", json!(name)));
    }

    fn finish(self) -> String {
        format!("{}\n", self.text())
    }

    fn text(&self) -> String {
        format!("{{\n{}\n}}", self.0.join(",\n"))
    }
}

struct Writer<'a> {
    definitions: &'a Definitions,
}

impl Writer<'_> {
    fn document(&self, t: &TypeDefinition) -> Result<String, GenerateError> {
        let mut document = Document::new(&t.name);
        self.object(t, &mut document)?;
        let prefix = format!("{}.", t.name);
        let mut parts = Document(Vec::new());
        for part in self.definitions.types.iter().filter(|p| p.name.starts_with(&prefix)) {
            let mut object = Document(Vec::new());
            self.object(part, &mut object)?;
            parts.raw(&part.name, &object.text());
        }
        if !parts.0.is_empty() {
            document.raw("$defs", &parts.text());
        }
        Ok(document.finish())
    }

    /// The keywords that describe an object of type `t`.
    fn object(&self, t: &TypeDefinition, out: &mut Document) -> Result<(), GenerateError> {
        let mut properties = Document(Vec::new());
        let mut required = Vec::new();
        // What `required` alone cannot say: a primitive may be there as its sibling only; a choice is there at most once.
        let mut presence = Vec::new();
        if t.kind == TypeKind::Resource {
            properties.member("resourceType", &json!({"const": t.name}));
            required.push("resourceType".to_owned());
        }
        for element in t.elements.iter().filter(|e| e.max != Some(0)) {
            let mut alternatives = Vec::new();
            for element_type in &element.types {
                let of_type = self.definitions.get(element_type.type_id);
                let name = match element.is_choice {
                    true => element.choice_property(&of_type.name),
                    false => element.name.clone(),
                };
                properties.member(&name, &self.property(t, element, element_type)?);
                let mut present = vec![name.clone()];
                if self.has_sibling(element, of_type) {
                    let sibling = format!("_{name}");
                    properties.member(&sibling, &sibling_schema(element));
                    present.push(sibling);
                }
                alternatives.push(present);
            }
            match (element.is_choice, element.min > 0) {
                (true, is_required) => presence.push(choice(&alternatives, is_required)),
                (false, true) => match alternatives[0].as_slice() {
                    [name] => required.push(name.clone()),
                    names => presence.push(any_present(names)),
                },
                (false, false) => {}
            }
        }
        out.member("type", &json!("object"));
        if t.kind != TypeKind::Resource {
            out.member("minProperties", &json!(1));
        }
        if !required.is_empty() {
            out.member("required", &json!(required));
        }
        out.raw("properties", &properties.text());
        out.member("additionalProperties", &json!(false));
        if !presence.is_empty() {
            let lines: Vec<String> = presence.iter().map(Value::to_string).collect();
            out.raw("allOf", &format!("[\n{}\n]", lines.join(",\n")));
        }
        Ok(())
    }

    /// Whether `_name` may stand beside `name`, with the id and extensions of a primitive.
    fn has_sibling(&self, element: &ElementDefinition, of_type: &TypeDefinition) -> bool {
        let may_extend = |t: &TypeDefinition| t.property("extension").is_some_and(|(e, _)| e.max != Some(0));
        of_type.kind == TypeKind::Primitive && !element.is_bare && may_extend(of_type)
    }

    fn property(
        &self,
        owner: &TypeDefinition,
        element: &ElementDefinition,
        element_type: &ElementType,
    ) -> Result<Value, GenerateError> {
        let of_type = self.definitions.get(element_type.type_id);
        let value = self.value(owner, element, of_type)?;
        if !element.is_array {
            return Ok(value);
        }
        // An item without a value is `null`, when its sibling has the extension that explains it.
        let items = match self.has_sibling(element, of_type) {
            true => json!({"if": {"type": "null"}, "else": value}),
            false => value,
        };
        Ok(array(element, items))
    }

    fn value(
        &self,
        owner: &TypeDefinition,
        element: &ElementDefinition,
        of_type: &TypeDefinition,
    ) -> Result<Value, GenerateError> {
        let reference = match of_type.kind {
            TypeKind::Backbone => {
                let file = of_type.name.split('.').next();
                if file != owner.name.split('.').next() {
                    let message = format!("{} refers to {} of another type", owner.name, of_type.name);
                    return Err(GenerateError::Unexpected(message));
                }
                format!("#/$defs/{}", of_type.name)
            }
            _ => file_name(&of_type.name),
        };
        let mut schema = json!({"$ref": reference});
        if element.name == "contained" {
            schema["properties"] = json!({"contained": false});
        }
        if element.profiles.iter().any(|profile| profile == SIMPLE_QUANTITY) && of_type.name == "Quantity" {
            schema["properties"] = json!({"comparator": false, "_comparator": false});
        }
        let Some(codes) = self.required_codes(element) else {
            return Ok(schema);
        };
        match of_type.name.as_str() {
            "CodeableConcept" => {
                let coding = json!({"coding": {"contains": coding(codes)}});
                // A concept that could not be coded says why in an extension.
                schema["if"] = json!({"not": {"required": ["extension"]}});
                schema["then"] = json!({"required": ["coding"], "properties": coding});
            }
            "Coding" => {
                schema["if"] = json!({"not": {"required": ["extension"]}});
                schema["then"] = coding(codes);
            }
            _ if of_type.kind == TypeKind::Primitive => {
                let mut codes: Vec<&String> = codes.iter().map(|(_, code)| code).collect();
                codes.dedup();
                schema = json!({"enum": codes});
            }
            _ => {}
        }
        Ok(schema)
    }

    /// The (system, code) pairs of a required binding, when they are known.
    fn required_codes(&self, element: &ElementDefinition) -> Option<&[(String, String)]> {
        let binding = element
            .binding
            .as_ref()
            .filter(|b| b.strength == BindingStrength::Required)?;
        self.definitions.value_sets.get(&binding.value_set).map(Vec::as_slice)
    }
}

fn sibling_schema(element: &ElementDefinition) -> Value {
    let value = json!({"$ref": file_name("Element")});
    match element.is_array {
        true => array(element, json!({"if": {"type": "null"}, "else": value})),
        false => value,
    }
}

fn array(element: &ElementDefinition, items: Value) -> Value {
    let mut schema = json!({"type": "array", "minItems": element.min.max(1), "items": items});
    if let Some(max) = element.max {
        schema["maxItems"] = json!(max);
    }
    schema
}

/// A coding with one of `codes`.
fn coding(codes: &[(String, String)]) -> Value {
    let mut systems: Vec<(&String, Vec<&String>)> = Vec::new();
    for (system, code) in codes {
        match systems.iter_mut().find(|(known, _)| *known == system) {
            Some((_, codes)) => codes.push(code),
            None => systems.push((system, vec![code])),
        }
    }
    let branches: Vec<Value> = systems
        .into_iter()
        .map(|(system, codes)| {
            json!({"required": ["system", "code"], "properties": {"system": {"const": system}, "code": {"enum": codes}}})
        })
        .collect();
    match <[Value; 1]>::try_from(branches) {
        Ok([only]) => only,
        Err(branches) => json!({"anyOf": branches}),
    }
}

fn any_present(names: &[String]) -> Value {
    match names {
        [name] => json!({"required": [name]}),
        names => {
            let branches: Vec<Value> = names.iter().map(|name| json!({"required": [name]})).collect();
            json!({"anyOf": branches})
        }
    }
}

/// Exactly one of the alternatives, or none when the element is optional. An alternative is a property with its sibling.
fn choice(alternatives: &[Vec<String>], is_required: bool) -> Value {
    let mut branches: Vec<Value> = alternatives.iter().map(|names| any_present(names)).collect();
    if !is_required {
        let absent: Map<String, Value> = alternatives
            .iter()
            .flatten()
            .map(|name| (name.clone(), json!(false)))
            .collect();
        branches.insert(0, json!({"properties": absent}));
    }
    json!({"oneOf": branches})
}
