//! Pictures of people: what is taken. What is taken off them: [`pictures`](crate::base::pictures).

use crate::base::pictures::Format;

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
    let (format, content_type) = match infer::get(&file).map(|kind| kind.mime_type()) {
        Some("image/jpeg") => (Format::Jpeg, "image/jpeg"),
        Some("image/png") => (Format::Png, "image/png"),
        _ => return Err(Refused::NotAPicture),
    };
    let clean = format.clean(file).ok_or(Refused::NotAPicture)?;
    match clean.size.0.max(clean.size.1) <= WIDEST {
        true => Ok(Picture {
            content_type,
            bytes: clean.bytes,
        }),
        false => Err(Refused::TooWide),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_or_too_large_is_refused() {
        // The head of a drawing of so many pixels, without any.
        let drawing = |width: u32| {
            let mut header = b"IHDR".to_vec();
            header.extend_from_slice(&width.to_be_bytes());
            header.extend_from_slice(b"\0\0\0\x01\x08\x06\0\0\0");
            let chunk = |kind_and_content: &[u8]| {
                img_parts::png::PngChunk::new(
                    kind_and_content[..4].try_into().unwrap(),
                    bytes::Bytes::copy_from_slice(&kind_and_content[4..]),
                )
            };
            let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
            for chunk in [chunk(&header), chunk(b"IEND")] {
                file.extend_from_slice(&chunk.encoder().bytes());
            }
            file
        };
        assert_eq!(clean(drawing(WIDEST)).unwrap().content_type, "image/png");
        assert_eq!(clean(drawing(WIDEST + 1)), Err(Refused::TooWide));
        assert_eq!(clean(vec![0xFF; LONGEST + 1]), Err(Refused::TooLong));
        for no_picture in [&b""[..], b"<svg onload=alert(1)>", b"GIF89a", b"\x89PNG\r\n\x1a\n"] {
            assert_eq!(clean(no_picture.to_vec()), Err(Refused::NotAPicture));
        }
    }
}
