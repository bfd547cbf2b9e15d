//! Decodes files to upright RGB pixels.
//!
//! The format is detected from the content. Colours follow Pillow's `convert("RGB")`: grey is replicated, palettes
//! are expanded, alpha is dropped (not blended), CMYK becomes `c * k / 255`. 16-bit samples keep their high byte, as
//! Pillow does for 16-bit colour (Pillow clips 16-bit *grey* at 255, which turns most of it white; not so here).
//! Floating-point images are refused. Of an animation, the first frame is decoded.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, error::ImageError as Foreign,
    metadata::Orientation,
};

use super::{DecodeOptions, Header, ImageError, RgbImage, jpeg, orientation};

/// Bytes that a decoder may allocate per pixel: two buffers of 16-bit RGBA, plus a margin.
const BYTES_PER_PIXEL: u64 = 32;
/// Bytes that a decoder may allocate for any image, for palettes, text chunks and windows.
const EXTRA_BYTES: u64 = 16 << 20;

/// Size, format and orientation from the file's first bytes. Allocates no pixels.
pub fn read_header(bytes: &[u8], options: &DecodeOptions) -> Result<Header, ImageError> {
    let header = guarded(bytes, || match format_of(bytes)? {
        (ImageFormat::Jpeg, name) => {
            let jpeg = jpeg::read_header(bytes)?;
            Ok(header(
                name,
                jpeg.width,
                jpeg.height,
                jpeg.orientation,
                options,
            ))
        }
        (format, name) => {
            let mut decoder = open(bytes, format, name)?;
            Ok(header_of(&mut decoder, name, options))
        }
    })?;
    check_size(&header, options)?;
    Ok(header)
}

/// Decodes an image and turns it upright. Checks the header's size against `max_pixels` before allocating pixels. A truncated
/// file is an error.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    let (header, stored) = guarded(bytes, || match format_of(bytes)? {
        (ImageFormat::Jpeg, name) => {
            let jpeg = jpeg::read_header(bytes)?;
            let header = header(name, jpeg.width, jpeg.height, jpeg.orientation, options);
            check_size(&header, options)?;
            Ok((header, jpeg::decode(bytes, &jpeg)?))
        }
        (format, name) => {
            let mut decoder = open(bytes, format, name)?;
            let header = header_of(&mut decoder, name, options);
            check_size(&header, options)?;
            let mut limits = Limits::no_limits();
            let n_pixels = u64::from(header.width) * u64::from(header.height);
            limits.max_alloc = Some(n_pixels * BYTES_PER_PIXEL + EXTRA_BYTES);
            decoder.set_limits(limits).map_err(from_image(name))?;
            let image = DynamicImage::from_decoder(decoder).map_err(from_image(name))?;
            Ok((header, to_rgb(image, name)?))
        }
    })?;
    let (pixels, width, height) =
        orientation::upright(stored, header.width, header.height, header.orientation);
    Ok(RgbImage {
        width,
        height,
        pixels,
        header,
    })
}

/// Turns a decoder's panic on a hostile file into an error of that file.
fn guarded<T>(bytes: &[u8], work: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ImageError::Corrupt {
            format: format_of(bytes).map_or("image", |(_, name)| name),
            reason: "the decoder gave up".into(),
        })
    })
}

fn format_of(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let format = image::guess_format(bytes).ok();
    let name = match format {
        Some(ImageFormat::Jpeg) => "jpeg",
        Some(ImageFormat::Png) => "png",
        Some(ImageFormat::WebP) => "webp",
        Some(ImageFormat::Bmp) => "bmp",
        Some(ImageFormat::Gif) => "gif",
        Some(ImageFormat::Tiff) => "tiff",
        _ => {
            let start = bytes.iter().take(8).flat_map(|&b| b.escape_ascii());
            return Err(ImageError::NotAnImage {
                start: format!("\"{}\"", start.map(char::from).collect::<String>()),
            });
        }
    };
    Ok((format.unwrap_or(ImageFormat::Jpeg), name))
}

