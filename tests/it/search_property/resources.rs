//! Random resources, made from R4's element model: any type, any element, any choice of `value[x]`.
//!
//! What searches compare is drawn from small pools, so that much of it coincides: with each other, with what is searched
//! for, and nearly, by case, accent, precision, unit or time zone. Resources are valid, and rarely make sense.

use fastrand::Rng;
use medconsult::knowledge::definitions::{
    BindingStrength, Definitions, ElementDefinition, ElementType, TypeDefinition, TypeKind,
};
use serde_json::{Map, Value, json};

/// The FHIR base of the server that is tested.
pub const BASE: &str = "http://localhost/fhir";

/// The types that every set of resources has: those that a practice searches for, one with a number (RiskAssessment), and
/// one that forms a hierarchy (Location).
const TYPES: [&str; 10] = [
    "Patient",
    "Practitioner",
    "Organization",
    "Location",
    "Encounter",
    "Observation",
    "Condition",
    "MedicationRequest",
    "RiskAssessment",
    "ValueSet",
];
/// Further types, drawn from all of R4.
const MORE_TYPES: usize = 4;
/// Types that are no records: their own rules of storage and search are tested elsewhere.
const UNUSUAL: [&str; 3] = ["Binary", "Bundle", "Parameters"];
/// Ids of each type. Those from [`IDS_STORED`] on are never stored: references to them lead nowhere.
const IDS: usize = 30;
const IDS_STORED: usize = 26;

#[rustfmt::skip]
const STRINGS: [&str; 24] = [
    "Müller", "Mu\u{308}ller", "MULLER", "Mueller", "Ann Marie", "Ann  marie", "ann", "Anna", "O'Brien", "obrien",
    "García-Márquez", "Garcia Marquez", "Łódź", "São Paulo", "sao", "a,b", "x|y", "5$", "back\\slash", "%", "_",
    "Ωμέγα", "0042", "日本",
];
const CODES: [&str; 6] = ["8480-6", "A", "a", "final", "x,y", "b|c"];
const SYSTEMS: [&str; 4] = ["http://loinc.org", "urn:s", "urn:S", "http://snomed.info/sct"];
const IDENTIFIERS: [&str; 4] = ["MRN-1", "mrn-1", "7", "Ä"];
#[rustfmt::skip]
const URIS: [&str; 6] = [
    "http://x.org/a", "http://x.org/A", "http://x.org/a/b", "http://x.org/a|2.0", "urn:oid:1.2.3", "http://x.org/é",
];
#[rustfmt::skip]
const DATES: [&str; 10] = [
    "2013", "2013-01", "2013-02", "2012-02-29", "2013-01-14", "2013-01-15", "2013-12-31", "1970-01-01",
    "9999-12-31", "2026-02-28",
];
#[rustfmt::skip]
const INSTANTS: [&str; 7] = [
    "2013-01-14T10:00:00Z", "2013-01-14T11:00:00+01:00", "2013-01-14T10:00:00.5Z", "2013-01-14T10:00:00.123456Z",
    "2013-01-14T23:30:00-05:00", "2013-12-31T23:59:59Z", "2016-12-31T23:59:59.999Z",
];
#[rustfmt::skip]
const NUMBERS: [&str; 14] = [
    "5", "5.0", "5.4", "5.40", "5.04", "0.0054", "100", "99.5", "100.5", "1e2", "-3", "0", "0.5", "5400",
];
/// Unit, system and code.
const UNITS: [(&str, &str, &str); 7] = [
    ("mg", "http://unitsofmeasure.org", "mg"),
    ("gram", "http://unitsofmeasure.org", "g"),
    ("", "http://unitsofmeasure.org", "kg"),
    ("mm Hg", "http://unitsofmeasure.org", "mm[Hg]"),
    ("tablet", "urn:units", "TAB"),
    ("mg", "", ""),
    ("", "", ""),
];

/// One step in the life of a set of resources.
#[derive(Clone, Debug)]
pub enum Change {
    /// A resource is created, or gets another version.
    Put(Value),
    Delete {
        resource_type: &'static str,
        id: String,
    },
}

impl Change {
    /// Type and id of the resource that changes.
    pub fn concerns(&self) -> (String, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self {
            Change::Put(resource) => (text(&resource["resourceType"]), text(&resource["id"])),
            Change::Delete { resource_type, id } => ((*resource_type).to_owned(), id.clone()),
        }
    }
}

