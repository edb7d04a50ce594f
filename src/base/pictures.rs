//! Pictures without what they tell beside what they show.
//!
//! A photograph tells where and when it was taken, by what, and often holds a smaller copy of what was cut off. Only what is
//! needed to show it is kept; what shows it is not touched, byte for byte. It is not decoded here, which is what holes in decoders
//! need; browsers do that.

use bytes::Bytes;
use img_parts::ImageEXIF;
use img_parts::jpeg::Jpeg;
use img_parts::png::Png;
use img_parts::riff::{RiffChunk, RiffContent};
use img_parts::webp::{CHUNK_ALPH, CHUNK_ANIM, CHUNK_ANMF, CHUNK_ICCP, CHUNK_VP8, CHUNK_VP8L, CHUNK_VP8X, WebP};

/// What can be cleaned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Jpeg,
    Png,
    Webp,
}

/// A picture without anything else in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Clean {
    /// Width and height in pixels.
    pub size: (u32, u32),
    pub bytes: Vec<u8>,
}

impl Format {
    /// The format of that media type.
    pub fn of(media_type: &str) -> Option<Format> {
        match media_type {
            "image/jpeg" => Some(Format::Jpeg),
            "image/png" => Some(Format::Png),
            "image/webp" => Some(Format::Webp),
            _ => None,
        }
    }

    /// Takes everything off a picture but what shows it; `None` for what is not such a picture, or broken.
    pub fn clean(self, file: Vec<u8>) -> Option<Clean> {
        match self {
            Format::Jpeg => clean_jpeg(file),
            Format::Png => clean_png(file),
            Format::Webp => clean_webp(file),
        }
    }
}

fn clean_png(file: Vec<u8>) -> Option<Clean> {
    // Among them those of pictures that move.
    const KEPT: [&[u8; 4]; 15] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"pHYs",
        b"acTL", b"fcTL", b"fdAT",
    ];
    let mut png = Png::from_bytes(Bytes::from(file)).ok()?;
    let size = png.dimensions()?;
    png.chunks_mut().retain(|chunk| KEPT.contains(&&chunk.kind()));
    Some(Clean {
        size,
        bytes: png.encoder().bytes().to_vec(),
    })
}

/// <https://developers.google.com/speed/webp/docs/riff_container>
fn clean_webp(file: Vec<u8>) -> Option<Clean> {
    const KEPT: [[u8; 4]; 7] = [
        CHUNK_VP8X, CHUNK_VP8, CHUNK_VP8L, CHUNK_ALPH, CHUNK_ANIM, CHUNK_ANMF, CHUNK_ICCP,
    ];
    /// In the first byte of VP8X: that there is EXIF, or XMP.
    const TELLS: u8 = 0b1100;
    let mut webp = WebP::from_bytes(Bytes::from(file)).ok()?;
    let size = webp.dimensions()?;
    let chunks = webp.chunks_mut();
    chunks.retain(|chunk| KEPT.contains(&chunk.id()));
    for chunk in chunks.iter_mut().filter(|chunk| chunk.id() == CHUNK_VP8X) {
        let mut flags = chunk.content().data()?.to_vec();
        *flags.first_mut()? &= !TELLS;
        *chunk = RiffChunk::new(CHUNK_VP8X, RiffContent::Data(flags.into()));
    }
    Some(Clean {
        size,
        bytes: webp.encoder().bytes().to_vec(),
    })
}

fn clean_jpeg(file: Vec<u8>) -> Option<Clean> {
    let file = Bytes::from(file);
    let jpeg = Jpeg::from_bytes(file.clone()).ok()?;
    let (width, height) = jpeg.dimensions()?;
    let turned = jpeg.exif().and_then(|exif| orientation(&exif));
    Some(Clean {
        size: (width.into(), height.into()),
        bytes: rewrite_jpeg(&file, turned)?,
    })
}

