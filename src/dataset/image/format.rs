//! The formats that are read: detection by content, and their errors.

use super::ImageError;

#[derive(Clone, Copy)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl Format {
    pub fn of(bytes: &[u8]) -> Result<Format, ImageError> {
        match bytes {
            [] => Err(ImageError::Empty),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Format::Png),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Ok(Format::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Format::Gif),
            [b'B', b'M', ..] => Ok(Format::Bmp),
            // Classic and BigTIFF; some writers swap the version's bytes.
            [b'I', b'I', 0x2A | 0x2B, 0, ..] | [b'M', b'M', 0, 0x2A | 0x2B, ..] => Ok(Format::Tiff),
            [b'M', b'M', 0x2A, 0, ..] | [b'I', b'I', 0, 0x2A, ..] => Ok(Format::Tiff),
            _ => {
                let start = bytes.iter().take(8).flat_map(|&b| b.escape_ascii());
                Err(ImageError::NotAnImage {
                    start: format!("\"{}\"", start.map(char::from).collect::<String>()),
                })
            }
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::WebP => "webp",
            Format::Gif => "gif",
            Format::Bmp => "bmp",
            Format::Tiff => "tiff",
        }
    }

    pub fn truncated(self, reason: impl Into<String>) -> ImageError {
        ImageError::Truncated {
            format: self.name(),
            reason: reason.into(),
        }
    }

    pub fn corrupt(self, reason: impl Into<String>) -> ImageError {
        ImageError::Corrupt {
            format: self.name(),
            reason: reason.into(),
        }
    }

    pub fn unsupported(self, reason: impl Into<String>) -> ImageError {
        ImageError::Unsupported {
            format: self.name(),
            reason: reason.into(),
        }
    }

    /// It takes more memory than the file's size justifies.
    pub fn too_large(self) -> ImageError {
        self.unsupported("it needs more memory than a file of its size should")
    }
}