/// What happens to a random set of resources: a few hundred are stored, some of which change or go.
pub fn random_history(rng: &mut Rng) -> Vec<Change> {
    let generator = Generator::new(rng);
    let mut changes = Vec::new();
    for definition in &generator.types {
        for n in 0..IDS_STORED {
            changes.push(Change::Put(generator.resource(rng, definition, n)));
        }
    }
    rng.shuffle(&mut changes);
    for _ in 0..changes.len() / 6 {
        let (definition, n) = (generator.random_type(rng), rng.usize(0..IDS_STORED));
        changes.push(if rng.u8(0..4) == 0 {
            let (resource_type, id) = (definition.name.as_str(), id(n));
            Change::Delete { resource_type, id }
        } else {
            Change::Put(generator.resource(rng, definition, n))
        });
    }
    changes
}

fn id(n: usize) -> String {
    // Ids differ by case, too.
    format!("{}{}", if n.is_multiple_of(2) { 'i' } else { 'I' }, n / 2)
}

struct Generator {
    types: Vec<&'static TypeDefinition>,
}

impl Generator {
    fn new(rng: &mut Rng) -> Generator {
        let definitions = Definitions::r4();
        let mut types: Vec<_> = TYPES
            .iter()
            .filter_map(|name| definitions.resource_type(name))
            .collect();
        let others: Vec<_> = definitions
            .resource_types()
            .filter(|ty| !TYPES.contains(&ty.name.as_str()) && !UNUSUAL.contains(&ty.name.as_str()))
            .collect();
        types.extend(rng.choose_multiple(others, MORE_TYPES));
        Generator { types }
    }