/// The same picture without comments, without segments of applications but those that colours need, and without anything
/// behind its end (<https://www.w3.org/Graphics/JPEG/itu-t81.pdf>, annex B). `turned` is how to hold it.
fn rewrite_jpeg(file: &[u8], turned: Option<u8>) -> Option<Vec<u8>> {
    const START: u8 = 0xD8;
    const END: u8 = 0xD9;
    const SCAN: u8 = 0xDA;
    let mut clean = vec![0xFF, START];
    if let Some(turned) = turned {
        clean.extend_from_slice(&exif_with(turned));
    }
    let mut at = 2;
    loop {
        // A marker is 0xFF, perhaps several, and its kind.
        let kind_at = at + file.get(at..)?.iter().position(|byte| *byte != 0xFF)?;
        if kind_at == at {
            return None;
        }
        let kind = file[kind_at];
        if kind == END {
            clean.extend_from_slice(&[0xFF, END]);
            return Some(clean);
        }
        let length = usize::from(u16::from_be_bytes(file.get(kind_at + 1..kind_at + 3)?.try_into().ok()?));
        let content = file.get(kind_at + 3..kind_at + 1 + length)?;
        at = kind_at + 1 + length;
        let is_kept = match kind {
            0xE0 | 0xEE => true,
            0xE2 => content.starts_with(b"ICC_PROFILE\0"),
            0xE1..=0xEF | 0xFE => false,
            _ => true,
        };
        if is_kept {
            clean.extend_from_slice(&[0xFF, kind]);
            clean.extend_from_slice(&file[kind_at + 1..at]);
        }
        if kind == SCAN {
            // Its data go on to the next marker; 0xFF in them is followed by 0, or by the number of a restart.
            let is_marker = |pair: &[u8]| pair[0] == 0xFF && pair[1] != 0 && !(0xD0..=0xD7).contains(&pair[1]);
            let data = file.get(at..)?.windows(2).position(is_marker)?;
            clean.extend_from_slice(&file[at..at + data]);
            at += data;
        }
    }
}

/// How to hold the picture, out of its EXIF data: 2 to 8, if not as it is
/// (<https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf>, 4.6.4).
fn orientation(exif: &[u8]) -> Option<u8> {
    const ORIENTATION: u16 = 0x0112;
    let is_little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = exif.get(at..at + 2)?.try_into().ok()?;
        Some(if is_little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let long = |at: usize| {
        let bytes: [u8; 4] = exif.get(at..at + 4)?.try_into().ok()?;
        let number = if is_little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        };
        usize::try_from(number).ok().filter(|number| *number < exif.len())
    };
    let directory = long(4)?;
    let entries = usize::from(short(directory)?);
    let mut entries = (0..entries).map(|entry| directory + 2 + 12 * entry);
    let entry = entries.find(|at| short(*at) == Some(ORIENTATION))?;
    u8::try_from(short(entry + 8)?)
        .ok()
        .filter(|value| (2..=8).contains(value))
}

