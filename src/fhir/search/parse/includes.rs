//! `_include` and `_revinclude` (<https://hl7.org/fhir/R4/search.html#revinclude>).

use super::{Reader, Refusal};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{Include, Types};
use crate::fhir::search::registry::{Family, Parameter};

impl Reader<'_> {
    /// `Source:parameter[:Target]`, `Source:*` or `*`.
    pub(super) fn include(&mut self, value: &str, reverse: bool) -> Result<(), Refusal> {
        let Types::One(here) = &self.search.types else {
            return Err(Refusal::Unknown(
                "A search over several types has no includes.".to_owned(),
            ));
        };
        let here = here.name;
        let registry = self.criteria.registry();
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
}
