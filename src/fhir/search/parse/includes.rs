//! `_include` and `_revinclude` (<https://hl7.org/fhir/R4/search.html#revinclude>).
//!
//! | value | |
//! |---|---|
//! | `Source:parameter` | along this reference parameter |
//! | `Source:parameter:Target` | only to (`_revinclude`: only from the matches of) this type |
//! | `Source:*`, `*` | along every reference parameter of the type; of every type that can take part |
//!
//! With `:iterate` what was included leads on in the same way.

use super::{Reader, Refusal};
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::search::criterion::{Canonical, Include};
use crate::fhir::search::registry::{Family, Parameter};

impl Reader<'_> {
    /// Reads one include; `modifier` is what followed the name's colon.
    pub(super) fn include(&mut self, value: &str, reverse: bool, modifier: Option<&str>) -> Result<(), Refusal> {
        let iterates = match modifier {
            None => false,
            Some("iterate") => true,
            Some(other) => {
                let text = format!(
                    "The modifier ':{}' does not apply to an include; it takes :iterate.",
                    excerpt(other)
                );
                return Err(FhirError::not_supported(text).into());
            }
        };
        let parts: Vec<&str> = value.split(':').collect();
        let (source, code, target) = match parts[..] {
            ["*"] | ["*", "*"] => (None, "*", None),
            [source, code] => (Some(source), code, None),
            [source, code, target] => (Some(source), code, Some(target)),
            _ => {
                let text = "An include has the form Source:parameter, Source:parameter:Target, Source:* or *.";
                return Err(FhirError::bad_value(text).into());
            }
        };
        for name in source.iter().chain(&target) {
            self.check_type(name)?;
        }
        let searched: Vec<&str> = self.search.types.as_slice().iter().map(|ty| ty.name).collect();
        // Without `:iterate` only matches take part: as the source of an include, as the target of a `_revinclude`.
        let (role, named) = if reverse {
            ("leads back to", target)
        } else {
            ("starts from", source)
        };
        if let Some(named) = named
            && !iterates
            && !searched.contains(&named)
        {
            return Err(Refusal::Unknown(format!(
                "An include that {role} {named} finds nothing here, since {named} is not searched for; \
                 with :iterate it would go on from what is included."
            )));
        }
        let paths = self.paths(source, code, (reverse, iterates), &searched)?;
        if let Some(target) = target
            && !paths.iter().any(|path| leads_to(path, target))
        {
            let text = format!("'{}' never refers to a {target}.", excerpt(value));
            return Err(FhirError::bad_value(text).into());
        }
        let params = paths.iter().map(|path| path.id).collect();
        let canonical = self.canonical(&paths, target);
        self.search.includes.push(Include {
            params,
            reverse,
            iterates,
            target: target.and_then(|name| self.server.store.types().id(name)),
            canonical,
        });
        Ok(())
    }

    /// The reference parameters that an include names.
    fn paths(
        &self,
        source: Option<&str>,
        code: &str,
        (reverse, iterates): (bool, bool),
        searched: &[&str],
    ) -> Result<Vec<&Parameter>, Refusal> {
        let every_type = || self.server.definitions.resource_types().map(|ty| ty.name.as_str());
        let sources: Vec<&str> = match source {
            Some(source) => vec![source],
            None if reverse || iterates => every_type().collect(),
            None => searched.to_vec(),
        };
        let registry = self.criteria.registry();
        let mut paths: Vec<&Parameter> = sources
            .iter()
            .flat_map(|source| registry.parameters(source))
            .filter(|parameter| parameter.family == Family::Reference)
            .filter(|parameter| code == "*" || parameter.definition.code == code)
            .collect();
        if paths.is_empty() {
            let source = source.unwrap_or("No type that is searched");
            return Err(Refusal::Unknown(match code {
                "*" => format!("{source} has no reference parameter."),
                code => format!("{source} has no reference parameter '{}'.", excerpt(code)),
            }));
        }
        if source.is_none() && reverse && !iterates {
            paths.retain(|path| searched.iter().any(|name| leads_to(path, name)));
        }
        Ok(paths)
    }

    /// How canonical references among `paths` are followed, if there can be any.
    fn canonical(&self, paths: &[&Parameter], target: Option<&str>) -> Option<Canonical> {
        let registry = self.criteria.registry();
        let mut canonical = Canonical::default();
        for ty in self.server.definitions.resource_types() {
            let is_target =
                target.is_none_or(|name| name == ty.name) && paths.iter().any(|path| leads_to(path, &ty.name));
            let url = registry
                .parameter(&ty.name, "url")
                .filter(|url| url.family == Family::Uri);
            if let Some(url) = url
                && is_target
            {
                canonical.urls.push(url.id);
                canonical
                    .versions
                    .extend(registry.parameter(&ty.name, "version").map(|version| version.id));
            }
        }
        (!canonical.urls.is_empty()).then_some(canonical)
    }

    fn check_type(&self, name: &str) -> Result<(), FhirError> {
        match self.server.store.types().id(name) {
            Some(_) => Ok(()),
            None => Err(FhirError::bad_value(format!(
                "'{}' is no resource type of R4.",
                excerpt(name)
            ))),
        }
    }
}

/// Whether the parameter can lead to a resource of this type; one that names no types leads to all.
fn leads_to(parameter: &Parameter, resource_type: &str) -> bool {
    let targets = &parameter.definition.targets;
    targets.is_empty() || targets.iter().any(|name| name == resource_type)
}
