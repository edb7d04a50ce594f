//! Sheets as people and machines see them: rendered by poppler, read by its text extractor, their code scanned by zbar.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use medconsult::prescriptions::printer::PrintError;
use medconsult::prescriptions::sheet::{Item, Paper, Sheet};
use medconsult::prescriptions::state::State;

use super::*;

const URL: &str = "https://clinic.example/verify/Zm9ydHktdGhyZWUtY2hhcmFjdGVycy1vZi1iYXNlNjQtdXJs";

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("medconsult-sheet-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a program prints. They are of poppler-utils and zbar-tools, which `make test` installs.
fn run(program: &str, arguments: &[&str], file: &Path) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `scripts/setup tests` installs it"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A page in grey: 0 is black.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// The first page as pdftoppm writes it with `-gray`: "P5", width, height, 255, then a byte for each pixel.
    fn of(pdf: &Path, dots_per_inch: u32) -> Picture {
        let stem = pdf.with_extension("");
        let resolution = dots_per_inch.to_string();
        let mut command = Command::new("pdftoppm");
        let arguments = ["-gray", "-singlefile", "-r", &resolution];
        let status = command.args(arguments).arg(pdf).arg(&stem).status();
        assert!(status.expect("`scripts/setup tests` installs pdftoppm").success());
        let bytes = fs::read(stem.with_extension("pgm")).unwrap();
        let head = bytes.split(|byte| byte.is_ascii_whitespace()).take(4);
        let head: Vec<&str> = head.map(|word| std::str::from_utf8(word).unwrap()).collect();
        assert_eq!((head[0], head[3]), ("P5", "255"));
        let (width, height) = (head[1].parse().unwrap(), head[2].parse().unwrap());
        let pixels = bytes[bytes.len() - width * height..].to_vec();
        Picture { width, height, pixels }
    }

    /// How many of a thousand pixels are darker than `shade` in a part of the page; its sides as parts of the page.
    fn darker(&self, shade: u8, [left, top, right, bottom]: [f64; 4]) -> usize {
        let x = |part: f64| (part * self.width as f64) as usize;
        let y = |part: f64| (part * self.height as f64) as usize;
        let rows = (y(top)..y(bottom)).map(|row| &self.pixels[row * self.width..][x(left)..x(right)]);
        let (dark, all) = rows.fold((0, 0), |(dark, all), row| {
            (
                dark + row.iter().filter(|pixel| **pixel < shade).count(),
                all + row.len(),
            )
        });
        dark * 1000 / all.max(1)
    }

    fn ink(&self, part: [f64; 4]) -> usize {
        self.darker(128, part)
    }

    /// Whether nothing at all is there.
    fn is_white(&self, part: [f64; 4]) -> bool {
        self.darker(255, part) == 0
    }
}

/// Between the medicines of a short sheet and its signature.
const BETWEEN: [f64; 4] = [0.0, 0.58, 1.0, 0.76];

fn signed(medicine: &str) -> Value {
    let mut content = draft("a", "R-7KQ2-M4TD", medicine);
    content["dosageInstruction"][0]["text"] = json!("Take 1 tablet by mouth once a day.");
    content["dispenseRequest"]["validityPeriod"] = json!({"end": "2026-05-30"});
    content
}

/// A sheet for Ada, changed by the test.
async fn print(
    change: impl FnOnce(&mut Value, &mut Value),
    medicines: &[Value],
    paper: Paper,
    state: State,
) -> Result<Vec<u8>, PrintError> {
    let (mut patient, mut practice) = (patient("ada"), organization());
    change(&mut patient, &mut practice);
    let practitioner = practitioner("dora", "Dora");
    let at = "2026-03-01T10:00:00Z".parse().unwrap();
    let items = medicines.iter().map(|content| Item {
        signed: content,
        state,
        since: at,
    });
    let sheet = Sheet {
        number: "R-7KQ2-M4TD",
        paper,
        items: items.collect(),
        patient: &patient,
        practitioner: &practitioner,
        organization: &practice,
        signed_at: at,
        fingerprint: "4f0c 99ab 1234 5678 9abc def0 1122 3344",
        reprinted: None,
    };
    PRINTER.print(&sheet.data().unwrap(), URL).await
}

