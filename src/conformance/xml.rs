//! FHIR's XML as FHIR's JSON, for suites that publish their cases in XML only.
//!
//! <https://hl7.org/fhir/R4/xml.html>. Enough for test cases that are known to be well-formed; the server itself speaks
//! JSON.

use anyhow::{Context, Result, bail};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use crate::knowledge::definitions::{Definitions, TypeDefinition, TypeKind};

/// An XML element.
#[derive(Debug, Default)]
pub struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
    /// The element as it is written, for XHTML.
    source: String,
}

impl Node {
    /// The root element of a document.
    ///
    /// # Errors
    /// When the text is not well-formed XML.
    pub fn parse(text: &str) -> Result<Node> {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<(Node, usize)> = vec![(Node::default(), 0)];
        loop {
            let start = reader.buffer_position() as usize;
            let closed = match reader.read_event()? {
                Event::Start(tag) => {
                    open.push((Node::of(&tag)?, start));
                    continue;
                }
                Event::Empty(tag) => Node::of(&tag)?,
                Event::End(_) => {
                    let (mut node, start) = open.pop().context("an end tag without a start")?;
                    node.source = text[start..reader.buffer_position() as usize].to_owned();
                    node
                }
                Event::Eof => break,
                _ => continue,
            };
            open.last_mut()
                .context("an end tag without a start")?
                .0
                .children
                .push(closed);
        }
        let (document, _) = open.swap_remove(0);
        document
            .children
            .into_iter()
            .next()
            .context("the document has no element")
    }

    fn of(tag: &BytesStart<'_>) -> Result<Node> {
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute?;
            let value = quick_xml::escape::unescape(&attribute.value)?.into_owned();
            attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        Ok(Node {
            name: tag.name().as_ref().to_owned(),
            attributes,
            ..Node::default()
        })
    }

    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The element as a resource.
    ///
    /// # Errors
    /// When it is no resource type of R4, or holds what that type does not have.
    pub fn to_resource(&self) -> Result<Value> {
        let ty = Definitions::r4()
            .resource_type(&self.name)
            .with_context(|| format!("{} is no type", self.name))?;
        let mut members = self.to_members(ty)?;
        members.insert("resourceType".into(), self.name.clone().into());
        Ok(Value::Object(members))
    }

    fn to_members(&self, ty: &TypeDefinition) -> Result<Map<String, Value>> {
        let mut members = Map::new();
        for name in ["id", "url"] {
            if let Some(value) = self.attribute(name) {
                members.insert(name.into(), value.into());
            }
        }
        for child in &self.children {
            let Some((element, element_type)) = ty.property(&child.name) else {
                bail!("{} has no {}", ty.name, child.name);
            };
            let (value, sibling) = child.to_value(Definitions::r4().get(element_type.type_id))?;
            for (name, half) in [(child.name.clone(), value), (format!("_{}", child.name), sibling)] {
                match (members.get_mut(&name), half) {
                    (Some(Value::Array(items)), half) => items.push(half.unwrap_or_default()),
                    (_, None) => {}
                    (_, Some(half)) if element.is_array => {
                        members.insert(name, Value::Array(vec![half]));
                    }
                    (_, Some(half)) => {
                        members.insert(name, half);
                    }
                }
            }
        }
        Ok(members)
    }

    /// The value of an element and its `_` sibling.
    fn to_value(&self, ty: &TypeDefinition) -> Result<(Option<Value>, Option<Value>)> {
        if ty.name == "xhtml" {
            // Inside of text both ways to write a quote mean the same; the cases use one here and one there.
            return Ok((Some(self.source.replace("&quot;", "\"").into()), None));
        }
        if ty.kind != TypeKind::Primitive {
            return Ok((Some(Value::Object(self.to_members(ty)?)), None));
        }
        let value = match (self.attribute("value"), ty.name.as_str()) {
            (Some(value), "boolean" | "integer" | "decimal" | "positiveInt" | "unsignedInt") => {
                Some(serde_json::from_str(value)?)
            }
            (value, _) => value.map(Value::from),
        };
        let definitions = Definitions::r4();
        let element = definitions.type_id("Element").context("R4 has the type Element")?;
        let sibling = self.to_members(definitions.get(element))?;
        Ok((value, (!sibling.is_empty()).then_some(Value::Object(sibling))))
    }
}