    fn random_type(&self, rng: &mut Rng) -> &'static TypeDefinition {
        self.types[rng.usize(0..self.types.len())]
    }

    fn resource(&self, rng: &mut Rng, definition: &'static TypeDefinition, n: usize) -> Value {
        let mut resource = Map::new();
        resource.insert("resourceType".to_owned(), json!(definition.name));
        resource.insert("id".to_owned(), json!(id(n)));
        if rng.bool() {
            resource.insert("meta".to_owned(), self.meta(rng));
        }
        self.fill(rng, &mut resource, definition, 0);
        Value::Object(resource)
    }

    fn meta(&self, rng: &mut Rng) -> Value {
        let mut meta = json!({"tag": [self.coding(rng)]});
        if rng.bool() {
            meta["security"] = json!([self.coding(rng)]);
        }
        if rng.bool() {
            meta["profile"] = json!([pick(rng, &URIS)]);
        }
        if rng.bool() {
            meta["source"] = json!(pick(rng, &URIS));
        }
        meta
    }

    /// Adds random elements to an object: always those that must be there, the others the rarer the deeper it lies.
    fn fill(&self, rng: &mut Rng, object: &mut Map<String, Value>, definition: &'static TypeDefinition, depth: usize) {
        for element in &definition.elements {
            if is_told_elsewhere(element) || element.max == Some(0) {
                continue;
            }
            let chance = [0.6, 0.4, 0.15, 0.0][depth.min(3)];
            if element.min == 0 && rng.f64() >= chance {
                continue;
            }
            let ty = &element.types[rng.usize(0..element.types.len())];
            let definition = Definitions::r4().get(ty.type_id);
            let name = if element.is_choice {
                element.choice_property(&definition.name)
            } else {
                element.name.clone()
            };
            let is_primitive = definition.kind == TypeKind::Primitive;
            if is_primitive && !element.is_bare && !element.is_array && rng.u8(0..30) == 0 {
                // Known to be unknown.
                let reason = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
                object.insert(
                    format!("_{name}"),
                    json!({"extension": [{"url": reason, "valueCode": "unknown"}]}),
                );
                continue;
            }
            let value = if element.is_array {
                let count = (1 + rng.usize(0..3))
                    .min(element.max.map_or(3, |max| max as usize))
                    .max(element.min as usize);
                (0..count).map(|_| self.value(rng, element, ty, depth)).collect()
            } else {
                self.value(rng, element, ty, depth)
            };
            object.insert(name, value);
        }
    }

    fn value(
        &self,
        rng: &mut Rng,
        element: &'static ElementDefinition,
        ty: &'static ElementType,
        depth: usize,
    ) -> Value {
        let definition = Definitions::r4().get(ty.type_id);
        match definition.name.as_str() {
            "boolean" => json!(rng.bool()),
            "integer" | "unsignedInt" | "positiveInt" => json!(pick(rng, &[1, 5, 100])),
            "decimal" => number(rng),
            "string" | "markdown" => json!(pick(rng, &STRINGS)),
            "code" => json!(code(rng, element)),
            "id" => json!(id(rng.usize(0..IDS))),
            "uri" | "url" => json!(pick(rng, &URIS)),
            "canonical" if rng.u8(0..4) == 0 => json!(self.literal(rng, ty)),
            "canonical" => json!(pick(rng, &URIS)),
            "oid" => json!("urn:oid:1.2.3"),
            "uuid" => json!("urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"),
            "base64Binary" => json!("aGVsbG8="),
            "date" => json!(pick(rng, &DATES)),
            "dateTime" => json!(date_time(rng)),
            "instant" => json!(pick(rng, &INSTANTS)),
            "time" => json!("10:00:00"),
            "Period" => period(rng),
            "Coding" => bound_coding(rng, element).unwrap_or_else(|| self.coding(rng)),
            "CodeableConcept" => match bound_coding(rng, element) {
                Some(coding) => json!({"coding": [coding]}),
                None => self.codeable_concept(rng),
            },
            "Identifier" => self.identifier(rng),
            "Reference" => self.reference(rng, ty),
            "Money" => json!({"value": number(rng), "currency": pick(rng, &["EUR", "USD"])}),
            "Range" => range(rng),
            "SampledData" => {
                json!({"origin": quantity(rng, false), "period": 10, "dimensions": 1, "factor": number(rng),
                "data": pick(rng, &["1 2 3", "E U L", "5 -3 E 100"])})
            }
            "Narrative" => {
                json!({"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">text</div>"})
            }
            "Meta" => self.meta(rng),
            name if name == "Quantity" || definition.base == Definitions::r4().type_id("Quantity") => {
                quantity(rng, element.profiles.is_empty())
            }
            _ => {
                let mut object = Map::new();
                self.fill(rng, &mut object, definition, depth + 1);
                if object.is_empty() {
                    // An object cannot be empty, but an id says nothing.
                    object.insert("id".to_owned(), json!("x"));
                }
                Value::Object(object)
            }
        }
    }

    fn coding(&self, rng: &mut Rng) -> Value {
        match rng.u8(0..8) {
            0 => json!({"code": pick(rng, &CODES)}),
            1 => json!({"display": pick(rng, &STRINGS)}),
            2 => json!({"system": pick(rng, &SYSTEMS), "display": pick(rng, &STRINGS)}),
            _ => json!({"system": pick(rng, &SYSTEMS), "code": pick(rng, &CODES), "display": pick(rng, &STRINGS)}),
        }
    }

    fn codeable_concept(&self, rng: &mut Rng) -> Value {
        let codings: Vec<Value> = (0..rng.usize(0..3)).map(|_| self.coding(rng)).collect();
        match codings.is_empty() {
            true => json!({"text": pick(rng, &STRINGS)}),
            false if rng.bool() => json!({"coding": codings, "text": pick(rng, &STRINGS)}),
            false => json!({"coding": codings}),
        }
    }

    fn identifier(&self, rng: &mut Rng) -> Value {
        let mut identifier = match rng.u8(0..6) {
            0 => json!({"value": pick(rng, &IDENTIFIERS)}),
            1 => json!({"system": pick(rng, &SYSTEMS)}),
            _ => json!({"system": pick(rng, &SYSTEMS), "value": pick(rng, &IDENTIFIERS)}),
        };
        if rng.bool() {
            identifier["type"] = self.codeable_concept(rng);
        }
        identifier
    }

    fn reference(&self, rng: &mut Rng, ty: &ElementType) -> Value {
        match rng.u8(0..12) {
            0 => json!({"display": pick(rng, &STRINGS)}),
            1 => json!({"identifier": self.identifier(rng)}),
            2 => json!({"reference": self.literal(rng, ty), "identifier": self.identifier(rng)}),
            _ => json!({"reference": self.literal(rng, ty)}),
        }
    }

    /// A literal reference to a type that is allowed, if possible to one of which there are resources.
    fn literal(&self, rng: &mut Rng, ty: &ElementType) -> String {
        let definitions = Definitions::r4();
        let allowed = |target: &&'static TypeDefinition| {
            ty.targets.is_empty() || ty.targets.iter().any(|&allowed| definitions.is_a(target.id, allowed))
        };
        let mut targets: Vec<_> = self.types.iter().copied().filter(|target| allowed(target)).collect();
        if targets.is_empty() {
            targets = definitions.resource_types().filter(allowed).collect();
        }
        let relative = format!(
            "{}/{}",
            targets[rng.usize(0..targets.len())].name,
            id(rng.usize(0..IDS))
        );
        match rng.u8(0..10) {
            0 => format!("{BASE}/{relative}"),
            1 => format!("{relative}/_history/1"),
            2 => format!("http://elsewhere.org/fhir/{relative}"),
            _ => relative,
        }
    }
}

