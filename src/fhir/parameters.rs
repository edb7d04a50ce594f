//! What an operation is called with (<https://hl7.org/fhir/R4/operations.html#request>,
//! <https://hl7.org/fhir/R4/parameters.html>), whichever way it came: in the query, in a Parameters resource, or as a
//! resource that is the body itself.
//!
//! [`Parameters::check`] holds it against the OperationDefinition before the operation runs, so that an operation only
//! meets names it has, as often as it takes them, with values of their types.

use serde_json::Value;

use crate::fhir::error::{FhirError, Result, excerpt};
use crate::knowledge::fhirpath::values::{Date, DateTime};

/// Named values in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<Parameter>);

#[derive(Clone, Debug)]
struct Parameter {
    name: String,
    value: Input,
}

#[derive(Clone, Debug)]
enum Input {
    /// A primitive of any type, as its text.
    Text(String),
    /// `value[x]` of a complex type, by its property: `valueMeta`.
    Complex(String, Value),
    Resource(Value),
}

impl Parameters {
    /// The pairs of a query.
    pub fn from_query(pairs: &[(String, String)]) -> Parameters {
        let text = |(name, value): &(String, String)| Parameter {
            name: name.clone(),
            value: Input::Text(value.clone()),
        };
        Parameters(pairs.iter().map(text).collect())
    }

    /// The content of a Parameters resource.
    ///
    /// # Errors
    /// 400 for a parameter without a name or with other than one value, and for one with parts, which no operation has.
    pub fn from_resource(resource: Value) -> Result<Parameters> {
        let Value::Object(mut resource) = resource else {
            return Err(FhirError::malformed("Parameters is a JSON object."));
        };
        let list = match resource.remove("parameter") {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(FhirError::malformed("A list is expected here.").at("Parameters.parameter")),
        };
        let read = |(index, parameter)| {
            Parameter::read(parameter).map_err(|error| error.at(format!("Parameters.parameter[{index}]")))
        };
        list.into_iter()
            .enumerate()
            .map(read)
            .collect::<Result<_>>()
            .map(Parameters)
    }

    /// Adds what a resource is that came as the body itself: the parameter that `definition` takes a resource for.
    ///
    /// # Errors
    /// 400 when it takes none.
    pub fn set_body(&mut self, definition: &Value, resource: Value) -> Result<()> {
        let name = inputs(definition)
            .find(|input| takes_resource(input, &resource))
            .map(|input| &input["name"]);
        let Some(Value::String(name)) = name else {
            let text = format!("${} is called with a Parameters resource.", code(definition));
            return Err(FhirError::bad_request(text).at("resourceType"));
        };
        self.0.push(Parameter {
            name: name.clone(),
            value: Input::Resource(resource),
        });
        Ok(())
    }

    pub fn append(&mut self, mut other: Parameters) {
        self.0.append(&mut other.0);
    }

    /// Holds the parameters against the OperationDefinition. With `open` there may be others than it names.
    ///
    /// # Errors
    /// 400 for a name that it does not have, a value of another type, too many or too few values.
    pub fn check(&self, definition: &Value, open: bool) -> Result<()> {
        for Parameter { name, value } in &self.0 {
            match inputs(definition).find(|input| input["name"] == name.as_str()) {
                Some(input) => check_type(input["type"].as_str().unwrap_or_default(), value)
                    .map_err(|text| FhirError::bad_value(format!("The parameter '{name}' {text}.")).at(place(name)))?,
                None if open => {}
                None => {
                    let names: Vec<&str> = inputs(definition).filter_map(|input| input["name"].as_str()).collect();
                    let known = match names.is_empty() {
                        true => "it has none".to_owned(),
                        false => format!("it has {}", names.join(", ")),
                    };
                    let text = format!("${} has no parameter '{}'; {known}.", code(definition), excerpt(name));
                    return Err(FhirError::not_supported(text).at(place(name)));
                }
            }
        }
        for input in inputs(definition) {
            let name = input["name"].as_str().unwrap_or_default();
            let count = self.0.iter().filter(|parameter| parameter.name == name).count();
            if count > 1 && input["max"] == "1" {
                let text = format!("${} takes the parameter '{name}' once.", code(definition));
                return Err(FhirError::bad_request(text).at(place(name)));
            }
            if count == 0 && input["min"] != 0 {
                let text = format!("${} needs the parameter '{name}'.", code(definition));
                return Err(FhirError::bad_request(text).at(place(name)));
            }
        }
        Ok(())
    }

    /// The text of a primitive parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }

    /// The texts of a primitive parameter that may come several times.
    pub fn texts<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> {
        self.0
            .iter()
            .filter(move |parameter| parameter.name == name)
            .filter_map(|parameter| match &parameter.value {
                Input::Text(text) => Some(text.as_str()),
                Input::Complex(..) | Input::Resource(_) => None,
            })
    }

    /// The value of a complex parameter, or the resource.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values(name).next()
    }

    /// The same of one that may come several times.
    pub fn values<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p Value> {
        self.0
            .iter()
            .filter(move |parameter| parameter.name == name)
            .filter_map(|parameter| match &parameter.value {
                Input::Complex(_, value) | Input::Resource(value) => Some(value),
                Input::Text(_) => None,
            })
    }

    /// The references of a parameter of that type, whichever way they came: `Patient/7`.
    pub fn references<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> {
        self.0
            .iter()
            .filter(move |parameter| parameter.name == name)
            .filter_map(|parameter| match &parameter.value {
                Input::Text(text) => Some(text.as_str()),
                Input::Complex(_, value) => value["reference"].as_str(),
                Input::Resource(_) => None,
            })
    }

    /// All primitive parameters, as the pairs of a query.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let pair = |parameter: &Parameter| match &parameter.value {
            Input::Text(text) => Some((parameter.name.clone(), text.clone())),
            Input::Complex(..) | Input::Resource(_) => None,
        };
        self.0.iter().filter_map(pair).collect()
    }
}

impl Parameter {
    fn read(parameter: Value) -> Result<Parameter> {
        let Value::Object(mut members) = parameter else {
            return Err(FhirError::malformed("A parameter is a JSON object."));
        };
        let Some(Value::String(name)) = members.remove("name") else {
            return Err(FhirError::malformed("A parameter needs a name."));
        };
        let mut values = members
            .into_iter()
            .filter(|(member, _)| member == "resource" || member == "part" || member.starts_with("value"));
        let (Some((member, value)), None) = (values.next(), values.next()) else {
            let text = format!("The parameter '{}' needs one value.", excerpt(&name));
            return Err(FhirError::malformed(text));
        };
        let value = match (member.as_str(), value) {
            ("resource", value) => Input::Resource(value),
            ("part", _) => {
                let text = format!("The parameter '{}' takes no parts.", excerpt(&name));
                return Err(FhirError::not_supported(text));
            }
            (_, Value::String(text)) => Input::Text(text),
            (_, value @ (Value::Number(_) | Value::Bool(_))) => Input::Text(value.to_string()),
            (_, value) => Input::Complex(member, value),
        };
        Ok(Parameter { name, value })
    }
}

fn inputs(definition: &Value) -> impl Iterator<Item = &Value> {
    let parameters = definition["parameter"].as_array().into_iter().flatten();
    parameters.filter(|parameter| parameter["use"] == "in")
}

fn code(definition: &Value) -> &str {
    definition["code"].as_str().unwrap_or_default()
}

/// The element that an issue about a parameter names.
fn place(name: &str) -> String {
    format!("Parameters.parameter.where(name = '{}')", excerpt(name))
}