fn page_sizes(pdf: &Path) -> Vec<(f64, f64)> {
    let text = run("pdfinfo", &["-l", "99"], pdf);
    let lines = text
        .lines()
        .filter(|line| line.contains("size:") && line.starts_with("Page"));
    let sizes = lines.map(|line| {
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let count = numbers.len();
        (numbers[count - 2], numbers[count - 1])
    });
    sizes.collect()
}

#[tokio::test]
async fn a_sheet_looks_as_it_should_on_both_papers() {
    let folder = Folder::new("papers");
    for (paper, width, height) in [(Paper::A4, 595.276, 841.89), (Paper::Letter, 612.0, 792.0)] {
        let medicines = [
            signed("Amoxicillin 500 mg capsules"),
            signed("Paracetamol 500 mg tablets"),
        ];
        let pdf = folder.file(&format!("{}.pdf", paper.code()));
        fs::write(&pdf, print(|_, _| {}, &medicines, paper, State::Active).await.unwrap()).unwrap();
        assert_eq!(page_sizes(&pdf), [(width, height)]);
        let picture = Picture::of(&pdf, 72);
        assert_eq!(
            (picture.width, picture.height),
            (width.ceil() as usize, height.ceil() as usize)
        );
        // The practice, the boxes of patient and prescriber, the medicines, the signature, the code.
        for (name, part) in [
            ("practice", [0.08, 0.04, 0.5, 0.11]),
            ("patient", [0.08, 0.14, 0.4, 0.3]),
            ("prescriber", [0.42, 0.14, 0.72, 0.3]),
            ("medicines", [0.08, 0.3, 0.7, 0.48]),
            ("signature", [0.1, 0.78, 0.6, 0.92]),
        ] {
            let ink = picture.ink(part);
            assert!((5..250).contains(&ink), "{name} on {}: {ink} of 1000", paper.code());
        }
        let code = picture.ink([0.76, 0.79, 0.9, 0.91]);
        assert!((250..650).contains(&code), "a code is half dark: {code} of 1000");
        // Nothing in the margins, nor between the medicines and the signature, where somebody could add one unseen.
        for part in [
            [0.0, 0.0, 1.0, 0.03],
            [0.0, 0.0, 0.07, 1.0],
            [0.93, 0.0, 1.0, 1.0],
            BETWEEN,
        ] {
            assert!(picture.is_white(part), "{part:?} on {}", paper.code());
        }
        // Whoever scans the paper gets to the page.
        let stem = pdf.with_extension("");
        let status = Command::new("pdftoppm")
            .args(["-png", "-singlefile", "-r", "150"])
            .arg(&pdf)
            .arg(&stem)
            .status();
        assert!(status.unwrap().success());
        let scanned = run(
            "zbarimg",
            &["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"],
            &stem.with_extension("png"),
        );
        assert_eq!(scanned.trim_end(), URL);
    }
}

