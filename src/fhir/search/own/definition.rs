//! What a SearchParameter resource says.

use serde_json::Value;

use crate::knowledge::definitions::{
    Definitions, SearchParameter, SearchParameterComponent, SearchParameterType, TypeDefinition,
};

/// Reads a SearchParameter that has passed validation. `None` for what validation would refuse.
pub fn read(resource: &Value) -> Option<SearchParameter> {
    let text = |name: &str| resource.get(name)?.as_str().map(str::to_owned);
    let texts = |name: &str| -> Vec<String> {
        let values = resource.get(name).and_then(Value::as_array).into_iter().flatten();
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let components = resource.get("component").and_then(Value::as_array);
    let component = |component: &Value| {
        let text = |name: &str| component.get(name)?.as_str().map(str::to_owned);
        Some(SearchParameterComponent {
            definition: text("definition")?,
            expression: text("expression")?,
        })
    };
    Some(SearchParameter {
        url: text("url")?,
        code: text("code")?,
        kind: SearchParameterType::from_code(resource.get("type")?.as_str()?)?,
        base: texts("base"),
        expression: text("expression"),
        targets: texts("target"),
        components: components.into_iter().flatten().filter_map(component).collect(),
    })
}

/// The parameter that a resource puts into use: an active one that R4 does not define itself.
pub fn in_use(definitions: &Definitions, resource: Option<&Value>) -> Option<SearchParameter> {
    let resource = resource.filter(|resource| resource.get("status").and_then(Value::as_str) == Some("active"))?;
    read(resource).filter(|own| built_in(definitions, &own.url).is_none())
}

/// R4's parameter with this canonical URL.
pub fn built_in<'d>(definitions: &'d Definitions, url: &str) -> Option<&'d SearchParameter> {
    definitions.search_parameters.iter().find(|known| known.url == url)
}

/// Whether two definitions make the same index rows.
pub fn indexes_alike(a: &SearchParameter, b: &SearchParameter) -> bool {
    let facts = |p: &SearchParameter| {
        (
            p.code.clone(),
            p.kind,
            p.base.clone(),
            p.expression.clone(),
            p.components.clone(),
        )
    };
    facts(a) == facts(b)
}

/// The concrete resource types that `base` means, each once.
pub fn concrete_types<'d>(definitions: &'d Definitions, base: &[String]) -> Vec<&'d TypeDefinition> {
    let bases: Vec<_> = base.iter().filter_map(|name| definitions.type_id(name)).collect();
    definitions
        .resource_types()
        .filter(|ty| bases.iter().any(|base| definitions.is_a(ty.id, *base)))
        .collect()
}