fn is_primitive(type_name: &str) -> bool {
    type_name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether an input takes a resource of that type.
fn takes_resource(input: &Value, resource: &Value) -> bool {
    input["type"] == "Resource" || (input["type"].is_string() && input["type"] == resource["resourceType"])
}

/// The end of a sentence that begins with the parameter, when the value is not of the type.
fn check_type(type_name: &str, value: &Input) -> Result<(), String> {
    let fits = match value {
        Input::Text(text) => {
            // An unencoded plus sign of an offset arrives as a space.
            let time = || text.replace(' ', "+");
            match type_name {
                "date" => Date::parse(text).is_some(),
                "dateTime" => DateTime::parse(&time()).is_some(),
                "instant" => DateTime::parse(&time()).is_some_and(|at| at.time().is_some()),
                "integer" => text.parse::<i32>().is_ok(),
                "positiveInt" => text.parse::<i32>().is_ok_and(|number| number > 0),
                "boolean" => matches!(text.as_str(), "true" | "false"),
                // In a query a reference is its text.
                "Reference" => !text.is_empty(),
                name => is_primitive(name) && !text.is_empty(),
            }
        }
        Input::Complex(property, value) => property.strip_prefix("value") == Some(type_name) && value.is_object(),
        Input::Resource(resource) => type_name == "Resource" || resource["resourceType"] == type_name,
    };
    match fits {
        true => Ok(()),
        false => Err(match type_name {
            "date" => "is a date such as 2026-01-31".to_owned(),
            "instant" => "is an instant such as 2026-01-31T10:00:00Z".to_owned(),
            "integer" => "is a whole number".to_owned(),
            "positiveInt" => "is a whole number, 1 or more".to_owned(),
            "Resource" => "is a resource".to_owned(),
            other => format!("is of type {other}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition() -> Value {
        json!({"code": "op", "parameter": [
            {"name": "max", "use": "in", "min": 0, "max": "1", "type": "positiveInt"},
            {"name": "day", "use": "in", "min": 0, "max": "*", "type": "date"},
            {"name": "meta", "use": "in", "min": 1, "max": "1", "type": "Meta"},
            {"name": "return", "use": "out", "min": 1, "max": "1", "type": "Bundle"}
        ]})
    }

    fn refusal(parameters: Value) -> String {
        let parameters = Parameters::from_resource(json!({"resourceType": "Parameters", "parameter": parameters}));
        let error = parameters
            .and_then(|parameters| parameters.check(&definition(), false))
            .unwrap_err();
        assert_eq!(error.status, 400);
        error.issues[0].diagnostics.clone()
    }

    #[test]
    fn values_are_found_by_name_whatever_way_they_came() {
        let mut parameters = Parameters::from_query(&[("max".to_owned(), "3".to_owned())]);
        let body = json!({"parameter": [{"name": "meta", "valueMeta": {}}, {"name": "day", "valueDate": "2026-01"}]});
        parameters.append(Parameters::from_resource(body).unwrap());
        parameters.check(&definition(), false).unwrap();
        assert_eq!(parameters.text("max"), Some("3"));
        assert_eq!(parameters.value("meta"), Some(&json!({})));
        assert_eq!(parameters.texts("day").collect::<Vec<_>>(), ["2026-01"]);
        assert_eq!(parameters.pairs().len(), 2);
    }

    #[test]
    fn what_the_definition_does_not_allow_is_refused() {
        let meta = json!({"name": "meta", "valueMeta": {}});
        for (parameters, reason) in [
            (json!([]), "needs the parameter 'meta'"),
            (json!([meta, meta]), "takes the parameter 'meta' once"),
            (json!([{"name": "meta", "valueString": "x"}]), "is of type Meta"),
            (json!([{"name": "meta", "valueCoding": {}}]), "is of type Meta"),
            (json!([meta, {"name": "max", "valueInteger": 0}]), "1 or more"),
            (json!([meta, {"name": "day", "valueString": "soon"}]), "is a date"),
            (
                json!([meta, {"name": "return", "valueString": "x"}]),
                "no parameter 'return'; it has max, day, meta",
            ),
            (json!([meta, {"name": "max"}]), "needs one value"),
            (json!([meta, {"valueString": "x"}]), "needs a name"),
        ] {
            let text = refusal(parameters);
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn a_reference_may_be_text_and_a_resource_is_of_its_type() {
        let definition = json!({"code": "op", "parameter": [
            {"name": "who", "use": "in", "min": 0, "max": "*", "type": "Reference"},
            {"name": "visit", "use": "in", "min": 0, "max": "1", "type": "Appointment"}
        ]});
        let mut parameters = Parameters::from_query(&[("who".to_owned(), "Patient/1".to_owned())]);
        let body = json!({"parameter": [{"name": "who", "valueReference": {"reference": "Patient/2"}}]});
        parameters.append(Parameters::from_resource(body).unwrap());
        let visit = json!({"resourceType": "Appointment"});
        parameters.set_body(&definition, visit.clone()).unwrap();
        parameters.check(&definition, false).unwrap();
        assert_eq!(
            parameters.references("who").collect::<Vec<_>>(),
            ["Patient/1", "Patient/2"]
        );
        assert_eq!(parameters.value("visit"), Some(&visit));
        let patient = json!({"resourceType": "Patient"});
        assert!(Parameters::default().set_body(&definition, patient.clone()).is_err());
        let body = json!({"parameter": [{"name": "visit", "resource": patient}]});
        assert!(
            Parameters::from_resource(body)
                .unwrap()
                .check(&definition, false)
                .is_err()
        );
    }

    #[test]
    fn an_open_operation_takes_others_too() {
        let parameters = Parameters::from_query(&[("code".to_owned(), "x".to_owned())]);
        let definition = json!({"code": "op", "parameter": []});
        assert!(parameters.check(&definition, true).is_ok());
        assert!(parameters.check(&definition, false).is_err());
    }
}
