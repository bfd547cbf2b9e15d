//! The colours of all pictures. Charts are dark on white, photo sheets light on dark. The report's pages follow the reader's light
//! or dark scheme, so their colours are in `report.css` and `map.js`.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Colours of charts.
pub(super) mod chart {
    use super::Rgb;

    pub const PAPER: Rgb = [255, 255, 255];
    /// Background of points or cells.
    pub const GROUND: Rgb = [246, 247, 249];
    pub const INK: Rgb = [32, 37, 46];
    /// Secondary text.
    pub const SOFT: Rgb = [98, 106, 120];
    /// Points without a group, right and wrong ones.
    pub const GREY: Rgb = [0xb4, 0xb9, 0xc2];
    pub const RIGHT: Rgb = [0x8f, 0xb4, 0xdc];
    pub const WRONG: Rgb = [0xd0, 0x28, 0x30];

    /// Groups of points. Chosen greedily among colours of medium lightness and chroma, each as far as possible from the previous ones,
    /// white and grey in OKLab (Ottosson 2020), with 30 % of the distance as seen with red-green colour blindness (Machado et al.
    /// 2009); the first ten are ordered so that adjacent ones differ.
    pub const GROUPS: [Rgb; 20] = [
        [0x30, 0x70, 0xc0],
        [0xf0, 0x88, 0x20],
        [0x10, 0x90, 0x58],
        [0xd0, 0x38, 0x40],
        [0x68, 0x10, 0x60],
        [0x00, 0xb0, 0xd8],
        [0xd8, 0x80, 0xf8],
        [0x88, 0x60, 0x00],
        [0x70, 0xb0, 0x00],
        [0xf8, 0x68, 0x98],
        [0x00, 0x50, 0x00],
        [0x18, 0xe0, 0x88],
        [0x88, 0x20, 0x00],
        [0x00, 0x40, 0x90],
        [0xd0, 0xc8, 0x00],
        [0xa8, 0x38, 0x98],
        [0x00, 0x68, 0x68],
        [0x60, 0xd8, 0xe0],
        [0x98, 0x80, 0xb8],
        [0xf0, 0xa8, 0xd8],
    ];
}

/// Colours of photo sheets.
pub mod sheet {
    use super::Rgb;

    pub const BACKGROUND: Rgb = [24, 26, 31];
    pub const INK: Rgb = [226, 228, 233];
    /// Secondary text.
    pub const FAINT: Rgb = [150, 154, 163];
    pub const RULE: Rgb = [70, 74, 82];
    /// Behind pictures that do not fill their cell.
    pub const GROUND: Rgb = [38, 41, 47];
    /// Between the tiles of a unit; equals `--mat` of the report's pages, which show them.
    pub const MAT: Rgb = [36, 39, 46];
    /// In place of a missing picture.
    pub const GONE: Rgb = [96, 100, 108];
    /// Around a highlighted region.
    pub const MARK: Rgb = [255, 210, 40];
    /// Around the query, and neighbours with its label, another and none; safe for red-green colour blindness (Okabe & Ito 2008).
    pub const QUERY: Rgb = [240, 240, 240];
    pub const SAME: Rgb = [0, 158, 115];
    pub const OTHER: Rgb = [230, 120, 0];
    pub const UNKNOWN: Rgb = [110, 114, 122];
}

/// The ends of the diverging scale (ColorBrewer RdBu), safe for all common colour vision deficiencies.
const NEGATIVE: Rgb = [33, 102, 172];
const POSITIVE: Rgb = [178, 24, 43];

/// The signed diverging scale: blue at -1, white at 0, red at 1, linear in between and clipped; NaN is white.
pub(super) fn diverging(value: f32) -> Rgb {
    let end = if value < 0.0 { NEGATIVE } else { POSITIVE };
    let share = if value.is_nan() { 0.0 } else { value.abs() };
    mixed(chart::PAPER, end, share)
}

/// The perceptually uniform heat scale: black, purple, orange, light yellow (van der Walt & Smith's inferno).
pub(super) fn heat(share: f32) -> Rgb {
    colorous::INFERNO.eval_continuous(share.into()).into_array()
}

/// The scale of a matrix's fractions: pale yellow, red, dark violet (van der Walt & Smith's magma, perceptually uniform, reversed,
/// without its ends).
pub(super) fn share(share: f64) -> Rgb {
    let along = share.clamp(0.0, 1.0).sqrt();
    colorous::MAGMA
        .eval_continuous(0.97 - 0.79 * along)
        .into_array()
}

/// `above` over `below` with opacity `share` (0..=1).
pub(super) fn mixed(below: Rgb, above: Rgb, share: f32) -> Rgb {
    [0, 1, 2].map(|channel| mix(below[channel], above[channel], share))
}

/// [`mixed`] for one channel.
pub(super) fn mix(below: u8, above: u8, share: f32) -> u8 {
    let (below, above) = (f32::from(below), f32::from(above));
    (below + (above - below) * share.clamp(0.0, 1.0)).round() as u8
}

/// Rec. 601 luma in thousandths of a level, 0 to 255,000.
pub(super) fn luma(pixel: &[u8]) -> u32 {
    let weighted = (pixel.iter().zip([299, 587, 114])).map(|(&v, weight)| u32::from(v) * weight);
    weighted.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diverging_scale_is_white_at_zero() {
        assert_eq!(diverging(0.0), [255; 3]);
        assert_eq!(diverging(-0.0), [255; 3]);
        assert_eq!(diverging(f32::NAN), [255; 3]);
        assert_eq!(diverging(1.0), POSITIVE);
        assert_eq!(diverging(-7.0), NEGATIVE);
        assert_eq!(diverging(f32::INFINITY), POSITIVE);
    }

    #[test]
    fn luma_of_grey_is_its_level() {
        assert_eq!(luma(&[0, 0, 0]), 0);
        assert_eq!(luma(&[77, 77, 77]), 77_000);
        assert_eq!(luma(&[255, 255, 255]), 255_000);
    }
}
