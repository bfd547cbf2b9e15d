//! Colour maps, alpha and YCbCr.

use super::{
    fault::FORMAT,
    layout::{Compression, Layout, Photometric},
};
use crate::image::{ImageError, ifd::Directory};

const COLOUR_MAP: u16 = 320;
const COEFFICIENTS: u16 = 529;
const REFERENCE: u16 = 532;

/// What turns samples into colours.
#[derive(Default)]
pub(super) struct Colours {
    /// RGB.
    pub palette: Vec<u8>,
    pub ycbcr: YCbCr,
}

impl Colours {
    pub fn read(directory: &Directory, layout: &Layout) -> Result<Colours, ImageError> {
        let mut colours = Colours::default();
        match layout.photometric {
            Photometric::Palette => colours.palette = palette(directory)?,
            Photometric::YCbCr
                if layout.compression == Compression::None && layout.subsampling == (1, 1) =>
            {
                colours.ycbcr = YCbCr::of_pillow();
            }
            Photometric::YCbCr => colours.ycbcr = YCbCr::of_libtiff(directory)?,
            _ => {}
        }
        Ok(colours)
    }
}

/// The map has all reds, then all greens and all blues, of 16 bits. The high byte counts, as in Pillow.
fn palette(directory: &Directory) -> Result<Vec<u8>, ImageError> {
    let map = directory.values(COLOUR_MAP);
    let map = map.ok_or_else(|| FORMAT.corrupt("a palette image without a colour map"))?;
    let n = (map.len() / 3).min(256);
    let byte = |i| map.unsigned(i).unwrap_or(0) >> 8;
    let stride = map.len() / 3;
    let colours = (0..n).flat_map(|i| [i, i + stride, i + 2 * stride]);
    Ok(colours.map(|i| byte(i) as u8).collect())
}

/// The colour that was multiplied with alpha, as Pillow rounds it.
pub(super) fn unmultiplied(colour: [u8; 3], alpha: u8) -> [u8; 3] {
    match alpha {
        0 => [0; 3],
        255 => colour,
        alpha => colour.map(|c| (u32::from(c) * 255 / u32::from(alpha)).min(255) as u8),
    }
}

/// Tables from Y, Cb and Cr to RGB.
#[derive(Default)]
pub(super) struct YCbCr {
    luminance: Vec<i32>,
    cr_red: Vec<i32>,
    cb_blue: Vec<i32>,
    /// These two are summed before they are shifted.
    cr_green: Vec<i32>,
    cb_green: Vec<i32>,
    shift: u32,
}

impl YCbCr {
    /// Pillow's own conversion, which it uses for uncompressed pixels: JFIF, in 64ths.
    fn of_pillow() -> YCbCr {
        let table = |factor: f64, shift: u32| -> Vec<i32> {
            let entry = |i: i32| (factor * 64.0 * f64::from(i - 128) + 0.5) as i32 >> shift;
            (0..256).map(entry).collect()
        };
        YCbCr {
            luminance: (0..256).collect(),
            cr_red: table(1.402, 6),
            cb_blue: table(1.772, 6),
            cr_green: table(-0.71414, 0),
            cb_green: table(-0.34414, 0),
            shift: 6,
        }
    }

    /// Libtiff's conversion, in 65536ths, by the file's coefficients and its levels of black and white.
    fn of_libtiff(directory: &Directory) -> Result<YCbCr, ImageError> {
        let floats = |tag, default: &[f32]| -> Vec<f32> {
            let values = directory.values(tag);
            let read = |i| values?.float(i).map(|value| value as f32);
            let read: Option<Vec<f32>> = (0..default.len()).map(read).collect();
            read.unwrap_or(default.to_vec())
        };
        let luma = floats(COEFFICIENTS, &[0.299, 0.587, 0.114]);
        let levels = floats(REFERENCE, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let usable = luma.iter().all(|value| value.is_finite()) && luma[1] != 0.0;
        // NaN has no place in a range.
        if !usable || levels.iter().any(|level| !(-1e9..1e9).contains(level)) {
            return Err(FORMAT.corrupt("impossible YCbCr coefficients or levels"));
        }
        let fixed = |factor: f32| (f64::from(factor.clamp(0.0, 2.0)) * 65536.0 + 0.5) as i32;
        let red = 2.0 - 2.0 * luma[0];
        let blue = 2.0 - 2.0 * luma[2];
        let (red_factor, blue_factor) = (fixed(red), fixed(blue));
        let cr_green = -fixed(luma[0] * red / luma[1]);
        let cb_green = -fixed(luma[2] * blue / luma[1]);
        let level = |code: i32, black: f32, white: f32, range: f32| {
            let span = if white == black { 1.0 } else { white - black };
            let value = (code - black as i32) as f32 * range / span;
            value.clamp(-4096.0, 4096.0) as i32
        };
        let chroma =
            |i: i32, at: usize| level(i - 128, levels[at] - 128.0, levels[at + 1] - 128.0, 127.0);
        let (cb, cr) = (|i| chroma(i, 2), |i| chroma(i, 4));
        let half = 1 << 15;
        Ok(YCbCr {
            luminance: (0..256)
                .map(|i| level(i, levels[0], levels[1], 255.0))
                .collect(),
            cr_red: (0..256)
                .map(|i| (red_factor * cr(i) + half) >> 16)
                .collect(),
            cb_blue: (0..256)
                .map(|i| (blue_factor * cb(i) + half) >> 16)
                .collect(),
            cr_green: (0..256).map(|i| cr_green * cr(i)).collect(),
            cb_green: (0..256).map(|i| cb_green * cb(i) + half).collect(),
            shift: 16,
        })
    }

    pub fn rgb(&self, &[y, cb, cr]: &[u8; 3]) -> [u8; 3] {
        let [y, cb, cr] = [y, cb, cr].map(usize::from);
        let luminance = self.luminance[y];
        let green = (self.cb_green[cb] + self.cr_green[cr]) >> self.shift;
        [
            luminance + self.cr_red[cr],
            luminance + green,
            luminance + self.cb_blue[cb],
        ]
        .map(|level| level.clamp(0, 255) as u8)
    }
}
