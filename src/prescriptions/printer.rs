//! Sheets as PDF: PDF/A-2a (to be kept) and PDF/UA-1 (to be read aloud), by [typst](https://typst.app), in this process.
//!
//! The template is compiled in; what it prints comes as a JSON file of its own, so that no text can be taken for markup. It is
//! given no other file, no network and no clock: the same data, address and fonts make the same bytes.
//!
//! Fonts are those of the system, or of a folder that the settings name; they are looked for when the first sheet is
//! printed. A character that no font has is an error, never an empty box on a sheet.
//!
//! Printing takes some ten milliseconds of a core, so it has threads of its own, a few at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread;
use std::time::Duration as Patience;

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use typst::diag::{FileError, FileResult, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::layout::{Frame, FrameItem};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};
use typst_kit::fonts::{self, FontStore};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards};

use crate::fhir::error::FhirError;

const TEMPLATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/prescription/sheet.typ"));

/// How many sheets are printed at the same time.
const AT_A_TIME: usize = 2;
/// Layout recurses with the nesting of its template, and deeply where it is not optimised.
const STACK_BYTES: usize = 16 << 20;
/// How long somebody waits until it is their turn.
const PATIENCE: Patience = Patience::from_secs(20);

static MAIN: LazyLock<FileId> = LazyLock::new(|| file("sheet.typ"));
static DATA: LazyLock<FileId> = LazyLock::new(|| file("data.json"));
static CODE: LazyLock<FileId> = LazyLock::new(|| file("qr.svg"));

fn file(name: &str) -> FileId {
    let path = VirtualPath::new(name).expect("a name of a file");
    FileId::new(RootedPath::new(VirtualRoot::Project, path))
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    #[error("too many sheets wait to be printed")]
    Busy,
    #[error("there are no fonts on this server")]
    NoFonts,
    /// Characters that no font has.
    #[error("no font has some of the characters")]
    Unprintable(Vec<char>),
    /// The template does not do what it should; the text has no data of the sheet.
    #[error("the sheet could not be printed: {0}")]
    Failed(String),
}

impl From<PrintError> for FhirError {
    fn from(error: PrintError) -> FhirError {
        match error {
            PrintError::Busy => FhirError::unavailable("Too many sheets are being printed. Try again in a moment."),
            PrintError::NoFonts => {
                FhirError::unavailable("This server has no fonts to print with: see docs/prescriptions.md.")
            }
            PrintError::Unprintable(characters) => {
                let named = characters.iter().map(|c| format!("{c} (U+{:04X})", *c as u32));
                FhirError::unprocessable(format!(
                    "This server has no font with {}: install one, or write it otherwise.",
                    named.collect::<Vec<_>>().join(", ")
                ))
            }
            PrintError::Failed(text) => {
                tracing::error!(error = text, "a prescription could not be printed");
                FhirError::internal("the sheet could not be printed")
            }
        }
    }
}

/// Prints sheets.
pub struct Printer {
    library: LazyHash<Library>,
    template: Source,
    /// `None` for the fonts of the system.
    folder: Option<PathBuf>,
    fonts: OnceLock<FontStore>,
    turns: Arc<Semaphore>,
}