fn header(
    format: &'static str,
    width: u32,
    height: u32,
    orientation: u8,
    options: &DecodeOptions,
) -> Header {
    Header {
        format,
        width,
        height,
        orientation: if options.exif_orientation {
            orientation
        } else {
            1
        },
    }
}

fn check_size(header: &Header, options: &DecodeOptions) -> Result<(), ImageError> {
    let (width, height) = (header.width, header.height);
    if width == 0 || height == 0 {
        return Err(ImageError::Corrupt {
            format: header.format,
            reason: format!("the header says {width}x{height}"),
        });
    }
    if u64::from(width) * u64::from(height) > options.max_pixels {
        return Err(ImageError::TooLarge {
            width,
            height,
            max_pixels: options.max_pixels,
        });
    }
    Ok(())
}

fn open<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    name: &'static str,
) -> Result<impl ImageDecoder + 'a, ImageError> {
    ImageReader::with_format(Cursor::new(bytes), format)
        .into_decoder()
        .map_err(from_image(name))
}

fn header_of(
    decoder: &mut impl ImageDecoder,
    name: &'static str,
    options: &DecodeOptions,
) -> Header {
    let (width, height) = decoder.dimensions();
    // A damaged EXIF block is no reason to refuse the pixels.
    let orientation = decoder.orientation().map_or(1, Orientation::to_exif);
    header(name, width, height, orientation, options)
}

/// Converts to interleaved 8-bit RGB by the rules in the module documentation.
fn to_rgb(image: DynamicImage, format: &'static str) -> Result<Vec<u8>, ImageError> {
    fn convert<const N: usize>(samples: &[u8], colour: impl Fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
        let mut rgb = vec![0; samples.len() / N * 3];
        let (pixels, _) = samples.as_chunks::<N>();
        for (out, pixel) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
            *out = colour(pixel);
        }
        rgb
    }
    fn high(samples: &[u16]) -> Vec<u8> {
        samples.iter().map(|&v| (v >> 8) as u8).collect()
    }
    let grey = |p: &[u8; 1]| [p[0]; 3];
    let grey_alpha = |p: &[u8; 2]| [p[0]; 3];
    let colour_alpha = |p: &[u8; 4]| [p[0], p[1], p[2]];
    Ok(match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => convert(&image, grey),
        DynamicImage::ImageLumaA8(image) => convert(&image, grey_alpha),
        DynamicImage::ImageRgba8(image) => convert(&image, colour_alpha),
        DynamicImage::ImageRgb16(image) => high(&image),
        DynamicImage::ImageLuma16(image) => convert(&high(&image), grey),
        DynamicImage::ImageLumaA16(image) => convert(&high(&image), grey_alpha),
        DynamicImage::ImageRgba16(image) => convert(&high(&image), colour_alpha),
        other => {
            return Err(ImageError::Unsupported {
                format,
                reason: format!("{:?} samples", other.color()),
            });
        }
    })
}

fn from_image(format: &'static str) -> impl FnOnce(Foreign) -> ImageError {
    move |error| {
        let text = error.to_string();
        // Our own error already names the format.
        let line = text.lines().next().unwrap_or_default();
        let reason = match line
            .split_once("Format error decoding ")
            .and_then(|(_, rest)| rest.split_once(": "))
        {
            Some((_, reason)) => reason.trim().to_string(),
            None => line.trim().to_string(),
        };
        let ends_early = match &error {
            Foreign::IoError(io) => io.kind() == std::io::ErrorKind::UnexpectedEof,
            _ => {
                let text = text.to_lowercase();
                text.contains("unexpected end")
                    || text.contains("unexpected eof")
                    || text.contains("failed to fill whole buffer")
            }
        };
        match error {
            _ if ends_early => ImageError::Truncated { format, reason },
            Foreign::Unsupported(_) => ImageError::Unsupported { format, reason },
            Foreign::Limits(_) => ImageError::Corrupt {
                format,
                reason: format!("needs more memory than an image of its size should: {reason}"),
            },
            _ => ImageError::Corrupt { format, reason },
        }
    }
}
