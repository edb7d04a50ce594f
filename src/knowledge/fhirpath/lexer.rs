//! Source text → tokens (<http://hl7.org/fhirpath/N1/#lexical-elements>).

use super::CompileError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or a keyword; which of the two, only its place tells (`contains` is both).
    Name(String),
    /// A name between backticks: never a keyword.
    QuotedName(String),
    /// `%name`, `%'name'` or ``%`name` ``.
    Variable(String),
    /// `$this`, `$index`, `$total`, without the dollar.
    Special(String),
    String(String),
    Integer(String),
    Decimal(String),
    /// `@2014-01`, without the `@`.
    Date(String),
    /// `@2014T` or `@2014-01-05T08:00Z`, without the `@`.
    DateTime(String),
    /// `@T10:30`, without the `@T`.
    Time(String),
    Symbol(&'static str),
    End,
}

/// Two-character symbols come first, so that `<=` is not read as `<` and `=`.
const SYMBOLS: [&str; 22] = [
    "<=", ">=", "!=", "!~", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-", "*", "/", "&", "|", "<", ">", "=", "~",
];

pub(super) fn tokenize(source: &str) -> Result<Vec<(Token, usize)>, CompileError> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks_and_comments()?;
        let start = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push((token, start));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), CompileError> {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            if self.rest().starts_with("//") {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if self.rest().starts_with("/*") {
                match self.rest().find("*/") {
                    Some(length) => self.at += length + 2,
                    None => return Err(CompileError::new(self.at, "this comment is never closed by */")),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token, CompileError> {
        let start = self.at;
        match self.byte(0) {
            0 if self.at == self.source.len() => Ok(Token::End),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(Token::Name(self.name())),
            b'`' => Ok(Token::QuotedName(self.quoted(b'`')?)),
            b'\'' => Ok(Token::String(self.quoted(b'\'')?)),
            b'0'..=b'9' => Ok(self.number()),
            b'@' => self.temporal(),
            b'%' => {
                self.at += 1;
                match self.byte(0) {
                    quote @ (b'`' | b'\'') => Ok(Token::Variable(self.quoted(quote)?)),
                    b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(Token::Variable(self.variable_name())),
                    _ => Err(CompileError::new(start, "a variable's name must follow %")),
                }
            }
            b'$' => {
                self.at += 1;
                match self.name() {
                    name if matches!(name.as_str(), "this" | "index" | "total") => Ok(Token::Special(name)),
                    _ => Err(CompileError::new(
                        start,
                        "only $this, $index and $total begin with a dollar",
                    )),
                }
            }
            _ => match SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(Token::Symbol(symbol))
                }
                None => {
                    let found = self.rest().chars().next().unwrap_or(' ');
                    Err(CompileError::new(
                        start,
                        format!("the character {found:?} has no meaning here"),
                    ))
                }
            },
        }
    }

    fn name(&mut self) -> String {
        self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }

    /// R4 and its guides write `%vs-name` and `%ext-name` without quotes, too. A hyphen belongs to the name only
    /// behind these two prefixes; elsewhere it is a minus sign.
    fn variable_name(&mut self) -> String {
        if self.rest().starts_with("vs-") || self.rest().starts_with("ext-") {
            return self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        }
        self.name()
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> String {
        let length = self.rest().bytes().take_while(|&byte| accept(byte)).count();
        let text = self.rest()[..length].to_owned();
        self.at += length;
        text
    }

    /// Text between two `quote`s, escapes resolved.
    fn quoted(&mut self, quote: u8) -> Result<String, CompileError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err(CompileError::new(start, "this quote is never closed"));
            };
            if next == quote as char {
                self.at += 1;
                return Ok(text);
            }
            if next != '\\' {
                text.push(next);
                self.at += next.len_utf8();
                continue;
            }
            let escaped = self.byte(1);
            text.push(match escaped {
                b'\'' | b'"' | b'`' | b'\\' | b'/' => escaped as char,
                b'r' => '\r',
                b'n' => '\n',
                b't' => '\t',
                b'f' => '\u{c}',
                b'u' => self.unicode_escape()?,
                _ => return Err(CompileError::new(self.at, "this escape sequence is not known")),
            });
            self.at += 2;
        }
    }

    /// `\u0065`, a pair of them for a character outside the basic plane. Leaves the last two characters' worth of the
    /// escape to the caller, which advances by two as for any other escape.
    fn unicode_escape(&mut self) -> Result<char, CompileError> {
        let start = self.at;
        let unit = |at: usize| {
            let digits = self.source.get(at + 2..at + 6)?;
            let escaped = self.source[at..].starts_with("\\u") && digits.bytes().all(|b| b.is_ascii_hexdigit());
            escaped.then(|| u16::from_str_radix(digits, 16).ok())?
        };
        let wrong = || CompileError::new(start, "four hexadecimal digits of a character must follow \\u");
        let first = unit(start).ok_or_else(wrong)?;
        let (units, length) = match unit(start + 6) {
            Some(second) if (0xD800..0xDC00).contains(&first) => (vec![first, second], 12),
            _ => (vec![first], 6),
        };
        let character = char::decode_utf16(units)
            .next()
            .and_then(Result::ok)
            .ok_or_else(wrong)?;
        self.at += length - 2;
        Ok(character)
    }

    fn number(&mut self) -> Token {
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
            self.at += 1;
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            return Token::Decimal(format!("{whole}.{fraction}"));
        }
        Token::Integer(whole)
    }

    /// Reads only what has the shape of a date or time; whether it exists is the parser's question.
    fn temporal(&mut self) -> Result<Token, CompileError> {
        let start = self.at;
        self.at += 1;
        if self.byte(0) == b'T' {
            self.at += 1;
            let text = self.clock_time();
            return match text.is_empty() {
                true => Err(CompileError::new(start, "a time must follow @T: @T10:30")),
                false => Ok(Token::Time(text)),
            };
        }
        let mut text = self.digits(4);
        for _ in 0..2 {
            if !text.is_empty() && self.byte(0) == b'-' && self.byte(1).is_ascii_digit() {
                self.at += 1;
                text = text + "-" + &self.digits(2);
            }
        }
        if text.is_empty() {
            return Err(CompileError::new(start, "a date must follow @: @2014-01-05"));
        }
        if self.byte(0) != b'T' {
            return Ok(Token::Date(text));
        }
        self.at += 1;
        text.push('T');
        let time = self.clock_time();
        if !time.is_empty() {
            text += &time;
            if self.byte(0) == b'Z' {
                self.at += 1;
                text.push('Z');
            } else if matches!(self.byte(0), b'+' | b'-') && self.byte(1).is_ascii_digit() && self.byte(3) == b':' {
                text.push(self.byte(0) as char);
                self.at += 1;
                text = text + &self.digits(2) + ":";
                self.at += 1;
                text += &self.digits(2);
            }
        }
        Ok(Token::DateTime(text))
    }

    /// `hh`, `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fff`
    fn clock_time(&mut self) -> String {
        let mut text = self.digits(2);
        for _ in 0..2 {
            if !text.is_empty() && self.byte(0) == b':' && self.byte(1).is_ascii_digit() {
                self.at += 1;
                text = text + ":" + &self.digits(2);
            }
        }
        if text.len() == 8 && self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
            self.at += 1;
            text = text + "." + &self.take_while(|byte| byte.is_ascii_digit());
        }
        text
    }

    fn digits(&mut self, most: usize) -> String {
        let length = self.rest().bytes().take(most).take_while(u8::is_ascii_digit).count();
        let text = self.rest()[..length].to_owned();
        self.at += length;
        text
    }
}
