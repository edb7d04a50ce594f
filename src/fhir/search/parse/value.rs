//! One parameter of a query, with its modifier and its values, as a [`Criterion`].
//!
//! It is read for every type that is searched, and the criteria that differ in nothing but the parameter's number become
//! one.

use jiff::Timestamp;

use super::Refusal;
use super::chain::{Answers, MAX_LINKS, refused, together};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{Criterion, Matches, ResourceType};
use crate::fhir::search::layout::Component;
use crate::fhir::search::registry::{Family, Parameter, SearchRegistry};
use crate::fhir::search::text;
use crate::fhir::search::types::{composite, concept, date, quantity, reference, split, string, token, unescape, uri};
use crate::fhir::server::FhirServer;
use crate::knowledge::definitions::SearchParameterType;

/// Most values of one parameter.
const MAX_VALUES: usize = 10_000;
/// Most value sets, or codes of a hierarchy, of one parameter: each stands for a list of codes by itself.
const MAX_CONCEPTS: usize = 100;

/// What criteria are read with.
pub(super) struct Criteria<'s> {
    server: &'s FhirServer,
    registry: &'s SearchRegistry,
    now: Timestamp,
}

impl<'s> Criteria<'s> {
    pub(super) fn new(server: &'s FhirServer, registry: &'s SearchRegistry) -> Criteria<'s> {
        Criteria {
            server,
            registry,
            now: server.clock.now(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn registry(&self) -> &'s SearchRegistry {
        self.registry
    }

    /// The type of that name, if R4 has it.
    pub(super) fn resource_type(&self, name: &str) -> Option<ResourceType> {
        let types = self.server.store.types();
        let (id, name) = (types.id(name)?, types.known(name)?);
        Some(ResourceType { id, name })
    }

    /// The search parameter `code` of a type.
    pub(super) fn parameter_of(&self, ty: ResourceType, code: &str) -> Result<&'s Parameter, Refusal> {
        self.registry().parameter(ty.name, code).ok_or_else(|| {
            let code = excerpt(code);
            Refusal::Unknown(format!(
                "{} has no search parameter '{code}' that this server knows.",
                ty.name
            ))
        })
    }

    /// `name` and `value` as they stand in the query, for resources of any of `types`, which must all have the parameter.
    pub(super) fn parameter(&self, types: &[ResourceType], name: &str, value: &str) -> Result<Criterion, Refusal> {
        if value.is_empty() {
            let text = format!("The parameter '{}' has no value.", excerpt(name));
            return Err(Refusal::Unknown(text));
        }
        if name.matches('.').count() + name.matches("_has:").count() > MAX_LINKS {
            return Err(FhirError::too_costly(format!("A chain may have at most {MAX_LINKS} links.")).into());
        }
        let values = split(value, ',');
        if values.len() > MAX_VALUES {
            return Err(FhirError::too_costly(format!("A parameter may have at most {MAX_VALUES} values.")).into());
        }
        together(self.of_each(types, name, &values)?)
    }

    /// What `name` asks of each type: a parameter with its modifier, perhaps at the end of a chain.
    fn of_each(&self, types: &[ResourceType], name: &str, values: &[&str]) -> Result<Answers, Refusal> {
        let rest = |types: &[ResourceType], name: &str| {
            let answers = self.of_each(types, name, values);
            answers.unwrap_or_else(|refusal| refused(types, &refusal))
        };
        if let Some(path) = name.strip_prefix("_has") {
            let path = path.strip_prefix(':').unwrap_or_default();
            return self.has(types, path, &mut |types, name| rest(types, name));
        }
        if let Some((link, name)) = name.split_once('.') {
            return Ok(self.chain(types, link, &mut |types| rest(types, name)));
        }
        let (code, modifier) = name
            .split_once(':')
            .map_or((name, None), |(code, modifier)| (code, Some(modifier)));
        let criterion = match code {
            "_id" => self.ids(values, modifier)?,
            "_list" => self.members_of_lists(modifier, &values.join(","))?,
            "_lastUpdated" => match modifier {
                None => Criterion::LastUpdated(self.dates(values)?),
                Some(other) => return Err(inapplicable(code, other, &[]).into()),
            },
            "_text" | "_content" => self.text(code, modifier, values)?,
            code => {
                let rows = |ty| Ok(self.rows(ty, self.parameter_of(ty, code)?, modifier, values)?);
                return Ok(types.iter().map(|&ty| (ty, rows(ty))).collect());
            }
        };
        Ok(types.iter().map(|&ty| (ty, Ok(criterion.clone()))).collect())
    }

