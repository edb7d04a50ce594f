//! Which ingredients a CodeableConcept names: by its codes (RxNorm's of ingredients, ATC's), and by its words, since the
//! codes of whole products are known by their names alone. What either of them tells counts.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, bail};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::{ClassId, Formulary, IngredientId};
use crate::prescriptions::concept;
use crate::prescriptions::names::{ATC, RXNORM, SNOMED};

#[derive(Debug, Default)]
pub struct Lookup {
    rxnorm: HashMap<String, IngredientId>,
    atc: HashMap<String, Vec<IngredientId>>,
    /// Words of a name, joined by single spaces.
    names: HashMap<String, Vec<IngredientId>>,
    class_names: HashMap<String, ClassId>,
    class_snomed: HashMap<String, ClassId>,
    class_atc: Vec<(String, ClassId)>,
    /// Words of the longest name.
    longest: usize,
}

/// What a concept names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub ingredients: BTreeSet<IngredientId>,
    /// Classes that are named themselves: "penicillins".
    pub classes: BTreeSet<ClassId>,
}

/// What is known of a medicine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    pub ingredients: BTreeSet<IngredientId>,
    /// Those of the ingredients, and those that its ATC code lies in.
    pub classes: BTreeSet<ClassId>,
}

impl Recognised {
    /// Whether nothing is known of it, so that no check says anything about it.
    pub fn is_unknown(&self) -> bool {
        self.ingredients.is_empty()
    }
}

impl Lookup {
    pub fn add_class(&mut self, id: ClassId, names: &[String], atc: &[String], snomed: &[String]) {
        for name in names {
            let key = self.note(name);
            self.class_names.insert(key, id);
        }
        self.class_atc.extend(atc.iter().map(|prefix| (prefix.clone(), id)));
        self.class_snomed.extend(snomed.iter().map(|code| (code.clone(), id)));
    }

    /// # Errors
    /// When another one has the same code of RxNorm.
    pub fn add_ingredient<'n>(
        &mut self,
        id: IngredientId,
        names: impl Iterator<Item = &'n String>,
        rxnorm: &[String],
        atc: &[String],
    ) -> Result<()> {
        for name in names {
            let key = self.note(name);
            self.names.entry(key).or_default().push(id);
        }
        for code in rxnorm {
            if self.rxnorm.insert(code.clone(), id).is_some() {
                bail!("another ingredient has the code {code} of RxNorm");
            }
        }
        for code in atc {
            self.atc.entry(code.clone()).or_default().push(id);
        }
        Ok(())
    }

    fn note(&mut self, name: &str) -> String {
        let words = words(name);
        self.longest = self.longest.max(words.len());
        words.join(" ")
    }

    fn named(&self, concept: &Value) -> Named {
        let mut named = Named::default();
        named
            .ingredients
            .extend(concept::codes(concept, RXNORM).filter_map(|code| self.rxnorm.get(code)));
        for code in concept::codes(concept, ATC) {
            named.ingredients.extend(self.atc.get(code).into_iter().flatten());
            // A code that is a class itself, or lies in one.
            named.classes.extend(self.classes_of(code));
        }
        named
            .classes
            .extend(concept::codes(concept, SNOMED).filter_map(|code| self.class_snomed.get(code)));
        for text in concept::all_words(concept) {
            let words = words(text);
            for start in 0..words.len() {
                for length in 1..=self.longest.min(words.len() - start) {
                    let name = words[start..start + length].join(" ");
                    named.ingredients.extend(self.names.get(&name).into_iter().flatten());
                    named.classes.extend(self.class_names.get(&name));
                }
            }
        }
        named
    }

    fn classes_of<'l>(&'l self, code: &'l str) -> impl Iterator<Item = ClassId> + 'l {
        let met = self
            .class_atc
            .iter()
            .filter(move |(prefix, _)| code.starts_with(prefix.as_str()));
        met.map(|(_, class)| *class)
    }
}

