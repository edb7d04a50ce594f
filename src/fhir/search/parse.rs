//! From the pairs of a query to a typed [`Search`] (<https://hl7.org/fhir/R4/search.html>).
//!
//! | in the query | meaning |
//! |---|---|
//! | the same parameter twice | both must match |
//! | `a,b` | either matches; a comma inside a value is written `\,` |
//! | `:missing` | every parameter |
//! | `:exact`, `:contains` | string |
//! | `:not` | token |
//! | `:[type]`, `:identifier` | reference |
//!
//! A modifier that does not apply and a value that cannot be read are always refused: ignoring either would answer another
//! question. A parameter that is not known is refused when the client asked for `handling=strict`; else it is ignored, the
//! answer says so, and its `self` link lacks it.

use jiff::Timestamp;

use super::cursor::Cursor;
use super::registry::{Family, Parameter, SearchRegistry};
use super::types::{date, quantity, reference, split, string, token, unescape, uri};
use crate::fhir::error::{FhirError, Issue, IssueType, excerpt};
use crate::fhir::preferences::Handling;
use crate::fhir::server::FhirServer;
use crate::knowledge::definitions::SearchParameterType;

/// Most values of one parameter, and most parameters of one search.
const MAX_VALUES: usize = 10_000;
const MAX_PARAMETERS: usize = 100;

/// A search as it will be run.
#[derive(Debug)]
pub struct Search {
    pub resource_type: &'static str,
    pub(super) type_id: i16,
    /// All must match.
    pub(super) criteria: Vec<Criterion>,
    pub(super) sort: Vec<SortKey>,
    pub(super) includes: Vec<Include>,
    /// Matches on a page; 0 asks for the total alone.
    pub count: u32,
    pub total: Total,
    pub(super) cursor: Option<Cursor>,
    /// What was ignored, for the client.
    pub warnings: Vec<Issue>,
    /// The pairs that were honoured, but for the cursor: what `self` links to.
    pub(super) honoured: Vec<(String, String)>,
}

impl Search {
    /// Whether resources can lack the first sort key.
    pub(super) fn first_key_may_lack(&self) -> bool {
        self.sort
            .first()
            .is_some_and(|key| matches!(key.by, SortBy::Parameter { .. }))
    }
}

/// A condition on a resource.
#[derive(Debug)]
pub(super) enum Criterion {
    /// `_id`
    Ids { ids: Vec<String>, negated: bool },
    /// `_lastUpdated`
    LastUpdated(Vec<date::Match>),
    /// Some index row, or with `negated` none.
    Rows {
        param: i16,
        matches: Matches,
        negated: bool,
    },
}

/// What an index row must be.
#[derive(Debug)]
pub(super) enum Matches {
    /// Of this family, whatever its value: the parameter is not missing.
    Any(Family),
    Token(Vec<token::Match>),
    Reference(Vec<reference::Match>),
    String(Vec<string::Match>),
    Date(Vec<date::Match>),
    Quantity(Vec<quantity::Match>),
    Uri(Vec<String>),
}

impl Matches {
    pub(super) fn family(&self) -> Family {
        match self {
            Matches::Any(family) => *family,
            Matches::Token(_) => Family::Token,
            Matches::Reference(_) => Family::Reference,
            Matches::String(_) => Family::String,
            Matches::Date(_) => Family::Date,
            Matches::Quantity(_) => Family::Quantity,
            Matches::Uri(_) => Family::Uri,
        }
    }
}

/// <https://hl7.org/fhir/R4/search.html#total>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Total {
    /// Told only where it costs nothing.
    None,
    /// Within the planner's knowledge of the data, but exact for small results.
    Estimate,
    Accurate,
}

/// One key of `_sort`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SortKey {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SortBy {
    Id,
    LastUpdated,
    Parameter { param: i16, family: Family },
}

/// <https://hl7.org/fhir/R4/search.html#include>
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Include {
    /// The reference parameters to follow.
    pub params: Vec<i16>,
    /// From the target to those that refer to it (`_revinclude`).
    pub reverse: bool,
    /// Include only resources of this type.
    pub target: Option<i16>,
}