    fn ids(&self, values: &[&str], modifier: Option<&str>) -> Result<Criterion, FhirError> {
        let negated = match modifier {
            None => false,
            Some("not") => true,
            Some(other) => return Err(inapplicable("_id", other, &["not"])),
        };
        // What is no id is the id of nothing.
        Ok(Criterion::Ids {
            ids: values.iter().map(|value| unescape(value).into_owned()).collect(),
            negated,
        })
    }

    fn text(&self, code: &str, modifier: Option<&str>, values: &[&str]) -> Result<Criterion, Refusal> {
        if let Some(modifier) = modifier {
            return Err(inapplicable(code, modifier, &[]).into());
        }
        if !self.server.settings.full_text {
            return Err(Refusal::Unknown(format!("{code} is switched off on this server.")));
        }
        let scope = match code {
            "_text" => text::Scope::Narrative,
            _ => text::Scope::Content,
        };
        let values: Vec<String> = values.iter().map(|value| unescape(value).into_owned()).collect();
        match text::parse(&values, scope) {
            Ok(query) => Ok(Criterion::Text(query)),
            Err(sentence) => Err(FhirError::bad_value(format!("{sentence}.")).into()),
        }
    }

    fn dates(&self, values: &[&str]) -> Result<Vec<date::Match>, FhirError> {
        each(values, |value| date::parse(value, self.now))
    }

    /// What index rows of `parameter`, which is one of `ty`, must be.
    pub(super) fn rows(
        &self,
        ty: ResourceType,
        parameter: &Parameter,
        modifier: Option<&str>,
        values: &[&str],
    ) -> Result<Criterion, FhirError> {
        let family = parameter.family;
        let code = parameter.definition.code.as_str();
        let layout = self.registry().layout(ty.name)?;
        let finds_identifiers = layout.is_some_and(|layout| layout.finds_identifiers(parameter.id));
        let numbers = self.registry().numbers(ty.name, parameter)?;
        let criterion = |matches, negated| {
            Ok(Criterion::Rows {
                params: numbers.clone(),
                matches,
                negated,
            })
        };
        if modifier == Some("missing") && family != Family::Composite {
            return match values {
                ["true"] => criterion(Matches::Any(family), true),
                ["false"] => criterion(Matches::Any(family), false),
                _ => Err(FhirError::bad_value(":missing is true or false.")),
            };
        }
        match (family, modifier) {
            (Family::Token, None | Some("not")) => {
                let (case, implied) = self.registry().token_facts(ty.name, parameter);
                let implied = |system: &str| implied.iter().any(|known| known == system);
                let matches = each(values, |value| token::parse(value, case, implied))?;
                criterion(Matches::Token(matches), modifier.is_some())
            }
            (Family::Token, Some("text")) => criterion(
                Matches::String(each(values, |value| string::parse(value, string::Mode::Starts))?),
                false,
            ),
            (Family::Token, Some("of-type")) if finds_identifiers => {
                criterion(Matches::OfType(each(values, token::parse_of_type)?), false)
            }
            (Family::Token, Some("in" | "not-in" | "above" | "below")) if self.has_codes(ty, parameter) => {
                let matches = self.concepts(ty, parameter, modifier.unwrap_or_default(), values)?;
                criterion(Matches::Concept(matches), modifier == Some("not-in"))
            }
            (Family::Reference, Some("above" | "below")) if self.has_hierarchy(ty, parameter) => {
                let (above, locator) = (modifier == Some("above"), self.registry().locator());
                let targets = &parameter.definition.targets;
                let parent = |target: &str| self.registry().parent(target);
                let matches = each(values, |value| {
                    reference::parse_tree(value, targets, locator, above, parent)
                })?;
                criterion(Matches::Reference(matches.into_iter().flatten().collect()), false)
            }
            (Family::Reference, Some("identifier")) => {
                let matches = each(values, |value| token::parse(value, token::Case::Exact, |_| false))?;
                criterion(Matches::Token(matches), false)
            }
            (Family::Reference, None) => criterion(
                Matches::Reference(self.references(values, &parameter.definition.targets)?),
                false,
            ),
            (Family::Reference, Some(target)) if parameter.definition.targets.iter().any(|known| known == target) => {
                criterion(
                    Matches::Reference(self.references(values, &[target.to_owned()])?),
                    false,
                )
            }
            (Family::String, None) => criterion(
                Matches::String(each(values, |value| string::parse(value, string::Mode::Starts))?),
                false,
            ),
            (Family::String, Some("exact")) => criterion(
                Matches::String(each(values, |value| string::parse(value, string::Mode::Exact))?),
                false,
            ),
            (Family::String, Some("contains")) => criterion(
                Matches::String(each(values, |value| string::parse(value, string::Mode::Contains))?),
                false,
            ),
            (Family::Date, None) => criterion(Matches::Date(self.dates(values)?), false),
            (Family::Quantity, None) => {
                let is_number = parameter.definition.kind == SearchParameterType::Number;
                let parse = if is_number {
                    quantity::parse_number
                } else {
                    quantity::parse
                };
                criterion(Matches::Quantity(each(values, parse)?), false)
            }
            (Family::Uri, None) => criterion(Matches::Uri(each(values, uri::parse)?), false),
            (Family::Composite, None) => {
                let composite = layout.and_then(|layout| layout.composite(parameter.id));
                let composite = composite.ok_or_else(|| FhirError::internal("a composite was not compiled"))?;
                Ok(Criterion::Rows {
                    params: composite.params.clone(),
                    matches: Matches::Composite(self.combinations(ty, code, &composite.components, values)?),
                    negated: false,
                })
            }
            (Family::Uri, Some("above")) => {
                let matches = each(values, uri::parse_above)?.into_iter().flatten();
                criterion(Matches::Uri(matches.collect()), false)
            }
            (Family::Uri, Some("below")) => {
                let matches = each(values, uri::parse_below)?.into_iter().flatten();
                criterion(Matches::Uri(matches.collect()), false)
            }
            (_, other) => {
                let mut applicable = self.applicable(ty, parameter);
                applicable.retain(|name| *name != "of-type" || finds_identifiers);
                Err(inapplicable(code, other.unwrap_or_default(), &applicable))
            }
        }
    }