impl Formulary {
    /// What a concept names: an ingredient, or a class as such.
    pub fn named(&self, concept: &Value) -> Named {
        self.lookup.named(concept)
    }

    /// What is known of a medicine by its concept.
    pub fn recognise(&self, concept: &Value) -> Recognised {
        let Named {
            ingredients,
            mut classes,
        } = self.named(concept);
        for ingredient in &ingredients {
            classes.extend(&self.ingredients[*ingredient].classes);
        }
        Recognised { ingredients, classes }
    }
}

/// Its words in small letters without accents, apostrophes kept: `st john's wort`.
fn words(text: &str) -> Vec<String> {
    let plain: String = text
        .nfkd()
        .filter(|c| !unicode_normalization::char::is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| if c == '’' { '\'' } else { c })
        .collect();
    let words = plain.split(|c: char| !(c.is_alphanumeric() || c == '\''));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(concept: Value) -> Vec<String> {
        let formulary = Formulary::built_in();
        let found = formulary.recognise(&concept);
        let ingredients = found
            .ingredients
            .iter()
            .map(|id| formulary.ingredient(*id).name.clone());
        ingredients.collect()
    }

    #[test]
    fn medicines_are_known_by_codes_and_by_words() {
        let coding = |system: &str, code: &str| json!({"coding": [{"system": system, "code": code}]});
        assert_eq!(names(coding(RXNORM, "11289")), ["warfarin"]);
        assert_eq!(names(coding(ATC, "C10AA01")), ["simvastatin"]);
        assert_eq!(names(coding(ATC, "J01CR02")), ["amoxicillin", "clavulanic acid"]);
        assert_eq!(names(json!({"text": "Amoxicillin 500 mg capsules"})), ["amoxicillin"]);
        assert_eq!(
            names(json!({"text": "AMOXICILLIN/CLAVULANATE 875-125"})),
            ["amoxicillin", "clavulanic acid"]
        );
        assert_eq!(
            names(json!({"text": "Acetylsalicylic  acid 100mg"})),
            ["acetylsalicylic acid"]
        );
        assert_eq!(names(json!({"text": "aspirin"})), ["acetylsalicylic acid"]);
        assert_eq!(names(json!({"text": "St John’s wort"})), ["St. John's wort"]);
        // Words within words are others.
        assert_eq!(names(json!({"text": "Lithiumoxide paste"})), Vec::<String>::new());
        assert_eq!(names(json!({"text": "Something new"})), Vec::<String>::new());
        // The code of a whole product is known by its name.
        assert_eq!(
            names(
                json!({"coding": [{"system": RXNORM, "code": "999999999", "display": "Ibuprofen 400 MG Oral Tablet"}]})
            ),
            ["ibuprofen"]
        );
    }

    #[test]
    fn classes_are_known_by_name_and_by_the_code_they_begin() {
        let formulary = Formulary::built_in();
        let classes = |concept: Value| -> Vec<String> {
            let named = formulary.named(&concept);
            named
                .classes
                .iter()
                .map(|id| formulary.class(*id).key.clone())
                .collect()
        };
        assert_eq!(classes(json!({"text": "Penicillins"})), ["penicillin"]);
        assert_eq!(
            classes(json!({"text": "allergy to sulfa drugs"})),
            ["sulfonamide-antibiotic"]
        );
        assert_eq!(
            classes(json!({"coding": [{"system": ATC, "code": "J01C"}]})),
            ["penicillin"]
        );
        // A penicillin of which nothing else is known here.
        let unknown = formulary.recognise(&json!({"coding": [{"system": ATC, "code": "J01CA17"}]}));
        assert!(unknown.is_unknown() && unknown.classes.len() == 1);
        assert_eq!(
            classes(json!({"coding": [{"system": SNOMED, "code": "764146007"}]})),
            ["penicillin"]
        );
    }
}
