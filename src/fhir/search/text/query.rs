//! What `_text` and `_content` may ask for.
//!
//! | in the value | matches |
//! |---|---|
//! | `bone metastases`, `bone and metastases` | both words, anywhere |
//! | `bone or liver`, `bone,liver` | either |
//! | `not liver`, `-liver` | resources without it |
//! | `(bone or liver) and metastases` | as grouped |
//! | `"bone metastases"` | the words one after the other |
//! | `metast*` | words that begin so |
//!
//! A word that holds punctuation (`well-being`) is a phrase of its parts.

use super::words::words;

/// Most words of one query, and most parentheses in each other.
const MAX_WORDS: usize = 100;
const MAX_DEPTH: usize = 20;

/// Whose words are searched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// `_text`: those of the narrative.
    Narrative,
    /// `_content`: all.
    Content,
}

impl Scope {
    /// What an occurrence counts, by its weight from D to A, as SQL.
    pub fn weights(self) -> &'static str {
        match self {
            Scope::Narrative => "'{0, 0, 0, 1}'",
            Scope::Content => "'{0.1, 0.2, 0.4, 1}'",
        }
    }
}

/// A query as the text of a `tsquery`. It holds words made of letters and digits, and operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub scope: Scope,
    pub tsquery: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// Words that follow each other; the last one may go on.
    Phrase {
        words: Vec<String>,
        goes_on: bool,
    },
}

/// Reads one value, escapes removed; several are alternatives.
///
/// # Errors
/// A sentence for the client when the query has no word, is not balanced or is too long.
pub fn parse(values: &[String], scope: Scope) -> Result<Query, String> {
    let mut count = 0;
    let alternatives = values.iter().map(|value| {
        let mut reader = Reader {
            tokens: tokens(value)?,
            at: 0,
            scope,
        };
        for token in &reader.tokens {
            count += usize::from(matches!(token, Token::Phrase { .. }));
        }
        if count > MAX_WORDS {
            return Err(format!("A search for text may have at most {MAX_WORDS} words"));
        }
        let query = reader.or(0)?;
        match reader.tokens.get(reader.at) {
            None => Ok(query),
            Some(_) => Err("A search for text has a ')' without its '('".to_owned()),
        }
    });
    let alternatives: Vec<String> = alternatives.collect::<Result<_, _>>()?;
    Ok(Query {
        scope,
        tsquery: alternatives.join(" | "),
    })
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '(' => {
                tokens.push(Token::Open);
                after
            }
            ')' => {
                tokens.push(Token::Close);
                after
            }
            '"' => {
                let (phrase, after) = after
                    .split_once('"')
                    .ok_or("A phrase in a search for text lacks its second '\"'")?;
                push_phrase(&mut tokens, phrase, false);
                after
            }
            '-' if after.starts_with(|next: char| next == '"' || next == '(' || next.is_alphanumeric()) => {
                tokens.push(Token::Not);
                after
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"'))
                    .unwrap_or(rest.len());
                let word = &rest[..end];
                match word.to_lowercase().as_str() {
                    "and" => tokens.push(Token::And),
                    "or" => tokens.push(Token::Or),
                    "not" => tokens.push(Token::Not),
                    _ => push_phrase(&mut tokens, word, word.ends_with('*')),
                }
                &rest[end..]
            }
        }
        .trim_start();
    }
    Ok(tokens)
}

