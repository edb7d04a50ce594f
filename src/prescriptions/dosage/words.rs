//! What routes, units and moments are called in English.

use serde_json::Value;

use crate::prescriptions::concept;
use crate::prescriptions::names::SNOMED;

/// A way into or onto the body: its code in SNOMED CT (those of FHIR's value set), other names for it, the verb, and the end
/// of "take it …".
struct Route {
    code: &'static str,
    names: &'static [&'static str],
    verb: &'static str,
    way: &'static str,
}

const ROUTES: [Route; 15] = [
    route("26643006", &["oral", "by mouth", "po"], "Take", "by mouth"),
    route("37839007", &["sublingual"], "Put", "under the tongue"),
    route("54471007", &["buccal"], "Put", "inside the cheek"),
    route("6064005", &["topical"], "Apply", "to the skin"),
    route("45890007", &["transdermal"], "Apply", "to the skin"),
    route("447694001", &["respiratory", "inhalation", "inhaled"], "Inhale", ""),
    route("46713006", &["nasal"], "Use", "in the nose"),
    route("54485002", &["ophthalmic"], "Put", "into the eye"),
    route("10547007", &["otic", "aural"], "Put", "into the ear"),
    route("37161004", &["rectal", "per rectum"], "Insert", "into the rectum"),
    route("16857009", &["vaginal", "per vagina"], "Insert", "into the vagina"),
    route("34206005", &["subcutaneous"], "Inject", "under the skin"),
    route("78421000", &["intramuscular"], "Inject", "into a muscle"),
    route("47625008", &["intravenous"], "Give", "into a vein"),
    route("419874009", &["submucosal"], "Inject", "under the mucosa"),
];

const fn route(code: &'static str, names: &'static [&'static str], verb: &'static str, way: &'static str) -> Route {
    Route { code, names, verb, way }
}

fn route_of(dosage: &Value) -> Option<&'static Route> {
    let concept = &dosage["route"];
    let by_code = ROUTES
        .iter()
        .find(|route| concept::codes(concept, SNOMED).any(|code| code == route.code));
    by_code.or_else(|| {
        let said = concept::words(concept)?.to_lowercase();
        let name = said.trim().trim_end_matches(" route").trim_end_matches(" use");
        ROUTES.iter().find(|route| route.names.contains(&name))
    })
}

/// `Take`, or how the dosage calls it.
pub fn verb(dosage: &Value, unit: Option<&str>) -> String {
    if let Some(method) = concept::words(&dosage["method"]) {
        // SNOMED CT says "Swallow - dosing instruction imperative".
        return method.split(" - ").next().unwrap_or(method).trim().to_owned();
    }
    if let Some(route) = route_of(dosage) {
        return route.verb.to_owned();
    }
    let by_unit = match unit.map(|unit| unit.rsplit(' ').next().unwrap_or(unit)) {
        Some("puff" | "puffs" | "inhalation" | "inhalations") => "Inhale",
        Some("patch" | "patches" | "application" | "applications") => "Apply",
        Some("suppository" | "suppositories" | "pessary" | "pessaries") => "Insert",
        Some("drop" | "drops" | "spray" | "sprays") | None => "Use",
        Some(_) => "Take",
    };
    by_unit.to_owned()
}

/// `by mouth`, `into the left eye`, or the route in its own words.
pub fn way(dosage: &Value) -> Option<String> {
    let site = concept::words(&dosage["site"]).map(str::trim);
    let known = route_of(dosage).map(|route| route.way);
    let said = concept::words(&dosage["route"]);
    match (known.filter(|way| !way.is_empty()), site) {
        (Some(way), None) => Some(way.to_owned()),
        // "into the eye" becomes "into the left eye".
        (Some(way), Some(site)) => match way.split_once(" the ") {
            Some((preposition, _)) => Some(format!("{preposition} the {}", site.trim_start_matches("the "))),
            None => Some(format!("{way} ({site})")),
        },
        (None, site) => {
            let said = said.filter(|_| known.is_none());
            let route = said.map(|said| format!("({said})"));
            let site = site.map(|site| format!("({site})"));
            let both: Vec<String> = route.into_iter().chain(site).collect();
            (!both.is_empty()).then(|| both.join(" "))
        }
    }
}

/// Things that are counted, with their plurals.
const COUNTED: [(&str, &str); 34] = [
    ("tablet", "tablets"),
    ("capsule", "capsules"),
    ("drop", "drops"),
    ("puff", "puffs"),
    ("patch", "patches"),
    ("suppository", "suppositories"),
    ("pessary", "pessaries"),
    ("sachet", "sachets"),
    ("spray", "sprays"),
    ("application", "applications"),
    ("ampoule", "ampoules"),
    ("vial", "vials"),
    ("lozenge", "lozenges"),
    ("teaspoon", "teaspoons"),
    ("tablespoon", "tablespoons"),
    ("spoonful", "spoonfuls"),
    ("unit", "units"),
    ("dose", "doses"),
    ("inhalation", "inhalations"),
    ("injection", "injections"),
    ("pen", "pens"),
    ("syringe", "syringes"),
    ("piece", "pieces"),
    ("strip", "strips"),
    ("film", "films"),
    ("ring", "rings"),
    ("enema", "enemas"),
    ("pump", "pumps"),
    ("pack", "packs"),
    ("bottle", "bottles"),
    ("tube", "tubes"),
    ("box", "boxes"),
    ("inhaler", "inhalers"),
    ("microgram", "micrograms"),
];

