//! What `_filter` asks (<https://hl7.org/fhir/R4/search_filter.html#ops>).
//!
//! An operator compares with each value that a parameter finds in a resource, and one that fits is enough:
//!
//! | operator | of parameters | a value fits that |
//! |---|---|---|
//! | `eq` | all | equals; a string without regard to case, accents and punctuation |
//! | `ne` | all but composite | does not: `not(… eq …)` asks for resources without an equal value, `ne` for those with an unequal one |
//! | `co`, `sw`, `ew` | string, token, uri | contains, starts with, ends with |
//! | `gt`, `lt`, `ge`, `le`, `ap`, `sa`, `eb` | date, number, quantity | compares as with the prefix of that name |
//! | `po` | date | overlaps |
//! | `re` | reference | refers there |
//! | `ss`, `sb`, `in`, `ni` | where `:below`, `:above`, `:in`, `:not-in` apply | is as with that modifier |
//! | `pr` | all but composite | is there (`true`), or none is (`false`) |
//!
//! A path leads on like a chain; a filter in brackets is met by the same resource as what follows it. Nothing in a filter
//! is ignored, whatever the client's handling: less of it would find other resources.

use super::Refusal;
use super::chain::{Answers, MAX_LINKS, refused, together};
use super::filter::{self, Comparison, Filter, Operator, Segment};
use super::value::{Criteria, modifiers_of};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{Criterion, Matches, Part, ResourceType};
use crate::fhir::search::registry::{Family, Parameter};
use crate::fhir::search::types::token::Case;
use crate::fhir::search::types::{Prefix, date, string};