/// Elements of all resources and of all elements, which say nothing that is searched for or get their content elsewhere.
fn is_told_elsewhere(element: &ElementDefinition) -> bool {
    let names = [
        "id",
        "meta",
        "implicitRules",
        "language",
        "text",
        "contained",
        "extension",
        "modifierExtension",
        "resource",
    ];
    names.contains(&element.name.as_str()) && element.min == 0
}

pub fn pick<T: Copy>(rng: &mut Rng, pool: &[T]) -> T {
    pool[rng.usize(0..pool.len())]
}

/// A code with its system, of the value set that the element is bound to, if that is known. Of each value set only a few
/// are taken, else hardly two resources would have the same.
fn bound(rng: &mut Rng, element: &'static ElementDefinition) -> Option<&'static (String, String)> {
    let required = element
        .binding
        .as_ref()
        .filter(|binding| binding.strength == BindingStrength::Required)?;
    let codes = Definitions::r4().value_sets.get(&required.value_set)?;
    Some(&codes[rng.usize(0..codes.len().min(3))])
}

fn bound_coding(rng: &mut Rng, element: &'static ElementDefinition) -> Option<Value> {
    bound(rng, element).map(|(system, code)| json!({"system": system, "code": code}))
}

fn code(rng: &mut Rng, element: &'static ElementDefinition) -> &'static str {
    bound(rng, element).map_or_else(|| pick(rng, &["text/plain", "abc"]), |(_, code)| code)
}

fn number(rng: &mut Rng) -> Value {
    serde_json::from_str(pick(rng, &NUMBERS)).expect("the pool holds JSON numbers")
}

fn date_time(rng: &mut Rng) -> &'static str {
    if rng.bool() {
        pick(rng, &DATES)
    } else {
        pick(rng, &INSTANTS)
    }
}

/// With both ends, or open at one.
fn period(rng: &mut Rng) -> Value {
    let (start, end) = (date_time(rng), date_time(rng));
    match rng.u8(0..3) {
        0 => json!({"start": start}),
        1 => json!({"end": end}),
        _ => json!({"start": start.min(end), "end": start.max(end)}),
    }
}

fn range(rng: &mut Rng) -> Value {
    let (low, high) = (quantity(rng, false), quantity(rng, false));
    match rng.u8(0..3) {
        0 => json!({"low": low}),
        1 => json!({"high": high}),
        _ => {
            // Both in one unit, and in order.
            let (mut low, mut end) = (low.clone(), low);
            end["value"] = high["value"].clone();
            if low["value"].as_f64() > end["value"].as_f64() {
                (low, end) = (end, low);
            }
            json!({"low": low, "high": end})
        }
    }
}

fn quantity(rng: &mut Rng, may_compare: bool) -> Value {
    let (unit, system, code) = pick(rng, &UNITS);
    let mut quantity = json!({"value": number(rng)});
    for (name, text) in [("unit", unit), ("system", system), ("code", code)] {
        if !text.is_empty() {
            quantity[name] = json!(text);
        }
    }
    if may_compare && rng.u8(0..5) == 0 {
        quantity["comparator"] = json!(pick(rng, &["<", "<=", ">=", ">"]));
    }
    quantity
}
