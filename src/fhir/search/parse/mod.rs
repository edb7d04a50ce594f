//! From the pairs of a query to a typed [`Search`] (<https://hl7.org/fhir/R4/search.html>).
//!
//! | in the query | meaning |
//! |---|---|
//! | the same parameter twice | both must match |
//! | `a,b` | either matches; a comma inside a value is written `\,` |
//! | `a$b` | the parts of a composite, true of one place in the resource; `\$` is a dollar sign |
//! | `:missing` | every parameter but composites |
//! | `:exact`, `:contains` | string |
//! | `:not`, `:text` | token |
//! | `:of-type` | token, of Identifiers |
//! | `:in`, `:not-in` | token whose values are codes |
//! | `:above`, `:below` | token whose values are codes; uri; reference to what has a hierarchy, or by canonical URL |
//! | `:[type]`, `:identifier` | reference |
//! | `a.b=`, `_has:Type:a:b=` | [`chain`] |
//! | `_filter=` | [`comparison`] |
//! | `_type=`, `_list=` | [`scope`] |
//!
//! A modifier that does not apply and a value that cannot be read are always refused: ignoring either would answer another
//! question. A parameter that is not known is refused when the client asked for `handling=strict`; else it is ignored, the
//! answer says so, and its `self` link lacks it.

mod chain;
mod comparison;
mod filter;
mod includes;
mod narrowing;
mod results;
mod scope;
mod value;

pub(in crate::fhir) use self::narrowing::conditions;
pub use self::scope::Scope;

use self::value::Criteria;
use super::contained::Contained;
use super::criterion::{Search, SortBy, SortKey, Total};
use super::cursor::Cursor;
use super::reindex::honesty;
use crate::fhir::error::{FhirError, Issue, IssueType, excerpt};
use crate::fhir::preferences::Handling;
use crate::fhir::server::FhirServer;

/// Most parameters of one search.
const MAX_PARAMETERS: usize = 100;

/// The parameter that carries the cursor in `next` links.
pub(super) const CURSOR: &str = "_cursor";

/// Reads the pairs of a query, percent-decoded and in order.
///
/// # Errors
/// 404 for an unknown type or compartment; 400 for a value or modifier that cannot be honoured, for a damaged page link, and with
/// [`Handling::Strict`] for a parameter that is not known.
pub fn parse<'s>(
    server: &FhirServer,
    scope: impl Into<Scope<'s>>,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Search, FhirError> {
    let scope = scope.into();
    // One registry for the whole search, whatever becomes of it meanwhile.
    let registry = server.search.current();
    let criteria = Criteria::new(server, &registry);
    if pairs.len() > MAX_PARAMETERS {
        return Err(FhirError::too_costly(format!(
            "A search may have at most {MAX_PARAMETERS} parameters."
        )));
    }
    let mut only = pairs
        .iter()
        .filter(|(name, _)| name == "_type")
        .map(|(_, types)| types.as_str());
    let start = criteria.start(scope, only.next())?;
    if only.next().is_some() {
        let text = "_type can be given once, with commas between the types.";
        return Err(FhirError::bad_value(text).at("http._type"));
    }
    let search = Search {
        types: start.types,
        path: start.path,
        criteria: start.criteria,
        sort: Vec::new(),
        includes: Vec::new(),
        includable: None,
        count: server.settings.default_count.min(server.settings.max_count),
        total: Total::None,
        explain: false,
        cursor: None,
        contained: Contained::Ignored,
        concerns: Vec::new(),
        warnings: Vec::new(),
        honoured: Vec::new(),
    };
    let mut reader = Reader {
        criteria,
        server,
        handling,
        takes_types: matches!(scope, Scope::System | Scope::Compartment { member: None, .. }),
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
#[derive(Clone)]
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
    criteria: Criteria<'s>,
    handling: Handling,
    /// Whether `_type` may say which types are searched.
    takes_types: bool,
    search: Search,
    cursor: Option<String>,
}

impl Reader<'_> {
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
        let (code, modifier) = name
            .split_once(':')
            .map_or((name, None), |(code, modifier)| (code, Some(modifier)));
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
            // Both together say what is searched: see `finish`.
            "_contained" | "_containedType" => Ok(()),
            "_explain" => Ok(self.explain(value)?),
            _ if code == "_include" => self.include(value, false, modifier),
            _ if code == "_revinclude" => self.include(value, true, modifier),
            "_type" if self.takes_types => Ok(()),
            "_type" => {
                let text = "_type chooses among the types of a search over several; this one is over one type.";
                Err(Refusal::Unknown(text.to_owned()))
            }
            "_query" => Err(FhirError::not_supported("There are no named queries, hence no _query.").into()),
            "_filter" => {
                let filter = self.criteria.filter(self.search.types.as_slice(), value)?;
                self.search.criteria.push(filter);
                Ok(())
            }
            _ => {
                let criterion = self.criteria.parameter(self.search.types.as_slice(), name, value)?;
                self.search.criteria.push(criterion);
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Search, FhirError> {
        self.contained()?;
        let by_score = SortKey {
            by: SortBy::Score,
            descending: true,
        };
        match self.search.texts().is_empty() {
            false if self.search.sort.is_empty() => self.search.sort.push(by_score),
            true if self.search.sort.iter().any(|key| key.by == SortBy::Score) => {
                let text = "_sort=_score needs a text to rank by, in _text or _content.";
                return Err(FhirError::bad_value(text));
            }
            _ => {}
        }
        if let Some(cursor) = self.cursor {
            self.search.cursor = Some(Cursor::read(&cursor, &self.search)?);
        }
        self.search.concerns = honesty::concerns(self.criteria.registry(), &self.search);
        Ok(self.search)
    }

    /// `_contained` and `_containedType`, and what cannot be asked beside them.
    fn contained(&mut self) -> Result<(), FhirError> {
        let value = |name: &str| {
            let mut pairs = self.search.honoured.iter();
            pairs.find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
        };
        let contained = Contained::read(value("_contained"), value("_containedType"))?;
        if contained == Contained::Ignored {
            return Ok(());
        }
        if self.search.looks_for_text() {
            let text = "_text and _content look at whole resources; they cannot be combined with _contained.";
            return Err(FhirError::bad_value(text));
        }
        let of_all_types = |key: &SortKey| matches!(key.by, SortBy::Id | SortBy::LastUpdated);
        if contained.answers_contained() && !self.search.sort.is_empty() {
            return Err(FhirError::bad_value("_sort does not apply to contained resources."));
        } else if !self.search.sort.iter().all(of_all_types) {
            let text =
                "What contains other resources is of several types: with _contained, _sort takes _id and _lastUpdated.";
            return Err(FhirError::bad_value(text));
        }
        if contained.answers_contained() {
            for include in self.search.includes.iter_mut().filter(|include| !include.reverse) {
                let own = include.params.clone();
                include.params.extend(own.iter().map(|param| -param));
            }
        }
        self.search.contained = contained;
        Ok(())
    }
}