/// The text of a sheet, line breaks as spaces.
fn text_of(folder: &Folder, pdf: &[u8]) -> String {
    let file = folder.file("text.pdf");
    fs::write(&file, pdf).unwrap();
    let output = Command::new("pdftotext")
        .arg("-layout")
        .arg(&file)
        .arg("-")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn names_of_all_alphabets_are_printed() {
    let folder = Folder::new("names");
    for name in [
        "فاطمة الزهراء",
        "Владимир Ильин",
        "Ελένη Παπαδοπούλου",
        "王小明",
        "यज्ञा शर्मा",
        "Jürgen Ångström-Łukasz",
        "Nguyễn Thị Minh",
        "שרה לוי",
        "김철수",
        "สมชาย",
    ] {
        let pdf = print(
            |patient, _| patient["name"] = json!([{"text": name}]),
            &[signed("Metformin")],
            Paper::A4,
            State::Active,
        )
        .await;
        let text = text_of(&folder, &pdf.unwrap());
        // Marks that say in which direction text runs are none of its letters.
        let plain: String = text.chars().filter(|c| !matches!(c, '\u{202a}'..='\u{202e}')).collect();
        assert!(plain.contains(name), "{name} in {plain}");
    }
}

#[tokio::test]
async fn a_character_without_a_font_is_an_error() {
    let pdf = print(
        |patient, _| patient["name"] = json!([{"text": "Ada \u{10fffd}"}]),
        &[signed("Metformin")],
        Paper::A4,
        State::Active,
    )
    .await;
    match pdf {
        Err(PrintError::Unprintable(characters)) => assert_eq!(characters, ['\u{10fffd}']),
        other => panic!("{other:?}"),
    }
    let nowhere = Folder::new("no-fonts");
    let printer = Arc::new(Printer::new(Some(nowhere.0.clone())));
    assert!(matches!(printer.print(&json!({}), URL).await, Err(PrintError::NoFonts)));
}

#[tokio::test]
async fn text_is_text_whatever_it_looks_like() {
    let folder = Folder::new("markup");
    let name = "#panic() *bold* $x$ [y] \\z <w>";
    let pdf = print(
        |patient, practice| {
            patient["name"] = json!([{"text": name}]);
            practice["name"] = json!("= Not a heading // nor a comment");
        },
        &[signed("#import \"/etc/passwd\"")],
        Paper::A4,
        State::Active,
    )
    .await;
    let text = text_of(&folder, &pdf.unwrap());
    for said in [name, "= Not a heading // nor a comment", "#import \"/etc/passwd\""] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[tokio::test]
async fn the_same_sheet_is_the_same_bytes_and_can_be_archived_and_read_aloud() {
    let of = || print(|_, _| {}, &[], Paper::A4, State::Active);
    let (one, two) = (of().await.unwrap(), of().await.unwrap());
    assert_eq!(one, two);
    let text = String::from_utf8_lossy(&one);
    // What PDF/A-2a and PDF/UA-1 ask a file to say of itself.
    assert!(
        text.contains("<pdfaid:part>2</pdfaid:part>") && text.contains("<pdfaid:conformance>A</pdfaid:conformance>")
    );
    assert!(text.contains("<pdfuaid:part>1</pdfuaid:part>"));
}

#[tokio::test]
async fn many_medicines_take_pages_that_belong_together() {
    let folder = Folder::new("pages");
    let medicines: Vec<Value> = (1..=20)
        .map(|number| signed(&format!("Medicine number {number}")))
        .collect();
    let pdf = print(|_, _| {}, &medicines, Paper::A4, State::Active).await.unwrap();
    let text = text_of(&folder, &pdf);
    let pages = page_sizes(&folder.file("text.pdf")).len();
    assert!((2..=4).contains(&pages), "{pages}");
    for page in 1..=pages {
        assert!(text.contains(&format!("Page {page} of {pages}")), "{text}");
    }
    assert_eq!(text.matches("Prescription R-7KQ2-M4TD").count(), pages);
    assert!(text.contains("20 medicines") && text.contains("Medicine number 20"));
}

#[tokio::test]
async fn a_withdrawn_sheet_says_so_across_the_page() {
    let folder = Folder::new("withdrawn");
    let pdf = print(|_, _| {}, &[signed("Metformin")], Paper::A4, State::Cancelled)
        .await
        .unwrap();
    let text = text_of(&folder, &pdf);
    assert!(text.contains("Cancelled on 1 March 2026"), "{text}");
    // Large pale letters run across, and begin where a valid sheet is white.
    let marks = Picture::of(&folder.file("text.pdf"), 72).darker(255, BETWEEN);
    assert!((10..200).contains(&marks), "{marks} of 1000");
}