impl Criteria<'_> {
    /// The value of a `_filter`, for resources of any of `types`.
    ///
    /// # Errors
    /// 400 that says at which character what is wrong.
    pub(super) fn filter(&self, types: &[ResourceType], text: &str) -> Result<Criterion, FhirError> {
        let filter = filter::read(text)?;
        self.filter_of_all(types, &filter).map_err(|refusal| match refusal {
            Refusal::Unknown(text) => FhirError::not_supported(text),
            Refusal::Error(error) => error,
        })
    }

    fn filter_of_all(&self, types: &[ResourceType], filter: &Filter) -> Result<Criterion, Refusal> {
        let each = |filters: &[Filter]| {
            let criteria = filters.iter().map(|filter| self.filter_of_all(types, filter));
            criteria.collect::<Result<Vec<_>, _>>()
        };
        match filter {
            Filter::All(filters) => Ok(Criterion::All(each(filters)?)),
            Filter::Any(filters) => Ok(Criterion::Any(each(filters)?)),
            Filter::Not(filter) => Ok(self.filter_of_all(types, filter)?.negated()),
            Filter::Compare(comparison) => together(self.comparison(types, comparison)),
        }
    }

    /// What a filter in brackets asks of each type that a link may lead to.
    fn filter_of_each(&self, types: &[ResourceType], filter: &Filter) -> Answers {
        let combine = |filters: &[Filter], criterion: fn(Vec<Criterion>) -> Criterion| {
            let mut columns: Vec<_> = filters
                .iter()
                .map(|filter| self.filter_of_each(types, filter).into_iter())
                .collect();
            let combined = |&ty: &ResourceType| {
                // All columns move on to the next type, even where one of them refuses this one.
                let answers: Vec<_> = columns.iter_mut().filter_map(|column| Some(column.next()?.1)).collect();
                (ty, answers.into_iter().collect::<Result<Vec<_>, _>>().map(criterion))
            };
            types.iter().map(combined).collect()
        };
        match filter {
            Filter::All(filters) => combine(filters, Criterion::All),
            Filter::Any(filters) => combine(filters, Criterion::Any),
            Filter::Not(filter) => {
                let answers = self.filter_of_each(types, filter).into_iter();
                answers
                    .map(|(ty, answer)| (ty, answer.map(Criterion::negated)))
                    .collect()
            }
            Filter::Compare(comparison) => self.comparison(types, comparison),
        }
    }

    fn comparison(&self, types: &[ResourceType], comparison: &Comparison) -> Answers {
        let links = comparison.path.len() + comparison.path.iter().filter(|s| s.name.contains("_has:")).count();
        let answers = match &comparison.path[..] {
            [] => Vec::new(),
            _ if links > MAX_LINKS + 1 => {
                let error = FhirError::too_costly(format!("A path may have at most {MAX_LINKS} links."));
                refused(types, &error.into())
            }
            [first, rest @ ..] => self.segment(types, &first.name, first.filter.as_ref(), rest, comparison),
        };
        let located = |refusal| located(refusal, comparison.position);
        answers
            .into_iter()
            .map(|(ty, answer)| (ty, answer.map_err(located)))
            .collect()
    }

    /// What a path asks from the segment `name` on, which `rest` follows.
    fn segment(
        &self,
        types: &[ResourceType],
        name: &str,
        filter: Option<&Filter>,
        rest: &[Segment],
        comparison: &Comparison,
    ) -> Answers {
        if let Some(path) = name.strip_prefix("_has:") {
            let mut rest = |types: &[ResourceType], name: &str| self.segment(types, name, filter, rest, comparison);
            return self
                .has(types, path, &mut rest)
                .unwrap_or_else(|refusal| refused(types, &refusal));
        }
        let Some((next, rest)) = rest.split_first() else {
            let compared = |&ty: &ResourceType| (ty, self.compare(ty, name, comparison.operator, &comparison.value));
            return types.iter().map(compared).collect();
        };
        self.chain(types, name, &mut |targets| {
            let answers = self.segment(targets, &next.name, next.filter.as_ref(), rest, comparison);
            let Some(filter) = filter else { return answers };
            let filters = self.filter_of_each(targets, filter).into_iter();
            let both = |((ty, answer), (_, filter)): ((ResourceType, Result<_, _>), (ResourceType, Result<_, _>))| {
                (ty, answer.and_then(|answer| Ok(Criterion::All(vec![answer, filter?]))))
            };
            answers.into_iter().zip(filters).map(both).collect()
        })
    }

    fn compare(&self, ty: ResourceType, code: &str, operator: Operator, value: &str) -> Result<Criterion, Refusal> {
        let ids = |negated| Criterion::Ids {
            ids: vec![value.to_owned()],
            negated,
        };
        match (code, operator) {
            ("_id", Operator::Eq) => Ok(ids(false)),
            ("_id", Operator::Ne) => Ok(ids(true)),
            ("_id" | "_lastUpdated", Operator::Pr) => match present(value)? {
                true => Ok(Criterion::All(Vec::new())),
                false => Ok(Criterion::Any(Vec::new())),
            },
            ("_id", operator) => Err(unfit(code, operator, &["eq", "ne", "pr"])),
            ("_lastUpdated", operator) if operators_of(Family::Date).contains(&operator.code()) => {
                Ok(Criterion::LastUpdated(vec![self.date(operator, value)?]))
            }
            ("_lastUpdated", operator) => Err(unfit(code, operator, &operators_of(Family::Date))),
            _ => self.compare_rows(ty, self.parameter_of(ty, code)?, operator, value),
        }
    }

    fn compare_rows(
        &self,
        ty: ResourceType,
        parameter: &Parameter,
        operator: Operator,
        value: &str,
    ) -> Result<Criterion, Refusal> {
        let family = parameter.family;
        let numbers = self.registry().numbers(ty.name, parameter)?;
        let rows = |matches| Criterion::Rows {
            params: numbers.clone(),
            matches,
            negated: false,
        };
        let plain = |modifier| self.rows(ty, parameter, modifier, &[value]);
        let strings = |mode| {
            let found = string::parse(&literal(value), mode);
            found.map(|found| Matches::String(vec![found])).map_err(sentence)
        };
        let part = |part| {
            if value.is_empty() {
                return Err(sentence("A value to look for must not be empty".to_owned()));
            }
            let texts = match family {
                Family::Token => match self.registry().token_facts(ty.name, parameter).0 {
                    Case::Folded => vec![value.to_lowercase()],
                    Case::Exact => vec![value.to_owned()],
                    Case::Mixed => vec![value.to_lowercase(), value.to_owned()],
                },
                _ => vec![value.to_owned()],
            };
            Ok(rows(Matches::Part { family, part, texts }))
        };
        if !operators_of(family).contains(&operator.code()) {
            return Err(unfit(&parameter.definition.code, operator, &operators_of(family)));
        }
        let criterion = match (family, operator) {
            (_, Operator::Pr) => {
                let missing = if present(value)? { "false" } else { "true" };
                self.rows(ty, parameter, Some("missing"), &[missing])?
            }
            (Family::String, Operator::Eq) => rows(strings(string::Mode::Whole)?),
            (Family::String, Operator::Ne) => rows(Matches::Other(Box::new(strings(string::Mode::Whole)?))),
            (Family::String, Operator::Co) => rows(strings(string::Mode::Contains)?),
            (Family::String, Operator::Sw) => rows(strings(string::Mode::Starts)?),
            (Family::String, Operator::Ew) => rows(strings(string::Mode::Ends)?),
            (_, Operator::Co) => part(Part::Contains)?,
            (_, Operator::Sw) => part(Part::Starts)?,
            (_, Operator::Ew) => part(Part::Ends)?,
            (Family::Date, operator) => rows(Matches::Date(vec![self.date(operator, value)?])),
            (Family::Quantity, operator) => {
                self.rows(ty, parameter, None, &[&format!("{}{value}", operator.code())])?
            }
            (_, Operator::Ne) => match plain(None)? {
                Criterion::Rows { matches, .. } => rows(Matches::Other(Box::new(matches))),
                other => other.negated(),
            },
            (_, Operator::Ss) => plain(Some("below"))?,
            (_, Operator::Sb) => plain(Some("above"))?,
            (_, Operator::In) => plain(Some("in"))?,
            (_, Operator::Ni) => plain(Some("not-in"))?,
            _ => plain(None)?,
        };
        Ok(criterion)
    }

    fn date(&self, operator: Operator, value: &str) -> Result<date::Match, Refusal> {
        if operator == Operator::Po {
            let found = date::parse(&format!("eq{value}"), self.now()).map_err(sentence)?;
            return Ok(date::Match {
                prefix: Prefix::Ap,
                span: found.span,
            });
        }
        date::parse(&format!("{}{value}", operator.code()), self.now()).map_err(sentence)
    }
}