    /// The values of a composite: `a$b`, each part read as its component's type wants it.
    fn combinations(
        &self,
        ty: ResourceType,
        code: &str,
        components: &[Component],
        values: &[&str],
    ) -> Result<Vec<Vec<Matches>>, FhirError> {
        if values.len() > composite::MAX_VALUES {
            let text = format!("{code} may have at most {} values.", composite::MAX_VALUES);
            return Err(FhirError::too_costly(text));
        }
        let combination = |value: &&str| {
            let parts = split(value, '$');
            if parts.len() != components.len() {
                let text = format!(
                    "A value of {code} has {} parts with '$' between them.",
                    components.len()
                );
                return Err(FhirError::bad_value(text));
            }
            let part = |(component, part): (&Component, &str)| self.component(ty, component, part);
            components.iter().zip(parts).map(part).collect()
        };
        values.iter().map(combination).collect()
    }

    fn component(&self, ty: ResourceType, component: &Component, part: &str) -> Result<Matches, FhirError> {
        let known = component.parameter.as_deref();
        let known = known.and_then(|code| self.registry().parameter(ty.name, code));
        let part = &[part];
        Ok(match component.family {
            Family::Token => {
                let unknown = (token::Case::Mixed, &[][..]);
                let (case, implied) = known.map_or(unknown, |known| self.registry().token_facts(ty.name, known));
                let implied = |system: &str| implied.iter().any(|known| known == system);
                Matches::Token(each(part, |value| token::parse(value, case, implied))?)
            }
            Family::Reference => {
                let targets = known.map_or(&[][..], |known| &known.definition.targets[..]);
                Matches::Reference(self.references(part, targets)?)
            }
            Family::String => {
                let strings = each(part, |value| string::parse(value, string::Mode::Starts))?;
                if strings.iter().any(|string| string.norm.is_empty()) {
                    return Err(FhirError::bad_value(
                        "The text in a composite must have a letter or a digit.",
                    ));
                }
                Matches::String(strings)
            }
            Family::Date => Matches::Date(self.dates(part)?),
            Family::Quantity => {
                let is_number = known.is_some_and(|known| known.definition.kind == SearchParameterType::Number);
                let parse = if is_number {
                    quantity::parse_number
                } else {
                    quantity::parse
                };
                Matches::Quantity(each(part, parse)?)
            }
            Family::Uri => Matches::Uri(each(part, uri::parse)?),
            Family::Composite => return Err(FhirError::internal("a component of a composite is none itself")),
        })
    }

