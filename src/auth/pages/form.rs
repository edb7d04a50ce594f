//! Fields of forms, and what is wrong with what was filled in.

use maud::{Markup, Render, html};

/// A labelled field.
pub(super) struct Field<'a> {
    pub label: &'a str,
    pub name: &'a str,
    /// Of HTML's `input`.
    pub kind: &'a str,
    /// Helps password managers, and people who find typing hard.
    pub autocomplete: &'a str,
    pub value: &'a str,
    pub required: bool,
    pub hint: &'a str,
    /// What is wrong with it.
    pub problem: Option<&'a str>,
}

impl Render for Field<'_> {
    fn render(&self) -> Markup {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let problem = self.problem.map(|_| format!("{}-problem", self.name));
        let described: Vec<&str> = problem.iter().chain(&hint).map(String::as_str).collect();
        html! {
            p {
                label for=(self.name) { (self.label) }
                @if let Some(id) = &hint { span id=(id) class="hint" { (self.hint) } }
                @if let (Some(id), Some(sentence)) = (&problem, self.problem) { span id=(id) class="alert" { (sentence) } }
                input id=(self.name) name=(self.name) type=(self.kind) autocomplete=(self.autocomplete) value=(self.value)
                    required[self.required] maxlength="500" autofocus[self.problem.is_some()]
                    aria-invalid=[self.problem.map(|_| "true")]
                    aria-describedby=[(!described.is_empty()).then(|| described.join(" "))];
            }
        }
    }
}

/// A field that must be filled in.
pub(super) fn field(label: &str, name: &str, kind: &str, autocomplete: &str, value: &str) -> Markup {
    Problems::default().field(label, name, kind, autocomplete, value)
}

/// Sentences about what is wrong, each with the field that it is about.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(&'static str, String)>);

impl Problems {
    pub(super) fn one(field: &'static str, sentence: impl Into<String>) -> Problems {
        Problems(vec![(field, sentence.into())])
    }

    pub(super) fn add(&mut self, field: &'static str, sentence: impl Into<String>) {
        self.0.push((field, sentence.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, field: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, sentence)| sentence.as_str())
    }

    /// A field that must be filled in, with what is wrong with it.
    pub(super) fn field(&self, label: &str, name: &str, kind: &str, autocomplete: &str, value: &str) -> Markup {
        Field {
            label,
            name,
            kind,
            autocomplete,
            value,
            required: true,
            hint: "",
            problem: self.of(name),
        }
        .render()
    }

    /// How many there are, read aloud by screen readers when the page opens, with links to the fields.
    pub(super) fn summary(&self) -> Markup {
        html! {
            @if !self.is_empty() {
                div class="alert" role="alert" {
                    p { "Please look at this again:" }
                    ul { @for (name, sentence) in &self.0 { li { a href={ "#" (name) } { (sentence) } } } }
                }
            }
        }
    }
}

/// A sentence about what is wrong with the whole, read aloud by screen readers when the page opens.
pub(super) fn alert(sentence: Option<&str>) -> Markup {
    html! {
        @if let Some(sentence) = sentence {
            p class="alert" role="alert" { (sentence) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_at_its_field_and_escaped() {
        let problems = Problems::one("email", "No <address>.");
        let wrong = problems
            .field("E-mail", "email", "email", "email", "a\"b")
            .into_string();
        for part in [
            "<label for=\"email\">",
            "value=\"a&quot;b\"",
            "aria-invalid=\"true\"",
            "aria-describedby=\"email-problem\"",
            "<span id=\"email-problem\" class=\"alert\">No &lt;address&gt;.</span>",
            " autofocus",
        ] {
            assert!(wrong.contains(part), "{part} in {wrong}");
        }
        let right = problems.field("Name", "name", "text", "name", "").into_string();
        assert!(!right.contains("aria-") && !right.contains("autofocus"), "{right}");
        assert!(problems.summary().into_string().contains("<a href=\"#email\">"));
    }
}
