//! The grammar of `_filter` (<https://hl7.org/fhir/R4/search_filter.html>).
//!
//! ```text
//! filter     = term (("and" / "or") term)*            from left to right, neither binds stronger
//! term       = ["not"] "(" filter ")" / comparison
//! comparison = path operator value
//! path       = name ["[" filter "]"] "." path / name
//! value      = a JSON string / characters up to white space, ")" or "]"
//! ```
//!
//! What a comparison means is said in [`comparison`](super::comparison).

use crate::fhir::error::{FhirError, excerpt};

/// Deepest nesting of parentheses and brackets, and most comparisons.
const MAX_DEPTH: usize = 32;
const MAX_COMPARISONS: usize = 100;

#[derive(Debug, PartialEq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Comparison),
}

#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    /// Never empty; all but the last lead on to other resources.
    pub path: Vec<Segment>,
    pub operator: Operator,
    pub value: String,
    /// Where it begins: the how manieth character, from 1.
    pub position: usize,
}

#[derive(Debug, PartialEq)]
pub(super) struct Segment {
    /// `subject`, `subject:Patient` or `_has:Observation:patient:code`.
    pub name: String,
    /// What the resource that it leads to must meet besides.
    pub filter: Option<Filter>,
}

/// <https://hl7.org/fhir/R4/search_filter.html#ops>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Lt,
    Ge,
    Le,
    Ap,
    Sa,
    Eb,
    Pr,
    Po,
    Ss,
    Sb,
    In,
    Ni,
    Re,
}

impl Operator {
    const ALL: [(&'static str, Operator); 19] = [
        ("eq", Operator::Eq),
        ("ne", Operator::Ne),
        ("co", Operator::Co),
        ("sw", Operator::Sw),
        ("ew", Operator::Ew),
        ("gt", Operator::Gt),
        ("lt", Operator::Lt),
        ("ge", Operator::Ge),
        ("le", Operator::Le),
        ("ap", Operator::Ap),
        ("sa", Operator::Sa),
        ("eb", Operator::Eb),
        ("pr", Operator::Pr),
        ("po", Operator::Po),
        ("ss", Operator::Ss),
        ("sb", Operator::Sb),
        ("in", Operator::In),
        ("ni", Operator::Ni),
        ("re", Operator::Re),
    ];

    pub(super) fn code(self) -> &'static str {
        let found = Operator::ALL.iter().find(|(_, operator)| *operator == self);
        found.map_or("", |(code, _)| code)
    }
}

