//! Pictures of people: what is taken, and what is taken off them.
//!
//! A photograph tells where and when it was taken, by what, and often holds a smaller copy of what was cut off. Only what is
//! needed to show it is kept. It is not decoded here, which is what holes in decoders need; browsers do that.

use bytes::Bytes;
use img_parts::ImageEXIF;
use img_parts::jpeg::Jpeg;
use img_parts::png::Png;

/// In bytes.
pub const LONGEST: usize = 2 * 1024 * 1024;
/// Of width and height, in pixels: a small file can be a large picture, and fill the memory of whoever looks at it.
pub const WIDEST: u32 = 6000;

/// A picture without anything else in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    TooLong,
    TooWide,
    /// Neither JPEG nor PNG, or broken.
    NotAPicture,
}

/// Takes everything off a picture but what shows it. What kind it is tells its content, not its name.
///
/// # Errors
/// [`Refused`]
pub fn clean(file: Vec<u8>) -> Result<Picture, Refused> {
    if file.len() > LONGEST {
        return Err(Refused::TooLong);
    }
    match infer::get(&file).map(|kind| kind.mime_type()) {
        Some("image/jpeg") => clean_jpeg(file),
        Some("image/png") => clean_png(file),
        _ => Err(Refused::NotAPicture),
    }
}

fn check_size(width: u32, height: u32) -> Result<(), Refused> {
    match width.max(height) <= WIDEST {
        true => Ok(()),
        false => Err(Refused::TooWide),
    }
}

fn clean_png(file: Vec<u8>) -> Result<Picture, Refused> {
    const KEPT: [&[u8; 4]; 11] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs",
    ];
    let mut png = Png::from_bytes(Bytes::from(file)).map_err(|_| Refused::NotAPicture)?;
    let (width, height) = png.dimensions().ok_or(Refused::NotAPicture)?;
    check_size(width, height)?;
    png.chunks_mut().retain(|chunk| KEPT.contains(&&chunk.kind()));
    Ok(Picture {
        content_type: "image/png",
        bytes: png.encoder().bytes().to_vec(),
    })
}

fn clean_jpeg(file: Vec<u8>) -> Result<Picture, Refused> {
    let file = Bytes::from(file);
    let jpeg = Jpeg::from_bytes(file.clone()).map_err(|_| Refused::NotAPicture)?;
    let (width, height) = jpeg.dimensions().ok_or(Refused::NotAPicture)?;
    check_size(width.into(), height.into())?;
    let turned = jpeg.exif().and_then(|exif| orientation(&exif));
    Ok(Picture {
        content_type: "image/jpeg",
        bytes: rewrite_jpeg(&file, turned).ok_or(Refused::NotAPicture)?,
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
        let clean = clean(photo).unwrap();
        assert_eq!(clean.content_type, "image/jpeg");
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
        let clean = clean(file).unwrap();
        assert_eq!(clean.content_type, "image/png");
        let kinds: Vec<_> = Png::from_bytes(clean.bytes.into())
            .unwrap()
            .chunks()
            .iter()
            .map(|c| c.kind())
            .collect();
        assert_eq!(kinds, [*b"IHDR", *b"gAMA", *b"IEND"]);
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused() {
        let whole = jpeg(&[], b"");
        let mut wide = whole.clone();
        let at = wide.windows(2).position(|pair| pair == b"\xFF\xC0").unwrap();
        wide[at + 7..at + 9].copy_from_slice(&7000_u16.to_be_bytes());
        assert_eq!(clean(wide), Err(Refused::TooWide));
        assert_eq!(clean(vec![0xFF; LONGEST + 1]), Err(Refused::TooLong));
        for no_picture in [&b""[..], b"<svg onload=alert(1)>", b"GIF89a", b"\x89PNG\r\n\x1a\n"] {
            assert_eq!(clean(no_picture.to_vec()), Err(Refused::NotAPicture));
        }
        // However it is cut, it is refused or clean, and nothing panics.
        for cut in 0..whole.len() {
            assert_eq!(clean(whole[..cut].to_vec()), Err(Refused::NotAPicture), "{cut}");
        }
        for (at, byte) in (2..whole.len()).flat_map(|at| [0, 0x7F, 0xFF].map(|byte| (at, byte))) {
            let mut broken = whole.clone();
            broken[at] = byte;
            let _ = clean(broken);
        }
    }
}
