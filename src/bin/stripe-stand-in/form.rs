//! What a request says: a form or a query whose names are nested, `line_items[0][price_data][currency]=eur`.

use serde_json::{Map, Value, json};

use crate::answer::Fault;

/// Deeper than Stripe's own parameters are.
const MAX_DEPTH: usize = 8;

/// The parameters of a request: objects, lists, and texts at their ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Form(Value);

impl Form {
    /// Reads an encoded form.
    pub fn parse(encoded: &[u8]) -> Result<Form, Fault> {
        let mut root = Value::Object(Map::new());
        for (name, value) in form_urlencoded::parse(encoded) {
            let mut place = &mut root;
            for step in steps(&name).ok_or_else(|| Fault::invalid("Invalid parameter name", Some(&name)))? {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let number = place.as_object().map_or(0, Map::len);
                // `a[]=x` is the next of a list.
                let key = if step.is_empty() {
                    number.to_string()
                } else {
                    step.to_owned()
                };
                place = &mut place[key];
            }
            *place = json!(value);
        }
        Ok(Form(lists(root)))
    }

    /// The same as text, to tell requests apart.
    pub fn fingerprint(&self) -> String {
        self.0.to_string()
    }

    /// Refuses parameters that the stand-in does not know: what it passed over in silence would be a fiction.
    pub fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let mut names = self.0.as_object().into_iter().flat_map(Map::keys);
        match names.find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(
                Fault::invalid(&format!("Received unknown parameter: {name}"), Some(name))
                    .with_code("parameter_unknown"),
            ),
        }
    }

    /// The value at a path, `payment_intent_data/metadata`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        path.split('/').try_fold(&self.0, |value, step| match value {
            Value::Array(list) => list.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        })
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// A text that must be there.
    pub fn required(&self, path: &str) -> Result<&str, Fault> {
        self.text(path).filter(|text| !text.is_empty()).ok_or_else(|| {
            let name = bracketed(path);
            Fault::invalid(&format!("Missing required param: {name}."), Some(&name)).with_code("parameter_missing")
        })
    }

    /// A whole number, if it is there.
    pub fn number(&self, path: &str) -> Result<Option<i64>, Fault> {
        let Some(text) = self.text(path) else {
            return Ok(None);
        };
        let name = bracketed(path);
        let fault =
            || Fault::invalid(&format!("Invalid integer: {text}"), Some(&name)).with_code("parameter_invalid_integer");
        text.parse().map(Some).map_err(|_| fault())
    }

    pub fn flag(&self, path: &str) -> bool {
        self.text(path) == Some("true")
    }

    /// Metadata, which are texts by name.
    pub fn metadata(&self, path: &str) -> Value {
        let found = self.at(path).and_then(Value::as_object);
        let texts = found.into_iter().flatten().filter(|(_, value)| value.is_string());
        Value::Object(texts.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

/// `a[b][0]` as `a`, `b`, `0`.
fn steps(name: &str) -> Option<Vec<&str>> {
    let (first, rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut steps = vec![first];
    if !rest.is_empty() {
        let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
        steps.extend(inner.split("]["));
    }
    (!first.is_empty() && steps.len() <= MAX_DEPTH && steps.iter().all(|step| !step.contains(['[', ']'])))
        .then_some(steps)
}

fn bracketed(path: &str) -> String {
    let mut steps = path.split('/');
    let first = steps.next().unwrap_or_default().to_owned();
    steps.fold(first, |name, step| format!("{name}[{step}]"))
}

/// Objects whose names are numbers from 0 on are lists.
fn lists(value: Value) -> Value {
    let Value::Object(members) = value else {
        return value;
    };
    let is_list = !members.is_empty() && members.keys().enumerate().all(|(index, key)| *key == index.to_string());
    let members = members.into_iter().map(|(name, value)| (name, lists(value)));
    match is_list {
        true => Value::Array(members.map(|(_, value)| value).collect()),
        false => Value::Object(members.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_nested() {
        let form =
            Form::parse(b"mode=payment&a%5B0%5D%5Bb%5D%5Bc%5D=1&a[0][b][d]=x+y&a[1]=z&e[]=1&e[]=2&m[k]=v").unwrap();
        let expected =
            json!({"mode": "payment", "a": [{"b": {"c": "1", "d": "x y"}}, "z"], "e": ["1", "2"], "m": {"k": "v"}});
        assert_eq!(form.0, expected);
        assert_eq!(
            (form.text("a/0/b/d"), form.number("a/0/b/c").unwrap()),
            (Some("x y"), Some(1))
        );
        assert_eq!(form.metadata("m"), json!({"k": "v"}));
        assert!(form.number("mode").is_err() && form.required("a/0/b/x").is_err());
        assert!(form.only(&["mode", "a", "e"]).is_err() && form.only(&["mode", "a", "e", "m"]).is_ok());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in [
            "[a]=1",
            "a[b=1",
            "a]b=1",
            "a[b][c=1",
            "a[b]c=1",
            "=1",
            "a[1][2][3][4][5][6][7][8]=1",
        ] {
            assert!(Form::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
