//! `search-parameters.json` and `compartments.json`.

use serde_json::{Map, Value, json};

use super::lines;
use super::package::Package;

/// One search parameter per line, by canonical URL.
pub fn write_parameters(package: &Package) -> String {
    let parameters: Vec<Value> = package
        .search_parameters
        .values()
        .map(|parameter| {
            let mut line = Map::new();
            line.insert("url".into(), json!(parameter.url));
            line.insert("code".into(), json!(parameter.code));
            line.insert("type".into(), json!(parameter.kind));
            line.insert("base".into(), json!(parameter.base));
            if let Some(expression) = &parameter.expression {
                line.insert("expression".into(), json!(expression));
            }
            if !parameter.target.is_empty() {
                line.insert("target".into(), json!(parameter.target));
            }
            if !parameter.component.is_empty() {
                let components: Vec<Value> = parameter
                    .component
                    .iter()
                    .map(|c| json!({"definition": c.definition, "expression": c.expression}))
                    .collect();
                line.insert("component".into(), json!(components));
            }
            Value::Object(line)
        })
        .collect();
    lines("searchParameters", &parameters)
}

/// One membership (compartment, type, parameters) per line. Types without a parameter are not members and left out.
pub fn write_compartments(package: &Package) -> String {
    let mut memberships = Vec::new();
    for compartment in package.compartments.values() {
        for member in &compartment.resource {
            let parameters: Vec<&String> = member.param.iter().filter(|p| *p != "{def}").collect();
            if !parameters.is_empty() {
                memberships
                    .push(json!({"compartment": compartment.code, "type": member.code, "parameters": parameters}));
            }
        }
    }
    lines("memberships", &memberships)
}