impl Printer {
    /// `folder` has the fonts; without it, those of the system are used.
    pub fn new(folder: Option<PathBuf>) -> Printer {
        Printer {
            library: LazyHash::new(Library::default()),
            template: Source::new(*MAIN, TEMPLATE.to_owned()),
            folder,
            fonts: OnceLock::new(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// A sheet of `data` ([`Sheet::data`](super::sheet::Sheet::data)), with the address `url` as a code to be scanned.
    ///
    /// # Errors
    /// [`PrintError`]
    pub async fn print(self: &Arc<Self>, data: &Value, url: &str) -> Result<Vec<u8>, PrintError> {
        let Ok(Ok(turn)) = timeout(PATIENCE, self.turns.clone().acquire_owned()).await else {
            return Err(PrintError::Busy);
        };
        let job = Job {
            printer: self.clone(),
            data: Bytes::from_string(data.to_string()),
            code: Bytes::from_string(code(url)?),
        };
        let (done, printed) = oneshot::channel();
        let thread = thread::Builder::new().name("print".to_owned()).stack_size(STACK_BYTES);
        let begun = thread.spawn(move || {
            // Nobody may be waiting any more; the turn lasts until the work is done.
            let _ = done.send(job.print());
            drop(turn);
        });
        begun.map_err(|_| PrintError::Busy)?;
        let panicked = |_| Err(PrintError::Failed("typst panicked".to_owned()));
        printed.await.unwrap_or_else(panicked)
    }

    fn fonts(&self) -> &FontStore {
        self.fonts.get_or_init(|| {
            let mut store = FontStore::new();
            match &self.folder {
                Some(folder) => store.extend(fonts::scan(folder)),
                None => store.extend(fonts::system()),
            }
            store
        })
    }
}

/// One sheet to be printed.
struct Job {
    printer: Arc<Printer>,
    data: Bytes,
    code: Bytes,
}

impl Job {
    fn print(&self) -> Result<Vec<u8>, PrintError> {
        if self.printer.fonts().book().families().next().is_none() {
            return Err(PrintError::NoFonts);
        }
        let printed = self.compile();
        // What it remembers to be quick the next time is what people take.
        typst::comemo::evict(0);
        printed
    }

    fn compile(&self) -> Result<Vec<u8>, PrintError> {
        let document: PagedDocument = typst::compile(self).output.map_err(|errors| failed(&errors))?;
        let mut unprintable = BTreeSet::new();
        document
            .pages()
            .iter()
            .for_each(|page| collect_unprintable(&page.frame, &mut unprintable));
        if !unprintable.is_empty() {
            return Err(PrintError::Unprintable(unprintable.into_iter().collect()));
        }
        let standards = PdfStandards::new(&[PdfStandard::A_2a, PdfStandard::Ua_1]);
        let options = PdfOptions {
            creator: Smart::Custom(Some("MedConsult".to_owned())),
            standards: standards.map_err(|error| PrintError::Failed(error.message().to_string()))?,
            ..PdfOptions::default()
        };
        typst_pdf::pdf(&document, &options).map_err(|errors| failed(&errors))
    }
}

/// What typst says is about the template, unless it quotes what it was given: so only the kind of error is told.
fn failed(errors: &[SourceDiagnostic]) -> PrintError {
    let first = errors
        .first()
        .map(|error| error.message.split([':', '"']).next().unwrap_or_default());
    PrintError::Failed(first.unwrap_or_default().to_owned())
}

fn collect_unprintable(frame: &Frame, found: &mut BTreeSet<char>) {
    for (_, item) in frame.items() {
        match item {
            FrameItem::Group(group) => collect_unprintable(&group.frame, found),
            FrameItem::Text(text) => {
                let missing = text.glyphs.iter().filter(|glyph| glyph.id == 0);
                found.extend(missing.flat_map(|glyph| text.text[glyph.range()].chars()));
            }
            _ => {}
        }
    }
}

/// The code as an image, with the quiet zone that readers need.
fn code(url: &str) -> Result<String, PrintError> {
    let code = QrCode::with_error_correction_level(url, EcLevel::M);
    let code = code.map_err(|error| PrintError::Failed(error.to_string()))?;
    Ok(code.render::<svg::Color<'_>>().module_dimensions(1, 1).build())
}

impl World for Job {
    fn library(&self) -> &LazyHash<Library> {
        &self.printer.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        self.printer.fonts().book()
    }

    fn main(&self) -> FileId {
        *MAIN
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        match id == *MAIN {
            true => Ok(self.printer.template.clone()),
            false => Err(FileError::AccessDenied),
        }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        match id {
            id if id == *DATA => Ok(self.data.clone()),
            id if id == *CODE => Ok(self.code.clone()),
            _ => Err(FileError::AccessDenied),
        }
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.printer.fonts().font(index)
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_dark_on_light_with_a_quiet_zone() {
        let svg = code("https://clinic.example/verify/abc").unwrap();
        // Version 3 has 29 modules, and 4 of nothing on each side.
        assert!(svg.contains("viewBox=\"0 0 37 37\""), "{}", &svg[..200]);
        assert!(svg.contains("fill=\"#fff\"") && svg.contains("fill=\"#000\""));
    }
}