/// The operators that a parameter takes, by the modifiers that it has where they mean the same.
fn operators_of(family: Family) -> Vec<&'static str> {
    let mut operators = match family {
        Family::Token | Family::String | Family::Uri => vec!["eq", "ne", "co", "sw", "ew"],
        Family::Reference => vec!["eq", "ne", "re"],
        Family::Date => vec!["eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb", "po"],
        Family::Quantity => vec!["eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"],
        Family::Composite => vec!["eq"],
    };
    let same = [("below", "ss"), ("above", "sb"), ("in", "in"), ("not-in", "ni")];
    let applying = same
        .iter()
        .filter(|(modifier, _)| modifiers_of(family).contains(modifier));
    operators.extend(applying.map(|(_, operator)| operator));
    if family != Family::Composite {
        operators.push("pr");
    }
    operators
}

fn unfit(code: &str, operator: Operator, operators: &[&str]) -> Refusal {
    let text = format!(
        "The operator '{}' does not apply to {code}; it takes {}.",
        operator.code(),
        operators.join(", ")
    );
    FhirError::not_supported(text).into()
}

fn present(value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(FhirError::bad_value(format!("pr is true or false, not '{}'.", excerpt(other))).into()),
    }
}

fn sentence(text: String) -> Refusal {
    FhirError::bad_value(format!("{text}.")).into()
}

/// The value of a search that means exactly this text.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\")
}

/// A refusal that says where in the filter its reason is, unless a filter inside says so already.
fn located(refusal: Refusal, position: usize) -> Refusal {
    let place = |text: &str| match text.starts_with("At character ") {
        true => text.to_owned(),
        false => format!("At character {position} of the filter: {text}"),
    };
    match refusal {
        Refusal::Unknown(text) => FhirError::not_supported(place(&text)).into(),
        Refusal::Error(mut error) => {
            for issue in &mut error.issues {
                issue.diagnostics = place(&issue.diagnostics);
            }
            error.into()
        }
    }
}