/// Reads the pairs of a query, percent-decoded and in order.
///
/// # Errors
/// 404 for an unknown type; 400 for a value or modifier that cannot be honoured, for a damaged page link, and with
/// [`Handling::Strict`] for a parameter that is not known.
pub fn parse(
    server: &FhirServer,
    resource_type: &str,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Search, FhirError> {
    let types = server.store.types();
    let (Some(type_id), Some(resource_type)) = (types.id(resource_type), types.known(resource_type)) else {
        return Err(FhirError::unknown_type(resource_type));
    };
    if pairs.len() > MAX_PARAMETERS {
        return Err(FhirError::too_costly(format!(
            "A search may have at most {MAX_PARAMETERS} parameters."
        )));
    }
    let search = Search {
        resource_type,
        type_id,
        criteria: Vec::new(),
        sort: Vec::new(),
        includes: Vec::new(),
        count: server.settings.default_count.min(server.settings.max_count),
        total: Total::None,
        cursor: None,
        warnings: Vec::new(),
        honoured: Vec::new(),
    };
    let mut reader = Reader {
        server,
        handling,
        now: server.clock.now(),
        search,
        cursor: None,
    };
    for (name, value) in pairs {
        reader
            .pair(name, value)
            .map_err(|error| error.at(format!("http.{}", excerpt(name))))?;
    }
    reader.finish()
}

/// Why a parameter is not honoured.
enum Refusal {
    /// It is not known: ignored unless the client is strict.
    Unknown(String),
    /// It would mean something else without this: always refused.
    Error(FhirError),
}

impl From<FhirError> for Refusal {
    fn from(error: FhirError) -> Refusal {
        Refusal::Error(error)
    }
}

struct Reader<'s> {
    server: &'s FhirServer,
    handling: Handling,
    now: Timestamp,
    search: Search,
    cursor: Option<String>,
}

