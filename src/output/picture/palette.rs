//! The colours of all pictures. Charts are dark on white, sheets of photos light on a dark ground. The report's pages follow the
//! reader's light or dark scheme, so their colours stand in `report.css` and `map.js`.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Of charts.
pub(super) mod chart {
    use super::Rgb;

    pub const PAPER: Rgb = [255, 255, 255];
    /// Behind the points or cells.
    pub const GROUND: Rgb = [246, 247, 249];
    pub const INK: Rgb = [32, 37, 46];
    /// Of what explains and is not to be read first.
    pub const SOFT: Rgb = [98, 106, 120];
    /// Points of no group, right ones and wrong ones.
    pub const GREY: Rgb = [0xb4, 0xb9, 0xc2];
    pub const RIGHT: Rgb = [0x8f, 0xb4, 0xdc];
    pub const WRONG: Rgb = [0xd0, 0x28, 0x30];

    /// Groups of points. Chosen one after another among colours of middling lightness and colourfulness, each as far as possible from
    /// those before it, from white and from grey, in OKLab (Ottosson 2020), 30 % of the distance as red- or green-blind people see
    /// it (Machado et al. 2009); the first ten put in an order in which neighbours differ.
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

/// Of sheets of photos.
pub mod sheet {
    use super::Rgb;

    pub const BACKGROUND: Rgb = [24, 26, 31];
    pub const INK: Rgb = [226, 228, 233];
    /// Of what is not to be read first.
    pub const FAINT: Rgb = [150, 154, 163];
    pub const RULE: Rgb = [70, 74, 82];
    /// Behind pictures that do not fill their place.
    pub const GROUND: Rgb = [38, 41, 47];
    /// Between the tiles of a unit: `--mat` of the report's pages, where they are shown.
    pub const MAT: Rgb = [36, 39, 46];
    /// In place of a picture that is gone.
    pub const GONE: Rgb = [96, 100, 108];
    /// Round a place that matters.
    pub const MARK: Rgb = [255, 210, 40];
    /// Round the query, what has its label, what has another, and what has none; told apart by people who cannot tell red from
    /// green (Okabe & Ito 2008).
    pub const QUERY: Rgb = [240, 240, 240];
    pub const SAME: Rgb = [0, 158, 115];
    pub const OTHER: Rgb = [230, 120, 0];
    pub const UNKNOWN: Rgb = [110, 114, 122];
}

/// The ends of the diverging scale (ColorBrewer RdBu): told apart with every common colour-vision deficiency.
const NEGATIVE: Rgb = [33, 102, 172];
const POSITIVE: Rgb = [178, 24, 43];

/// The signed diverging scale: -1 blue, 0 white, 1 red, linear between; beyond ±1 the ends; NaN white.
pub(super) fn diverging(value: f32) -> Rgb {
    let end = if value < 0.0 { NEGATIVE } else { POSITIVE };
    let share = if value.is_nan() { 0.0 } else { value.abs() };
    mixed(chart::PAPER, end, share)
}

/// Heat: black, purple, orange, light yellow, as even in brightness as in difference (van der Walt & Smith's inferno).
pub(super) fn heat(share: f32) -> Rgb {
    colorous::INFERNO.eval_continuous(share.into()).into_array()
}

/// A matrix's share: from pale yellow over red to dark violet (van der Walt & Smith's magma, perceptually uniform, backwards,
/// without its ends).
pub(super) fn share(share: f64) -> Rgb {
    let along = share.clamp(0.0, 1.0).sqrt();
    colorous::MAGMA
        .eval_continuous(0.97 - 0.79 * along)
        .into_array()
}

/// `above` over `below`, `share` (0..=1) of it.
pub(super) fn mixed(below: Rgb, above: Rgb, share: f32) -> Rgb {
    [0, 1, 2].map(|channel| mix(below[channel], above[channel], share))
}

/// [`mixed`], of one channel.
pub(super) fn mix(below: u8, above: u8, share: f32) -> u8 {
    let (below, above) = (f32::from(below), f32::from(above));
    (below + (above - below) * share.clamp(0.0, 1.0)).round() as u8
}

/// Brightness by Rec. 601, in thousandths of a level: from 0 to 255,000.
pub(super) fn luma(pixel: &[u8]) -> u32 {
    let weighed = (pixel.iter().zip([299, 587, 114])).map(|(&v, weight)| u32::from(v) * weight);
    weighed.sum()
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
    fn brightness_is_that_of_grey() {
        assert_eq!(luma(&[0, 0, 0]), 0);
        assert_eq!(luma(&[77, 77, 77]), 77_000);
        assert_eq!(luma(&[255, 255, 255]), 255_000);
    }
}
