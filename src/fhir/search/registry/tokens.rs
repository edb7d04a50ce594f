//! What is known about the values of a token parameter before any is seen: whether case matters, and which systems its
//! bare codes imply.

use super::super::types::token::{self, Case};
use crate::knowledge::definitions::{Binding, Definitions, SearchParameter, TypeId};

pub(super) struct Tokens {
    pub case: Case,
    /// Systems that bindings give to elements of type `code`.
    pub implied: Vec<String>,
    /// Whether there is an element of type `code` without a binding that tells.
    pub is_open: bool,
}

impl Tokens {
    /// Nothing is known: both cases are tried.
    pub fn unknown() -> Tokens {
        Tokens {
            case: Case::Mixed,
            implied: Vec::new(),
            is_open: true,
        }
    }

    pub fn of(definitions: &Definitions, resource_type: TypeId, definition: &SearchParameter) -> Tokens {
        let expression = definition.expression.as_deref().unwrap_or_default();
        let Some(leaves) = leaves(definitions, resource_type, expression) else {
            return Tokens::unknown();
        };
        let mut cases = leaves.iter().map(|leaf| token::case_of(&definitions.get(leaf.0).name));
        let first = cases.next().unwrap_or(Case::Mixed);
        let case = if cases.all(|case| case == first) {
            first
        } else {
            Case::Mixed
        };
        let mut implied: Vec<String> = Vec::new();
        let mut is_open = false;
        for leaf in leaves.iter().filter(|leaf| definitions.get(leaf.0).name == "code") {
            match leaf
                .1
                .and_then(|binding| definitions.value_sets.get(&binding.value_set))
            {
                Some(codes) => implied.extend(codes.iter().map(|(system, _)| system.clone())),
                None => is_open = true,
            }
        }
        implied.sort_unstable();
        implied.dedup();
        Tokens { case, implied, is_open }
    }
}

/// The types of the values that an expression yields from a resource of type `of`, with their bindings. `None` when the
/// expression is more than paths, choices of type and filters.
pub(super) fn leaves<'d>(
    definitions: &'d Definitions,
    of: TypeId,
    expression: &str,
) -> Option<Vec<(TypeId, Option<&'d Binding>)>> {
    let mut leaves = Vec::new();
    for branch in split_outside(expression, '|') {
        let mut branch = branch.trim();
        while let Some(inner) = branch.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            if inner.contains(')') && inner.find(')') < inner.find('(') {
                return None;
            }
            branch = inner.trim();
        }
        let (path, cast) = branch
            .split_once(" as ")
            .map_or((branch, None), |(path, cast)| (path, Some(cast.trim())));
        let mut steps = split_outside(path, '.').into_iter();
        let root = definitions.type_id(steps.next()?.trim())?;
        if !definitions.is_a(of, root) {
            continue;
        }
        let mut at = vec![(of, None)];
        for step in steps {
            let argument = |name: &str| step.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
            if argument("where").is_some() || argument("first").is_some() {
                continue;
            } else if let Some(name) = argument("as").or_else(|| argument("ofType")) {
                let wanted = definitions.type_id(name)?;
                at.retain(|leaf| leaf.0 == wanted);
            } else {
                at = follow(definitions, &at, step)?;
            }
        }
        if let Some(cast) = cast {
            let wanted = definitions.type_id(cast)?;
            at.retain(|leaf| leaf.0 == wanted);
        }
        leaves.extend(at);
    }
    Some(leaves)
}

/// The values of the element `step` of each of `from`.
fn follow<'d>(
    definitions: &'d Definitions,
    from: &[(TypeId, Option<&'d Binding>)],
    step: &str,
) -> Option<Vec<(TypeId, Option<&'d Binding>)>> {
    let name = step.split('[').next()?;
    let elements = from
        .iter()
        .filter_map(|leaf| definitions.get(leaf.0).elements.iter().find(|e| e.name == name));
    let next: Vec<_> = elements
        .flat_map(|e| e.types.iter().map(|t| (t.type_id, e.binding.as_ref())))
        .collect();
    (!next.is_empty()).then_some(next)
}

/// Splits at each `separator` that stands outside of parentheses.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
