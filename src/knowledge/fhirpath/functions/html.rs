//! Which XHTML a narrative may hold (<https://hl7.org/fhir/R4/narrative.html#xhtml>): text, its formatting, tables, links
//! and images; nothing that acts, loads or reaches out of the page.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

const ELEMENTS: [&str; 56] = [
    "a",
    "abbr",
    "acronym",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "map",
    "area",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
    "address",
    "center",
];

/// Allowed on any element.
const ATTRIBUTES: [&str; 10] = [
    "id",
    "class",
    "style",
    "title",
    "lang",
    "xml:lang",
    "dir",
    "xmlns",
    "accesskey",
    "tabindex",
];

/// Allowed on particular elements: presentation and tables, links, images.
const PARTICULAR: [(&str, &[&str]); 9] = [
    (
        "a",
        &[
            "href", "name", "hreflang", "rel", "rev", "type", "charset", "shape", "coords",
        ],
    ),
    (
        "img",
        &[
            "src", "alt", "width", "height", "border", "longdesc", "usemap", "ismap", "align", "hspace", "vspace",
        ],
    ),
    ("area", &["alt", "coords", "href", "shape", "nohref"]),
    ("map", &["name"]),
    (
        "table",
        &[
            "summary",
            "width",
            "border",
            "cellpadding",
            "cellspacing",
            "frame",
            "rules",
            "align",
            "bgcolor",
        ],
    ),
    ("ol", &["type", "start", "compact"]),
    ("ul", &["type", "compact"]),
    ("li", &["value", "type"]),
    ("hr", &["size", "width", "align", "noshade"]),
];

/// Of cells, rows, columns and blocks.
const LAYOUT: [&str; 16] = [
    "abbr", "align", "axis", "bgcolor", "char", "charoff", "cite", "clear", "colspan", "datetime", "headers", "nowrap",
    "rowspan", "scope", "span", "valign",
];

/// Whether the text is one well-formed `<div>` of allowed XHTML that shows something: text or an image.
pub(super) fn is_narrative(html: &str) -> bool {
    let mut reader = Reader::from_str(html);
    let mut depth = 0usize;
    let mut shows_something = false;
    let mut is_root = true;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                if !is_allowed(&tag) || (depth == 0 && (!is_root || tag.name().as_ref() != "div")) {
                    return false;
                }
                is_root = false;
                depth += 1;
            }
            Ok(Event::Empty(tag)) => {
                if !is_allowed(&tag) || depth == 0 {
                    return false;
                }
                shows_something |= tag.name().as_ref() == "img";
            }
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Text(text)) => {
                let is_blank = text.bytes().all(|byte| byte.is_ascii_whitespace());
                if depth == 0 && !is_blank {
                    return false;
                }
                shows_something |= !is_blank;
            }
            Ok(Event::CData(_) | Event::GeneralRef(_)) if depth > 0 => shows_something = true,
            Ok(Event::Comment(_)) => {}
            Ok(Event::Eof) => return depth == 0 && !is_root && shows_something,
            // Processing instructions, document types, and what is not well-formed.
            _ => return false,
        }
    }
}

fn is_allowed(tag: &BytesStart<'_>) -> bool {
    let name = tag.name();
    let name = name.as_ref();
    ELEMENTS.contains(&name)
        && tag.attributes().all(|attribute| {
            attribute.is_ok_and(|attribute| {
                let key = attribute.key.as_ref();
                ATTRIBUTES.contains(&key)
                    || LAYOUT.contains(&key)
                    || PARTICULAR
                        .iter()
                        .any(|(element, keys)| *element == name && keys.contains(&key))
                    || key.starts_with("xmlns:")
            })
        })
}