/// Punctuation alone is no word, and asks for nothing.
fn push_phrase(tokens: &mut Vec<Token>, text: &str, goes_on: bool) {
    let words = words(text);
    if !words.is_empty() {
        tokens.push(Token::Phrase { words, goes_on });
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    scope: Scope,
}

impl Reader {
    fn takes(&mut self, token: &Token) -> bool {
        let takes = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(takes);
        takes
    }

    fn or(&mut self, depth: usize) -> Result<String, String> {
        let mut query = self.and(depth)?;
        while self.takes(&Token::Or) {
            query = format!("({query} | {})", self.and(depth)?);
        }
        Ok(query)
    }

    fn and(&mut self, depth: usize) -> Result<String, String> {
        let mut query = self.not(depth)?;
        while !matches!(self.tokens.get(self.at), None | Some(Token::Or | Token::Close)) {
            self.takes(&Token::And);
            query = format!("({query} & {})", self.not(depth)?);
        }
        Ok(query)
    }

    fn not(&mut self, depth: usize) -> Result<String, String> {
        if self.takes(&Token::Not) {
            return Ok(format!("!{}", self.one(depth)?));
        }
        self.one(depth)
    }

    fn one(&mut self, depth: usize) -> Result<String, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Phrase { words, goes_on }) => Ok(self.phrase(&words, goes_on)),
            Some(Token::Open) if depth == MAX_DEPTH => Err(format!(
                "A search for text may have at most {MAX_DEPTH} '(' in each other"
            )),
            Some(Token::Open) => {
                let query = self.or(depth + 1)?;
                match self.takes(&Token::Close) {
                    true => Ok(format!("({query})")),
                    false => Err("A search for text has a '(' without its ')'".to_owned()),
                }
            }
            Some(_) => Err("A search for text has an operator or a bracket where a word must be".to_owned()),
            None => Err("A search for text needs a word, also after 'and', 'or' and 'not'".to_owned()),
        }
    }

    fn phrase(&self, words: &[String], goes_on: bool) -> String {
        let label = match (self.scope, goes_on) {
            (Scope::Narrative, false) => ":A",
            (Scope::Narrative, true) => ":*A",
            (Scope::Content, false) => "",
            (Scope::Content, true) => ":*",
        };
        let before = match self.scope {
            Scope::Narrative => ":A",
            Scope::Content => "",
        };
        let word = |(n, word): (usize, &String)| {
            let label = if n + 1 == words.len() { label } else { before };
            format!("'{word}'{label}")
        };
        let words: Vec<String> = words.iter().enumerate().map(word).collect();
        match &words[..] {
            [word] => word.clone(),
            words => format!("({})", words.join(" <-> ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<String, String> {
        parse(&[text.to_owned()], Scope::Content).map(|query| query.tsquery)
    }

    #[test]
    fn operators_bind_as_they_are_read() {
        for (text, expected) in [
            ("Bone", "'bone'"),
            ("bone metastases", "('bone' & 'metastases')"),
            (
                "(bone OR liver) and metastases",
                "((('bone' | 'liver')) & 'metastases')",
            ),
            ("bone or liver and spleen", "('bone' | ('liver' & 'spleen'))"),
            ("bone not liver", "('bone' & !'liver')"),
            ("bone -liver -(a b)", "(('bone' & !'liver') & !(('a' & 'b')))"),
            ("\"bone marrow\"", "('bone' <-> 'marrow')"),
            ("\"not that\"", "('not' <-> 'that')"),
            ("well-being", "('well' <-> 'being')"),
            ("metast*", "'metast':*"),
            ("stand-al*", "('stand' <-> 'al':*)"),
            ("salt & water", "('salt' & 'water')"),
            ("'); DROP TABLE resource; --", "error"),
            ("x'); DROP TABLE resource; --", "error"),
            ("a | b & !c", "(('a' & 'b') & 'c')"),
        ] {
            assert_eq!(query(text).unwrap_or_else(|_| "error".to_owned()), expected, "{text}");
        }
    }

    #[test]
    fn the_narrative_is_asked_by_weight_and_values_are_alternatives() {
        let values = ["bone marrow*".to_owned(), "\"a b\"".to_owned()];
        let query = parse(&values, Scope::Narrative).unwrap();
        assert_eq!(query.tsquery, "('bone':A & 'marrow':*A) | ('a':A <-> 'b':A)");
    }

    #[test]
    fn what_asks_for_nothing_is_refused() {
        for text in [
            "",
            "--",
            "(",
            ")",
            "()",
            "a)",
            "(a",
            "not",
            "a or",
            "and a",
            "\"a",
            "not not a",
        ] {
            assert!(query(text).is_err(), "{text}");
        }
        assert!(query(&"(".repeat(10_000)).is_err());
        assert!(query(&format!("{}a{}", "(".repeat(20), ")".repeat(20))).is_ok());
        assert!(query(&"a ".repeat(101)).is_err());
    }
}
