//! What is known of medicines: their ingredients, the classes of these, and what does not go together. A file of JSON, which
//! a deployment may replace by its own (`prescriptions.formulary`); the built-in one is small, ours, and names its sources.
//!
//! ```json
//! {"name": "…", "version": "…", "about": "…",
//!  "classes": {"nsaid": {"name": "…", "names": ["nsaids"], "atc": ["M01A"], "snomed": [], "crossReactive": true, "duplicate": "moderate"}},
//!  "ingredients": [{"name": "ibuprofen", "names": [], "rxnorm": ["5640"], "atc": ["M01AE01"], "classes": ["nsaid"], "most": "3200 mg"}],
//!  "interactions": [{"between": ["warfarin", "@nsaid"], "severity": "high", "effect": "…", "mechanism": "…", "source": "…"}],
//!  "crossReactions": [{"between": ["@penicillin", "@cephalosporin"], "severity": "moderate", "effect": "…", "source": "…"}]}
//! ```
//!
//! | | |
//! |---|---|
//! | `names` | further names of an ingredient or a class, as people write them |
//! | `atc` of an ingredient, of a class | its codes; the beginnings of the codes of all that is in it, known here or not |
//! | `crossReactive` | who is allergic to one of the class is taken to be to all of it |
//! | `duplicate` | how bad it is to take two of the class; without it, that is nothing |
//! | `most` | in 24 hours, for an adult |
//! | `between` | an ingredient by its name, or a class by `@` and its key |

mod recognise;

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

pub use recognise::{Named, Recognised};

/// See the [module](self).
const BUILT_IN: &str = include_str!("built-in.json");

/// How bad it is (<https://hl7.org/fhir/R4/valueset-detectedissue-severity.html>), from less to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Moderate,
    High,
}

impl Severity {
    pub fn code(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Moderate => "moderate",
            Severity::High => "high",
        }
    }
}

/// Index of an ingredient.
pub type IngredientId = usize;
/// Index of a class.
pub type ClassId = usize;

#[derive(Debug)]
pub struct Formulary {
    pub name: String,
    pub version: String,
    ingredients: Vec<Ingredient>,
    classes: Vec<Class>,
    interactions: Vec<Interaction>,
    cross_reactions: Vec<Interaction>,
    lookup: recognise::Lookup,
}

#[derive(Debug)]
pub struct Ingredient {
    pub name: String,
    pub classes: BTreeSet<ClassId>,
    /// In 24 hours: amount and unit.
    pub most: Option<(String, String)>,
}

#[derive(Debug)]
pub struct Class {
    pub key: String,
    pub name: String,
    pub cross_reactive: bool,
    pub duplicate: Option<Severity>,
}

