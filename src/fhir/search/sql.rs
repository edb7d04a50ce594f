//! SQL text with its binds, written front to back.
//!
//! Text can only be pushed as `&'static str`, hence nothing that came from a request can become part of a statement:
//! it goes in as a bind, or not at all.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Postgres, Type};

/// The name of one table in a statement, `t7`, or of a part of its columns, `t7_1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alias(usize, Option<usize>);

impl Alias {
    /// The name of a part of the columns of this table.
    pub fn part(self, number: usize) -> Alias {
        Alias(self.0, Some(number))
    }
}

#[derive(Default)]
pub struct Sql {
    text: String,
    arguments: PgArguments,
    binds: usize,
    aliases: usize,
    failure: Option<sqlx::error::BoxDynError>,
}

impl Sql {
    pub fn push(&mut self, text: &'static str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// A table name that no other table of this statement has.
    pub fn new_alias(&mut self) -> Alias {
        self.aliases += 1;
        Alias(self.aliases, None)
    }

    pub fn alias(&mut self, alias: Alias) -> &mut Sql {
        self.text.push('t');
        self.text.push_str(&alias.0.to_string());
        if let Some(part) = alias.1 {
            self.text.push('_');
            self.text.push_str(&part.to_string());
        }
        self
    }

    /// `alias.column`, with `column` given as `".rid"`.
    pub fn column(&mut self, alias: Alias, column: &'static str) -> &mut Sql {
        self.alias(alias).push(column)
    }

    /// A value of the request, as the next bind.
    pub fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres>>(&mut self, value: T) -> &mut Sql {
        match self.arguments.add(value) {
            Ok(()) => self.binds += 1,
            Err(failure) => self.failure = Some(failure),
        }
        self.text.push('$');
        self.text.push_str(&self.binds.to_string());
        self
    }

    /// The statement that runs this one and answers with its plan instead of its rows.
    pub fn explained(mut self) -> Sql {
        self.text.insert_str(0, "EXPLAIN (ANALYZE, BUFFERS OFF, FORMAT JSON) ");
        self
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The finished statement.
    ///
    /// # Errors
    /// When a bind could not be encoded (an array beyond Postgres' limits).
    pub fn query(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, sqlx::Error> {
        if let Some(failure) = self.failure {
            return Err(sqlx::Error::Encode(failure));
        }
        Ok(sqlx::query_with(AssertSqlSafe(self.text), self.arguments))
    }
}