/// Reads a filter.
///
/// # Errors
/// 400 that says what was expected, and where.
pub(super) fn read(text: &str) -> Result<Filter, FhirError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        comparisons: 0,
    };
    let filter = parser.filter()?;
    match parser.peek() {
        None => Ok(filter),
        Some(_) => Err(parser.expected("'and', 'or' or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    depth: usize,
    comparisons: usize,
}

impl Parser<'_> {
    fn filter(&mut self) -> Result<Filter, FhirError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let text = format!("A filter may be nested at most {MAX_DEPTH} deep.");
            return Err(FhirError::too_costly(text));
        }
        let mut filter = self.term()?;
        loop {
            if self.keyword("and") {
                let term = self.term()?;
                match &mut filter {
                    Filter::All(all) => all.push(term),
                    _ => filter = Filter::All(vec![filter, term]),
                }
            } else if self.keyword("or") {
                let term = self.term()?;
                match &mut filter {
                    Filter::Any(any) => any.push(term),
                    _ => filter = Filter::Any(vec![filter, term]),
                }
            } else {
                self.depth -= 1;
                return Ok(filter);
            }
        }
    }

    fn term(&mut self) -> Result<Filter, FhirError> {
        let negated = self.keyword("not");
        if self.character('(') {
            let filter = self.filter()?;
            if !self.character(')') {
                return Err(self.expected("'and', 'or' or ')'"));
            }
            return Ok(match (negated, filter) {
                (true, filter) => Filter::Not(Box::new(filter)),
                // In parentheses they stay together, whatever follows.
                (false, filter @ (Filter::All(_) | Filter::Any(_))) => Filter::All(vec![filter]),
                (false, filter) => filter,
            });
        }
        if negated {
            return Err(self.expected("'(' after 'not'"));
        }
        self.comparison().map(Filter::Compare)
    }

    fn comparison(&mut self) -> Result<Comparison, FhirError> {
        self.skip_space();
        let position = self.position();
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            let text = format!("A filter may have at most {MAX_COMPARISONS} comparisons.");
            return Err(FhirError::too_costly(text));
        }
        let mut path = Vec::new();
        loop {
            let name = self.name()?;
            let filter = if self.text[self.at..].starts_with('[') {
                self.at += 1;
                let filter = self.filter()?;
                if !self.character(']') {
                    return Err(self.expected("'and', 'or' or ']'"));
                }
                Some(filter)
            } else {
                None
            };
            let ends = !self.text[self.at..].starts_with('.');
            if ends && filter.is_some() {
                return Err(self.expected("'.' and a parameter after ']'"));
            }
            path.push(Segment { name, filter });
            if ends {
                break;
            }
            self.at += 1;
        }
        let operator = self.operator()?;
        let value = self.value()?;
        Ok(Comparison {
            path,
            operator,
            value,
            position,
        })
    }

    fn name(&mut self) -> Result<String, FhirError> {
        let rest = &self.text[self.at..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.expected("the name of a search parameter"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn operator(&mut self) -> Result<Operator, FhirError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        match Operator::ALL.iter().find(|(code, _)| *code == word) {
            Some((code, operator)) => {
                self.at += code.len();
                Ok(*operator)
            }
            None => {
                let codes: Vec<&str> = Operator::ALL.iter().map(|(code, _)| *code).collect();
                Err(self.expected(&format!("an operator ({})", codes.join(", "))))
            }
        }
    }

    fn value(&mut self) -> Result<String, FhirError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        if rest.starts_with('"') {
            return self.string();
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, ')' | ']');
        let length = rest.find(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.expected("a value"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn string(&mut self) -> Result<String, FhirError> {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else {
            return Err(self.expected("a string that ends with '\"'"));
        };
        let Ok(value) = serde_json::from_str(&rest[..=end]) else {
            return Err(self.expected("a string with the escapes of JSON"));
        };
        self.at += end + 1;
        Ok(value)
    }

    /// Takes the word if it comes next.
    fn keyword(&mut self, word: &str) -> bool {
        self.skip_space();
        let follows = |rest: &str| rest.starts_with(|c: char| c.is_whitespace() || c == '(');
        let found = self.text[self.at..].strip_prefix(word).is_some_and(follows);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes the character if it comes next.
    fn character(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text[self.at..].chars().next()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn position(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn expected(&mut self, what: &str) -> FhirError {
        self.skip_space();
        let rest = &self.text[self.at..];
        let found = match rest.split_whitespace().next() {
            None => "the filter ends".to_owned(),
            Some(word) => format!("it has '{}'", excerpt(word)),
        };
        FhirError::bad_value(format!(
            "The filter should have {what} at character {}, where {found}.",
            self.position()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of a filter in prefix notation.
    fn shape(filter: &Filter) -> String {
        let list = |name: &str, filters: &[Filter]| {
            let parts: Vec<String> = filters.iter().map(shape).collect();
            format!("{name}({})", parts.join(", "))
        };
        match filter {
            Filter::All(filters) => list("all", filters),
            Filter::Any(filters) => list("any", filters),
            Filter::Not(filter) => format!("not({})", shape(filter)),
            Filter::Compare(comparison) => {
                let segment = |segment: &Segment| match &segment.filter {
                    Some(filter) => format!("{}[{}]", segment.name, shape(filter)),
                    None => segment.name.clone(),
                };
                let path: Vec<String> = comparison.path.iter().map(segment).collect();
                format!("{} {} {}", path.join("."), comparison.operator.code(), comparison.value)
            }
        }
    }

    #[test]
    fn filters_are_read_from_left_to_right() {
        for (text, expected) in [
            ("a eq 1", "a eq 1"),
            ("a eq 1 and b ne 2 and c co x", "all(a eq 1, b ne 2, c co x)"),
            ("a eq 1 or b eq 2 and c eq 3", "all(any(a eq 1, b eq 2), c eq 3)"),
            ("a eq 1 and b eq 2 or c eq 3", "any(all(a eq 1, b eq 2), c eq 3)"),
            ("a eq 1 or (b eq 2 and c eq 3)", "any(a eq 1, all(all(b eq 2, c eq 3)))"),
            ("(a eq 1 or b eq 2) or c eq 3", "any(all(any(a eq 1, b eq 2)), c eq 3)"),
            ("not(a eq 1) and not (b eq 2)", "all(not(a eq 1), not(b eq 2))"),
            ("((a eq 1))", "a eq 1"),
            (" a\teq\n1 ", "a eq 1"),
            ("subject.name co \"pet\"", "subject.name co pet"),
            (
                "subject[active eq true and b eq 2].name pr true",
                "subject[all(active eq true, b eq 2)].name pr true",
            ),
            ("a eq http://x.org|y_z", "a eq http://x.org|y_z"),
            (
                "_lastUpdated ge 2020-01-01T10:00:00+01:00",
                "_lastUpdated ge 2020-01-01T10:00:00+01:00",
            ),
            (r#"a eq "x) \"and\" \u00e9\\""#, r#"a eq x) "and" é\"#),
            ("nothing eq 1", "nothing eq 1"),
            (
                "_has:Observation:patient:code eq x",
                "_has:Observation:patient:code eq x",
            ),
        ] {
            assert_eq!(shape(&read(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        for (text, what, at) in [
            ("", "the name of a search parameter", 1),
            ("a", "an operator", 2),
            ("a is 1", "an operator", 3),
            ("a eq", "a value", 5),
            ("a eq )", "a value", 6),
            ("a eq 1 b eq 2", "'and', 'or' or the end", 8),
            ("a eq 1)", "'and', 'or' or the end", 7),
            ("(a eq 1", "'and', 'or' or ')'", 8),
            ("not a eq 1", "'(' after 'not'", 5),
            ("a[b eq 1.c eq 2", "'and', 'or' or ']'", 12),
            ("a[b eq 1] eq 2", "'.' and a parameter", 11),
            ("é eq 1", "the name of a search parameter", 1),
            ("a eq é and 1 eq 2", "the name of a search parameter", 12),
            ("a eq \"x", "a string that ends", 6),
            (r#"a eq "\x""#, "a string with the escapes", 6),
            ("a. eq 1", "the name of a search parameter", 4),
        ] {
            let error = read(text).unwrap_err();
            let told = &error.issues[0].diagnostics;
            assert!(
                told.contains(what) && told.contains(&format!("at character {at},")),
                "{text}: {told}"
            );
        }
        assert!(read(&"(".repeat(100_000)).is_err());
        assert!(read(&"a eq 1 and ".repeat(200)).is_err());
    }
}