#[derive(Debug)]
pub struct Interaction {
    between: [Side; 2],
    pub severity: Severity,
    pub effect: String,
    pub mechanism: Option<String>,
    pub source: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ingredient(IngredientId),
    Class(ClassId),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    name: String,
    version: String,
    #[serde(rename = "about")]
    _about: String,
    classes: HashMap<String, FileClass>,
    ingredients: Vec<FileIngredient>,
    interactions: Vec<FileInteraction>,
    cross_reactions: Vec<FileInteraction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileClass {
    name: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    atc: Vec<String>,
    #[serde(default)]
    snomed: Vec<String>,
    #[serde(default)]
    cross_reactive: bool,
    duplicate: Option<Severity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIngredient {
    name: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    rxnorm: Vec<String>,
    #[serde(default)]
    atc: Vec<String>,
    #[serde(default)]
    classes: Vec<String>,
    most: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileInteraction {
    between: [String; 2],
    severity: Severity,
    effect: String,
    mechanism: Option<String>,
    source: String,
}

impl Formulary {
    /// The one that comes with the program.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn built_in() -> Formulary {
        Formulary::parse(BUILT_IN).expect("the built-in formulary is sound")
    }

    /// # Errors
    /// What is wrong with the file, and where.
    pub fn parse(text: &str) -> Result<Formulary> {
        let file: File = serde_json::from_str(text).context("this is no formulary")?;
        let mut keys: Vec<&String> = file.classes.keys().collect();
        keys.sort_unstable();
        let class_ids: HashMap<&str, ClassId> = keys.iter().enumerate().map(|(id, key)| (key.as_str(), id)).collect();
        let mut lookup = recognise::Lookup::default();
        let mut classes = Vec::new();
        for (id, key) in keys.iter().enumerate() {
            let class = &file.classes[*key];
            lookup.add_class(id, &class.names, &class.atc, &class.snomed);
            classes.push(Class {
                key: (*key).clone(),
                name: class.name.clone(),
                cross_reactive: class.cross_reactive,
                duplicate: class.duplicate,
            });
        }
        let mut ingredients = Vec::new();
        let mut ids: HashMap<&str, IngredientId> = HashMap::new();
        for (id, ingredient) in file.ingredients.iter().enumerate() {
            let at = || format!("ingredient {:?}", ingredient.name);
            ensure!(ids.insert(&ingredient.name, id).is_none(), "{} is there twice", at());
            let known = ingredient.classes.iter().map(|key| {
                let id = class_ids.get(key.as_str()).copied();
                id.with_context(|| format!("{}: there is no class {key:?}", at()))
            });
            let names = [&ingredient.name].into_iter().chain(&ingredient.names);
            lookup
                .add_ingredient(id, names, &ingredient.rxnorm, &ingredient.atc)
                .with_context(at)?;
            let most = ingredient.most.as_deref().map(|most| {
                let parts = most.split_once(' ').filter(|(amount, _)| amount.parse::<f64>().is_ok());
                parts.with_context(|| format!("{}: {most:?} is not an amount and a unit", at()))
            });
            ingredients.push(Ingredient {
                name: ingredient.name.clone(),
                classes: known.collect::<Result<_>>()?,
                most: most
                    .transpose()?
                    .map(|(amount, unit)| (amount.to_owned(), unit.to_owned())),
            });
        }
        let side = |name: &str| match name.strip_prefix('@') {
            Some(key) => class_ids.get(key).map(|id| Side::Class(*id)),
            None => ids.get(name).map(|id| Side::Ingredient(*id)),
        };
        let read = |list: Vec<FileInteraction>| -> Result<Vec<Interaction>> {
            let read = list.into_iter().map(|fact| {
                let [a, b] = &fact.between;
                let (Some(left), Some(right)) = (side(a), side(b)) else {
                    bail!("interaction between {a:?} and {b:?}: one of them is unknown");
                };
                ensure!(
                    !fact.source.is_empty(),
                    "interaction between {a:?} and {b:?}: it has no source"
                );
                Ok(Interaction {
                    between: [left, right],
                    severity: fact.severity,
                    effect: fact.effect,
                    mechanism: fact.mechanism,
                    source: fact.source,
                })
            });
            read.collect()
        };
        Ok(Formulary {
            name: file.name,
            version: file.version,
            interactions: read(file.interactions)?,
            cross_reactions: read(file.cross_reactions)?,
            ingredients,
            classes,
            lookup,
        })
    }

    pub fn ingredient(&self, id: IngredientId) -> &Ingredient {
        &self.ingredients[id]
    }

    pub fn class(&self, id: ClassId) -> &Class {
        &self.classes[id]
    }

    /// The worst that is known of two ingredients together.
    pub fn interaction(&self, a: IngredientId, b: IngredientId) -> Option<&Interaction> {
        let met = self.interactions.iter().filter(|fact| self.is_between(fact, a, b));
        met.max_by_key(|fact| fact.severity)
    }

    /// What is known of an allergy to one and a reaction to the other.
    pub fn cross_reaction(&self, a: IngredientId, b: IngredientId) -> Option<&Interaction> {
        let met = self.cross_reactions.iter().filter(|fact| self.is_between(fact, a, b));
        met.max_by_key(|fact| fact.severity)
    }

    /// The same where only the class is known that somebody is allergic to.
    pub fn cross_reaction_of_class(&self, class: ClassId, b: IngredientId) -> Option<&Interaction> {
        let mut facts = self.cross_reactions.iter();
        facts.find(|fact| {
            let [left, right] = fact.between;
            (left == Side::Class(class) && self.is_on(right, b)) || (right == Side::Class(class) && self.is_on(left, b))
        })
    }

    fn is_between(&self, fact: &Interaction, a: IngredientId, b: IngredientId) -> bool {
        let [left, right] = fact.between;
        (self.is_on(left, a) && self.is_on(right, b)) || (self.is_on(left, b) && self.is_on(right, a))
    }

    fn is_on(&self, side: Side, id: IngredientId) -> bool {
        match side {
            Side::Ingredient(ingredient) => ingredient == id,
            Side::Class(class) => self.ingredients[id].classes.contains(&class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(formulary: &Formulary, name: &str) -> IngredientId {
        let found = formulary
            .ingredients
            .iter()
            .position(|ingredient| ingredient.name == name);
        found.unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn the_built_in_one_is_sound_and_names_a_source_for_all_it_says() {
        let formulary = Formulary::built_in();
        let high = formulary
            .interactions
            .iter()
            .filter(|fact| fact.severity == Severity::High);
        assert!(high.count() >= 60);
        for fact in formulary.interactions.iter().chain(&formulary.cross_reactions) {
            assert!(fact.effect.ends_with('.') && !fact.source.is_empty(), "{fact:?}");
        }
        assert!(formulary.interactions.iter().all(|fact| fact.mechanism.is_some()));
        // Nothing is said of an ingredient alone, by which every prescription of it would be doubted.
        for (index, fact) in formulary.interactions.iter().enumerate() {
            let [a, b] = fact.between;
            assert!(a != b || matches!(a, Side::Class(_)), "{index}");
        }
    }

    #[test]
    fn facts_about_a_class_hold_for_all_of_it_and_the_worst_counts() {
        let formulary = Formulary::built_in();
        let severity = |a: &str, b: &str| {
            let (a, b) = (id(&formulary, a), id(&formulary, b));
            let found = formulary.interaction(a, b).map(|fact| fact.severity);
            assert_eq!(found, formulary.interaction(b, a).map(|fact| fact.severity));
            found
        };
        assert_eq!(severity("warfarin", "naproxen"), Some(Severity::High));
        assert_eq!(severity("sildenafil", "isosorbide mononitrate"), Some(Severity::High));
        assert_eq!(severity("simvastatin", "clarithromycin"), Some(Severity::High));
        // Both prolong QT, which is moderate; together with one more fact it is high.
        assert_eq!(severity("ondansetron", "methadone"), Some(Severity::Moderate));
        assert_eq!(severity("pimozide", "clarithromycin"), Some(Severity::High));
        assert_eq!(severity("amoxicillin", "paracetamol"), None);
        assert_eq!(severity("pravastatin", "clarithromycin"), None);
    }

    #[test]
    fn a_file_with_a_fault_says_where() {
        let file = |part: &str| {
            let text = format!(
                r#"{{"name": "x", "version": "1", "about": "", "classes": {{"c": {{"name": "c"}}}}, {part},
                    "interactions": [{{"between": ["a", "b"], "severity": "high", "effect": "E.", "source": "S"}}],
                    "crossReactions": []}}"#
            );
            format!("{:#}", Formulary::parse(&text).unwrap_err())
        };
        assert!(file(r#""ingredients": [{"name": "a"}]"#).contains(r#"between "a" and "b": one of them is unknown"#));
        assert!(file(r#""ingredients": [{"name": "a"}, {"name": "a"}]"#).contains("twice"));
        assert!(file(r#""ingredients": [{"name": "a", "classes": ["d"]}]"#).contains(r#"no class "d""#));
        assert!(file(r#""ingredients": [{"name": "a", "most": "much"}]"#).contains("not an amount"));
        assert!(file(r#""ingredients": [{"name": "a", "dose": 1}]"#).contains("unknown field"));
        assert!(
            file(r#""ingredients": [{"name": "a", "rxnorm": ["1"]}, {"name": "b", "rxnorm": ["1"]}]"#).contains("1")
        );
    }
}