/// A segment of EXIF data with nothing but how to hold the picture.
fn exif_with(turned: u8) -> [u8; 36] {
    let mut segment = *b"\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    segment[28] = turned;
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG in its parts: not one that shows anything, but with everything that a file may have.
    fn jpeg(extra: &[&[u8]], behind: &[u8]) -> Vec<u8> {
        let mut file = b"\xFF\xD8\xFF\xE0\0\x07JFIF\0".to_vec();
        extra.iter().for_each(|segment| file.extend_from_slice(segment));
        file.extend_from_slice(b"\xFF\xC0\0\x0B\x08\0\x10\0\x20\x01\x01\x11\0");
        file.extend_from_slice(b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0");
        file.extend_from_slice(b"data\xFF\0more\xFF\xD0");
        // A second scan, behind a comment.
        file.extend_from_slice(b"\xFF\xFE\0\x08secret\xFF\xDA\0\x08\x01\x01\0\0\x3F\0rest\xFF\xD9");
        file.extend_from_slice(behind);
        file
    }

    #[test]
    fn a_photograph_keeps_nothing_but_the_picture() {
        let mut located = exif_with(6).to_vec();
        located.extend_from_slice(b"secret place");
        located[3] += 12;
        let photo = jpeg(
            &[
                &located,
                b"\xFF\xE1\0\x08secret",
                b"\xFF\xE2\0\x12ICC_PROFILE\0\x01\x01ok",
                b"\xFF\xE2\0\x08secret",
                b"\xFF\xED\0\x08secret",
            ],
            b"secret of another picture",
        );
        let clean = Format::Jpeg.clean(photo).unwrap();
        assert_eq!(clean.size, (32, 16));
        let has = |part: &[u8]| clean.bytes.windows(part.len()).any(|window| window == part);
        assert!(!has(b"secret"));
        assert!(
            has(b"ICC_PROFILE\0\x01\x01ok")
                && has(b"data\xFF\0more\xFF\xD0\xFF\xDA")
                && clean.bytes.ends_with(b"rest\xFF\xD9")
        );
        let again = Jpeg::from_bytes(clean.bytes.into()).unwrap();
        assert_eq!(
            (again.dimensions(), orientation(&again.exif().unwrap())),
            (Some((32, 16)), Some(6))
        );
    }

    #[test]
    fn a_drawing_keeps_its_chunks_only() {
        let chunk =
            |kind: &[u8; 4], content: &'static [u8]| img_parts::png::PngChunk::new(*kind, Bytes::from_static(content));
        let pixel: &[u8] =
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\0IEND\xaeB`\x82";
        let mut png = Png::from_bytes(Bytes::from_static(pixel)).unwrap();
        png.chunks_mut().insert(1, chunk(b"tEXt", b"Comment\0secret"));
        png.chunks_mut().insert(1, chunk(b"eXIf", b"II*\0secret"));
        png.chunks_mut().insert(1, chunk(b"gAMA", b"\0\0\xb1\x8f"));
        let mut file = png.encoder().bytes().to_vec();
        file.extend_from_slice(b"secret");
        let clean = Format::Png.clean(file).unwrap();
        let kinds: Vec<_> = Png::from_bytes(clean.bytes.into())
            .unwrap()
            .chunks()
            .iter()
            .map(|c| c.kind())
            .collect();
        assert_eq!(kinds, [*b"IHDR", *b"gAMA", *b"IEND"]);
    }

    #[test]
    fn a_webp_keeps_what_shows_it() {
        let chunk = |id: &[u8; 4], content: &[u8]| {
            let mut chunk = id.to_vec();
            chunk.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
            chunk.extend_from_slice(content);
            chunk
        };
        // 2 by 1 pixels, with ICC, EXIF and XMP.
        let mut inner = b"WEBP".to_vec();
        inner.extend(chunk(b"VP8X", &[0b10_1100, 0, 0, 0, 1, 0, 0, 0, 0, 0]));
        inner.extend(chunk(b"ICCP", b"colour"));
        inner.extend(chunk(b"VP8L", b"/\x01\0\0\0pixels!"));
        inner.extend(chunk(b"EXIF", b"secret"));
        inner.extend(chunk(b"XMP ", b"secret"));
        let clean = Format::Webp.clean(chunk(b"RIFF", &inner)).unwrap();
        let has = |part: &[u8]| clean.bytes.windows(part.len()).any(|window| window == part);
        assert!(!has(b"secret") && has(b"colour") && has(b"pixels!"));
        let again = WebP::from_bytes(clean.bytes.clone().into()).unwrap();
        assert_eq!(
            again.chunk_by_id(CHUNK_VP8X).unwrap().content().data().unwrap()[0],
            0b10_0000
        );
    }

    #[test]
    fn however_a_picture_is_broken_nothing_panics() {
        let whole = jpeg(&[], b"");
        // However it is cut, it is refused or clean.
        for cut in 0..whole.len() {
            assert_eq!(Format::Jpeg.clean(whole[..cut].to_vec()), None, "{cut}");
        }
        for (at, byte) in (2..whole.len()).flat_map(|at| [0, 0x7F, 0xFF].map(|byte| (at, byte))) {
            let mut broken = whole.clone();
            broken[at] = byte;
            let _ = Format::Jpeg.clean(broken);
        }
        for format in [Format::Png, Format::Webp, Format::Jpeg] {
            assert_eq!(format.clean(b"GIF89a".to_vec()), None);
        }
    }
}