/// What a unit is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    one: String,
    many: String,
    /// Whether there are halves of it: "half a tablet".
    pub is_thing: bool,
}

impl Unit {
    /// Of a Quantity: its `unit`, else its `code`.
    pub fn of(quantity: &Value) -> Option<Unit> {
        let said = quantity["unit"].as_str().map(str::trim).filter(|unit| !unit.is_empty());
        let code = quantity["code"].as_str().filter(|code| *code != "1");
        Some(Unit::named(said.or(code)?))
    }

    fn named(name: &str) -> Unit {
        let annotation = name.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let name = annotation.unwrap_or(name).trim_end_matches("(s)");
        let fixed = |text: &str| Unit {
            one: text.to_owned(),
            many: text.to_owned(),
            is_thing: false,
        };
        let pair = |one: &str, many: &str| Unit {
            one: one.to_owned(),
            many: many.to_owned(),
            is_thing: false,
        };
        match name {
            "ug" | "mcg" | "µg" | "μg" => return pair("microgram", "micrograms"),
            "ng" => return pair("nanogram", "nanograms"),
            "U" | "u" => return pair("unit", "units"),
            "[iU]" | "IU" | "iu" | "I.U." => return pair("international unit", "international units"),
            "[drp]" | "gtt" => return Unit::named("drop"),
            "ml" | "cc" => return fixed("mL"),
            "l" => return fixed("L"),
            _ => {}
        }
        if let Some((one, many)) = span(name) {
            return pair(one, many);
        }
        let (before, last) = name
            .rsplit_once(' ')
            .map_or(("", name), |(before, last)| (before, last));
        let lower = last.to_lowercase();
        let counted = COUNTED.iter().find(|(one, many)| lower == *one || lower == *many);
        match counted {
            Some((one, many)) => {
                let with = |word: &str| format!("{before} {word}").trim_start().to_owned();
                Unit {
                    one: with(one),
                    many: with(many),
                    is_thing: !matches!(*one, "unit" | "microgram"),
                }
            }
            None => fixed(name),
        }
    }

    /// `tablet` of one and of less, `tablets` of others.
    pub fn for_number(&self, is_one: bool) -> &str {
        if is_one { &self.one } else { &self.many }
    }

    pub fn same(&self, other: &Unit) -> bool {
        self.one == other.one
    }
}

/// A span of time by its code in UCUM or R4's `units-of-time`.
pub fn span(code: &str) -> Option<(&'static str, &'static str)> {
    Some(match code {
        "s" => ("second", "seconds"),
        "min" => ("minute", "minutes"),
        "h" | "hour" | "hours" => ("hour", "hours"),
        "d" | "day" | "days" => ("day", "days"),
        "wk" | "week" | "weeks" => ("week", "weeks"),
        "mo" | "month" | "months" => ("month", "months"),
        "a" | "year" | "years" => ("year", "years"),
        _ => return None,
    })
}

/// A moment that a dose is tied to (<https://hl7.org/fhir/R4/valueset-event-timing.html>), and whether there are several of it
/// in a day: meals, of which "after a meal" names no particular one.
pub fn moment(code: &str) -> Option<(&'static str, bool)> {
    Some(match code {
        "MORN" => ("in the morning", false),
        "MORN.early" => ("early in the morning", false),
        "MORN.late" => ("late in the morning", false),
        "NOON" => ("at noon", false),
        "AFT" => ("in the afternoon", false),
        "AFT.early" => ("early in the afternoon", false),
        "AFT.late" => ("late in the afternoon", false),
        "EVE" => ("in the evening", false),
        "EVE.early" => ("early in the evening", false),
        "EVE.late" => ("late in the evening", false),
        "NIGHT" => ("at night", false),
        "PHS" => ("after falling asleep", false),
        "HS" => ("at bedtime", false),
        "WAKE" => ("on waking up", false),
        "C" => ("with a meal", true),
        "CM" => ("with breakfast", false),
        "CD" => ("with lunch", false),
        "CV" => ("with dinner", false),
        "AC" => ("before a meal", true),
        "ACM" => ("before breakfast", false),
        "ACD" => ("before lunch", false),
        "ACV" => ("before dinner", false),
        "PC" => ("after a meal", true),
        "PCM" => ("after breakfast", false),
        "PCD" => ("after lunch", false),
        "PCV" => ("after dinner", false),
        _ => return None,
    })
}

pub fn weekday(code: &str) -> Option<&'static str> {
    Some(match code {
        "mon" => "Monday",
        "tue" => "Tuesday",
        "wed" => "Wednesday",
        "thu" => "Thursday",
        "fri" => "Friday",
        "sat" => "Saturday",
        "sun" => "Sunday",
        _ => return None,
    })
}

/// `a, b and c`
pub fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
