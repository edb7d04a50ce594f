//! The official cases for FHIRPath Patch (33) and JSON Patch (16), from FHIR/fhir-test-cases.
//!
//! They are read from `data/patch` in the folder that `MEDCONSULT_SHARED` names, or in `../shared` beside the repository;
//! where that is not there, the tests say so and pass. No case is left out.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::{Patch, json};
use crate::knowledge::definitions::{Definitions, TypeDefinition, TypeKind};

fn read(name: &str) -> Option<String> {
    let shared = match std::env::var_os("MEDCONSULT_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let path = shared.join("data/patch").join(name);
    std::fs::read_to_string(&path).inspect_err(|_| eprintln!("SKIPPED: {} is not there", path.display())).ok()
}

#[test]
fn json_patch() {
    let Some(text) = read("json-patch-tests.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let mut document = case["doc"].clone();
        let outcome = json::parse(case["patch"].clone()).and_then(|patch| json::apply(&patch, &mut document));
        match case.get("expected") {
            Some(expected) => {
                outcome.unwrap_or_else(|error| panic!("{}: {error:?}", case["comment"]));
                assert_eq!(&document, expected, "{}", case["comment"]);
            }
            None => assert_eq!(outcome.unwrap_err().status, 422, "{}", case["comment"]),
        }
    }
}

#[test]
fn fhirpath_patch() {
    let Some(text) = read("fhir-patch-tests.xml") else { return };
    // XML counts both line ends as one; the quick_xml crate leaves that to its callers.
    let tests = Node::parse(&text.replace("\r\n", "\n"));
    let mut failed = Vec::new();
    for case in &tests.children {
        let resource = |name: &str| case.child(name).map(|part| part.children[0].to_resource());
        let mut patched = resource("input").unwrap();
        let diff = resource("diff").unwrap();
        let outcome = Patch::fhirpath(diff)
            .and_then(|patch| patch.apply(&mut patched, Definitions::r4(), Timestamp::UNIX_EPOCH));
        let verdict = match (resource("output"), outcome) {
            (Some(expected), Ok(())) if expected == patched => continue,
            (None, Err(error)) if error.status == 422 => continue,
            (expected, outcome) => format!("{outcome:?}\n  made {patched}\n  want {expected:?}"),
        };
        failed.push(format!("{}: {verdict}", case.attribute("name").unwrap_or_default()));
    }
    assert_eq!(tests.children.len(), 33);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// An XML element.
#[derive(Default)]
struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
    /// The element as it is written, for XHTML.
    source: String,
}

impl Node {
    fn parse(text: &str) -> Node {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<(Node, usize)> = vec![(Node::default(), 0)];
        loop {
            let start = reader.buffer_position() as usize;
            match reader.read_event().unwrap() {
                Event::Start(tag) => open.push((Node::of(&tag), start)),
                Event::Empty(tag) => open.last_mut().unwrap().0.children.push(Node::of(&tag)),
                Event::End(_) => {
                    let (mut node, start) = open.pop().unwrap();
                    node.source = text[start..reader.buffer_position() as usize].to_owned();
                    open.last_mut().unwrap().0.children.push(node);
                }
                Event::Eof => return open.swap_remove(0).0.children.swap_remove(0),
                _ => {}
            }
        }
    }

    fn of(tag: &BytesStart<'_>) -> Node {
        let attributes = tag.attributes().map(|attribute| {
            let attribute = attribute.unwrap();
            let name: &str = attribute.key.as_ref();
            (name.to_owned(), quick_xml::escape::unescape(&attribute.value).unwrap().into_owned())
        });
        let name: &str = tag.name().into_inner();
        Node { name: name.to_owned(), attributes: attributes.collect(), ..Node::default() }
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// FHIR's XML as FHIR's JSON.
    fn to_resource(&self) -> Value {
        let ty = Definitions::r4().resource_type(&self.name).unwrap();
        let mut members = self.to_members(ty);
        members.insert("resourceType".into(), self.name.clone().into());
        Value::Object(members)
    }

    fn to_members(&self, ty: &TypeDefinition) -> Map<String, Value> {
        let mut members = Map::new();
        for name in ["id", "url"] {
            if let Some(value) = self.attribute(name) {
                members.insert(name.into(), value.into());
            }
        }
        for child in &self.children {
            let (element, element_type) = ty.property(&child.name).unwrap();
            let ty = Definitions::r4().get(element_type.type_id);
            let (value, sibling) = child.to_value(ty);
            for (name, half) in [(child.name.clone(), value), (format!("_{}", child.name), sibling)] {
                match members.get_mut(&name) {
                    Some(Value::Array(items)) => items.push(half.unwrap_or_default()),
                    _ if half.is_none() => {}
                    _ if element.is_array => {
                        members.insert(name, Value::Array(vec![half.unwrap()]));
                    }
                    _ => {
                        members.insert(name, half.unwrap());
                    }
                }
            }
        }
        members
    }

    /// Both halves of an element.
    fn to_value(&self, ty: &TypeDefinition) -> (Option<Value>, Option<Value>) {
        if ty.name == "xhtml" {
            // Inside of text both ways to write a quote mean the same; the cases use one here and one there.
            return (Some(self.source.replace("&quot;", "\"").into()), None);
        }
        if ty.kind != TypeKind::Primitive {
            return (Some(Value::Object(self.to_members(ty))), None);
        }
        let value = self.attribute("value").map(|value| match ty.name.as_str() {
            "boolean" | "integer" | "decimal" | "positiveInt" | "unsignedInt" => serde_json::from_str(value).unwrap(),
            _ => value.into(),
        });
        let element = Definitions::r4().get(Definitions::r4().type_id("Element").unwrap());
        let sibling = self.to_members(element);
        (value, (!sibling.is_empty()).then_some(Value::Object(sibling)))
    }
}