impl Reader<'_> {
    fn registry(&self) -> &SearchRegistry {
        &self.server.search
    }

    fn pair(&mut self, name: &str, value: &str) -> Result<(), FhirError> {
        if name.contains('\0') || value.contains('\0') {
            return Err(FhirError::bad_request("A search cannot contain NUL."));
        }
        if name == CURSOR {
            self.cursor = Some(value.to_owned());
            return Ok(());
        }
        match self.honour(name, value) {
            Ok(()) => self.search.honoured.push((name.to_owned(), value.to_owned())),
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::Unknown(reason)) if self.handling == Handling::Strict => {
                return Err(FhirError::not_supported(reason));
            }
            Err(Refusal::Unknown(reason)) => {
                let issue = Issue::warning(IssueType::NotSupported, format!("{reason} It was ignored."));
                self.search.warnings.push(issue.at(format!("http.{}", excerpt(name))));
            }
        }
        Ok(())
    }

    fn honour(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            // Read by the HTTP layer; here only to stay in the links.
            "_elements" | "_format" | "_pretty" => Ok(()),
            "_summary" => {
                if value == "count" {
                    self.search.count = 0;
                }
                Ok(())
            }
            "_count" => Ok(self.count(value)?),
            "_sort" => self.sort(value),
            "_total" => Ok(self.total(value)?),
            "_include" => self.include(value, false),
            "_revinclude" => self.include(value, true),
            _ => self.criterion(name, value),
        }
    }

    fn count(&mut self, value: &str) -> Result<(), FhirError> {
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FhirError::bad_value("_count is a number of resources, 0 or more."));
        }
        let count = value.parse().unwrap_or(u32::MAX).min(self.server.settings.max_count);
        // `_summary=count` has the last word.
        if !self
            .search
            .honoured
            .iter()
            .any(|(name, value)| name == "_summary" && value == "count")
        {
            self.search.count = count;
        }
        Ok(())
    }

    fn total(&mut self, value: &str) -> Result<(), FhirError> {
        self.search.total = match value {
            "none" => Total::None,
            "estimate" => Total::Estimate,
            "accurate" => Total::Accurate,
            _ => return Err(FhirError::bad_value("_total is none, estimate or accurate.")),
        };
        Ok(())
    }

    fn sort(&mut self, value: &str) -> Result<(), Refusal> {
        let mut keys = Vec::new();
        for key in value.split(',').map(str::trim) {
            let (code, descending) = key.strip_prefix('-').map_or((key, false), |code| (code, true));
            let by = match code {
                "_id" => SortBy::Id,
                "_lastUpdated" => SortBy::LastUpdated,
                code => match self.registry().parameter(self.search.resource_type, code) {
                    Some(parameter) if parameter.family != Family::Reference => SortBy::Parameter {
                        param: parameter.id,
                        family: parameter.family,
                    },
                    Some(_) => {
                        let text = format!(
                            "{} cannot be sorted by the reference parameter {code}.",
                            self.search.resource_type
                        );
                        return Err(Refusal::Unknown(text));
                    }
                    None => {
                        let text = format!(
                            "{} has no parameter '{}' to sort by.",
                            self.search.resource_type,
                            excerpt(code)
                        );
                        return Err(Refusal::Unknown(text));
                    }
                },
            };
            // A key that comes again orders nothing that is not ordered already.
            if !keys.iter().any(|key: &SortKey| key.by == by) {
                keys.push(SortKey { by, descending });
            }
        }
        if keys.len() > 5 {
            return Err(FhirError::too_costly("A search can be sorted by at most 5 keys.").into());
        }
        self.search.sort = keys;
        Ok(())
    }

    /// `Source:parameter[:Target]`, `Source:*` or `*`.
    fn include(&mut self, value: &str, reverse: bool) -> Result<(), Refusal> {
        let here = self.search.resource_type;
        let registry = self.registry();
        let parts: Vec<&str> = value.split(':').collect();
        let (source, code, target) = match parts[..] {
            ["*"] if !reverse => (here, "*", None),
            [source, code] => (source, code, None),
            [source, code, target] => (source, code, Some(target)),
            _ => {
                let text = "An include has the form Source:parameter, Source:parameter:Target or Source:*.";
                return Err(FhirError::bad_value(text).into());
            }
        };
        let types = self.server.store.types();
        if types.id(source).is_none() {
            return Err(FhirError::bad_value(format!("'{}' is no resource type of R4.", excerpt(source))).into());
        }
        if !reverse && source != here {
            return Err(Refusal::Unknown(format!(
                "Only what {here} refers to can be included here, not what {source} does."
            )));
        }
        let references: Vec<&Parameter> = registry
            .parameters(source)
            .filter(|p| p.family == Family::Reference && (code == "*" || p.definition.code == code))
            .collect();
        if references.is_empty() {
            let text = format!("{source} has no reference parameter '{}'.", excerpt(code));
            return Err(Refusal::Unknown(text));
        }
        let target = match target {
            None => None,
            Some(name) if reverse && name != here => {
                return Err(
                    FhirError::bad_value(format!("This search yields {here}, not '{}'.", excerpt(name))).into(),
                );
            }
            // What is found has the target type already.
            Some(_) if reverse => None,
            Some(name) => match types.id(name) {
                Some(id) => Some(id),
                None => {
                    return Err(FhirError::bad_value(format!("'{}' is no resource type of R4.", excerpt(name))).into());
                }
            },
        };
        let params = references.iter().map(|parameter| parameter.id).collect();
        self.search.includes.push(Include {
            params,
            reverse,
            target,
        });
        Ok(())
    }

    fn criterion(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let here = self.search.resource_type;
        let (code, modifier) = name
            .split_once(':')
            .map_or((name, None), |(code, modifier)| (code, Some(modifier)));
        if name.contains('.') || code == "_has" {
            return Err(Refusal::Unknown("Chained parameters are not supported.".to_owned()));
        }
        let values = split(value, ',');
        if value.is_empty() {
            return Err(Refusal::Unknown(format!(
                "The parameter '{}' has no value.",
                excerpt(name)
            )));
        }
        if values.len() > MAX_VALUES {
            return Err(FhirError::too_costly(format!("A parameter may have at most {MAX_VALUES} values.")).into());
        }
        let criterion = match code {
            "_id" => self.ids(&values, modifier)?,
            "_lastUpdated" if modifier.is_none() => Criterion::LastUpdated(self.dates(&values)?),
            "_lastUpdated" => return Err(inapplicable(code, modifier.unwrap_or_default(), &[]).into()),
            code => {
                let Some(parameter) = self.registry().parameter(here, code) else {
                    let text = format!(
                        "{here} has no search parameter '{}' that this server knows.",
                        excerpt(code)
                    );
                    return Err(Refusal::Unknown(text));
                };
                self.rows(parameter, modifier, &values)?
            }
        };
        self.search.criteria.push(criterion);
        Ok(())
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

    fn dates(&self, values: &[&str]) -> Result<Vec<date::Match>, FhirError> {
        each(values, |value| date::parse(value, self.now))
    }

    fn rows(&self, parameter: &Parameter, modifier: Option<&str>, values: &[&str]) -> Result<Criterion, FhirError> {
        let family = parameter.family;
        let criterion = |matches, negated| {
            Ok(Criterion::Rows {
                param: parameter.id,
                matches,
                negated,
            })
        };
        if modifier == Some("missing") {
            return match values {
                ["true"] => criterion(Matches::Any(family), true),
                ["false"] => criterion(Matches::Any(family), false),
                _ => Err(FhirError::bad_value(":missing is true or false.")),
            };
        }
        match (family, modifier) {
            (Family::Token, None | Some("not")) => {
                let (case, implied) = self.registry().token_facts(self.search.resource_type, parameter);
                let implied = |system: &str| implied.iter().any(|known| known == system);
                let matches = each(values, |value| token::parse(value, case, implied))?;
                criterion(Matches::Token(matches), modifier.is_some())
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
            (family, Some(other)) => {
                let mut applicable: Vec<&str> = match family {
                    Family::Token => vec!["not"],
                    Family::String => vec!["exact", "contains"],
                    Family::Reference => vec!["identifier"],
                    Family::Date | Family::Quantity | Family::Uri => vec![],
                };
                if family == Family::Reference {
                    applicable.extend(parameter.definition.targets.iter().map(String::as_str));
                }
                applicable.push("missing");
                Err(inapplicable(&parameter.definition.code, other, &applicable))
            }
        }
    }

    fn references(&self, values: &[&str], types: &[String]) -> Result<Vec<reference::Match>, FhirError> {
        let locator = self.registry().locator();
        each(values, |value| reference::parse(value, types, locator))
    }

    fn finish(mut self) -> Result<Search, FhirError> {
        if let Some(cursor) = self.cursor {
            self.search.cursor = Some(Cursor::read(&cursor, &self.search)?);
        }
        Ok(self.search)
    }
}

/// The parameter that carries the cursor in `next` links.
pub(super) const CURSOR: &str = "_cursor";

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