    fn concepts(
        &self,
        ty: ResourceType,
        parameter: &Parameter,
        modifier: &str,
        values: &[&str],
    ) -> Result<Vec<concept::Match>, FhirError> {
        if values.len() > MAX_CONCEPTS {
            return Err(FhirError::too_costly(format!(
                "A parameter with :{modifier} may have at most {MAX_CONCEPTS} values."
            )));
        }
        let bare = self.registry().bare_codes(ty.name, parameter);
        let locator = self.registry().locator();
        let read = |value: &str| match modifier {
            "in" | "not-in" => concept::parse_value_set(value, locator),
            _ => concept::parse_code(value, modifier == "above", &bare),
        };
        let concepts = each(values, read)?.into_iter();
        Ok(concepts
            .map(|concepts| concept::Match {
                concepts,
                bare: bare.clone(),
            })
            .collect())
    }

    /// Whether values of this token parameter can be codes of a code system.
    fn has_codes(&self, ty: ResourceType, parameter: &Parameter) -> bool {
        self.registry().token_facts(ty.name, parameter).0 != token::Case::Exact
    }

    /// Whether something stands above or below what this reference parameter refers to.
    fn has_hierarchy(&self, ty: ResourceType, parameter: &Parameter) -> bool {
        let mut targets = parameter.definition.targets.iter();
        targets.any(|target| self.registry().parent(target).is_some())
            || self.registry().holds_canonicals(ty.name, parameter)
    }

    /// Every modifier that may follow this parameter.
    fn applicable<'p>(&self, ty: ResourceType, parameter: &'p Parameter) -> Vec<&'p str> {
        let mut names: Vec<&str> = modifiers_of(parameter.family).to_vec();
        match parameter.family {
            Family::Token if !self.has_codes(ty, parameter) => {
                names.retain(|name| !matches!(*name, "in" | "not-in" | "above" | "below"));
            }
            Family::Reference => {
                if !self.has_hierarchy(ty, parameter) {
                    names.retain(|name| !matches!(*name, "above" | "below"));
                }
                names.extend(parameter.definition.targets.iter().map(String::as_str));
            }
            _ => {}
        }
        if parameter.family != Family::Composite {
            names.push("missing");
        }
        names
    }

    fn references(&self, values: &[&str], types: &[String]) -> Result<Vec<reference::Match>, FhirError> {
        let locator = self.registry().locator();
        each(values, |value| reference::parse(value, types, locator))
    }
}

/// The modifiers that apply to parameters of a family (though not to each: `:in` needs codes, `:below` a hierarchy,
/// `:of-type` identifiers), beside `:missing`, which applies to all but composites, and `:[type]`, which applies to
/// references (<https://hl7.org/fhir/R4/search.html#modifiers>).
pub(in crate::fhir) fn modifiers_of(family: Family) -> &'static [&'static str] {
    match family {
        Family::Token => &["not", "text", "in", "not-in", "above", "below", "of-type"],
        Family::String => &["exact", "contains"],
        Family::Reference => &["identifier", "above", "below"],
        Family::Uri => &["above", "below"],
        Family::Date | Family::Quantity | Family::Composite => &[],
    }
}

/// Reads every value of an OR list; an empty one between two commas says nothing and is refused with the rest.
fn each<T>(values: &[&str], read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, FhirError> {
    let read = |value: &&str| read(value).map_err(|sentence| FhirError::bad_value(format!("{sentence}.")));
    values.iter().map(read).collect()
}

fn inapplicable(code: &str, modifier: &str, applicable: &[&str]) -> FhirError {
    let list = match applicable {
        [] => "it takes none".to_owned(),
        names => format!("it takes :{}", names.join(", :")),
    };
    let text = format!(
        "The modifier ':{}' does not apply to {code}; {list}.",
        excerpt(modifier)
    );
    FhirError::not_supported(text)
}
