//! How the results are to be answered: `_count`, `_total` and `_sort`
//! (<https://hl7.org/fhir/R4/search.html#return>), and our own `_explain`.

use super::{Reader, Refusal};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{SortBy, SortKey, Total};
use crate::fhir::search::registry::Family;

/// Most keys of one `_sort`.
const MAX_KEYS: usize = 5;

impl Reader<'_> {
    pub(super) fn count(&mut self, value: &str) -> Result<(), FhirError> {
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

    pub(super) fn total(&mut self, value: &str) -> Result<(), FhirError> {
        self.search.total = match value {
            "none" => Total::None,
            "estimate" => Total::Estimate,
            "accurate" => Total::Accurate,
            _ => return Err(FhirError::bad_value("_total is none, estimate or accurate.")),
        };
        Ok(())
    }

    /// How a page was found shows what is stored in which number, so this is for those who run the server. Until there
    /// are accounts, the only caller is one of them.
    pub(super) fn explain(&mut self, value: &str) -> Result<(), FhirError> {
        self.search.explain = match value {
            "true" => true,
            "false" => false,
            _ => return Err(FhirError::bad_value("_explain is true or false.")),
        };
        Ok(())
    }

    pub(super) fn sort(&mut self, value: &str) -> Result<(), Refusal> {
        let mut keys: Vec<SortKey> = Vec::new();
        for key in value.split(',').map(str::trim) {
            let (code, descending) = key.strip_prefix('-').map_or((key, false), |code| (code, true));
            let by = match code {
                "_id" => SortBy::Id,
                "_lastUpdated" => SortBy::LastUpdated,
                "_score" => SortBy::Score,
                code => self.sort_parameter(code)?,
            };
            // A key that comes again orders nothing that is not ordered already.
            if !keys.iter().any(|key| key.by == by) {
                // The best match comes first.
                let descending = descending != (by == SortBy::Score);
                keys.push(SortKey { by, descending });
            }
        }
        if keys.len() > MAX_KEYS {
            return Err(FhirError::too_costly(format!("A search can be sorted by at most {MAX_KEYS} keys.")).into());
        }
        self.search.sort = keys;
        Ok(())
    }

    /// The parameter `code` of every type that is searched.
    fn sort_parameter(&self, code: &str) -> Result<SortBy, Refusal> {
        let mut params = Vec::new();
        let mut families = Vec::new();
        for ty in self.search.types.as_slice() {
            match self.criteria.registry().parameter(ty.name, code) {
                Some(parameter) if parameter.family == Family::Composite => {
                    let text = format!("{} cannot be sorted by the composite parameter {code}.", ty.name);
                    return Err(Refusal::Unknown(text));
                }
                Some(parameter) => {
                    params.extend(self.criteria.registry().numbers(ty.name, parameter)?);
                    families.push(parameter.family);
                }
                None => {
                    let text = format!("{} has no parameter '{}' to sort by.", ty.name, excerpt(code));
                    return Err(Refusal::Unknown(text));
                }
            }
        }
        families.dedup();
        match families[..] {
            [family] => Ok(SortBy::Parameter { params, family }),
            _ => {
                let text = format!(
                    "'{}' is not the same kind of parameter on all types searched.",
                    excerpt(code)
                );
                Err(Refusal::Unknown(text))
            }
        }
    }
}
