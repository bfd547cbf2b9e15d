//! Samples of any layout to interleaved 8-bit RGB, by the rules of Pillow's `convert("RGB")`.

use super::Depth;

/// Pixels in stored order.
pub(super) struct Stored {
    /// Interleaved RGB.
    pub pixels: Vec<u8>,
    /// What a damaged file lost.
    pub loss: Option<String>,
}

/// Unpacks a row of `n` samples of 1, 2, 4 or 8 bits, most significant bits first. Missing bytes read as 0.
pub(super) fn unpack(row: &[u8], bits: u8, n: usize) -> Vec<u8> {
    if bits == 8 {
        let mut samples = row[..row.len().min(n)].to_vec();
        samples.resize(n, 0);
        return samples;
    }
    let mask = (1_u16 << bits) as u8 - 1;
    let per_byte = 8 / usize::from(bits);
    let sample = |i: usize| {
        let byte = row.get(i / per_byte).copied().unwrap_or(0);
        byte >> (8 - usize::from(bits) * (i % per_byte + 1)) & mask
    };
    (0..n).map(sample).collect()
}

/// Grey samples of 1, 2, 4 or 8 bits, stretched to 0..=255.
pub(super) fn stretch(samples: &mut [u8], bits: u8) {
    let factor = match bits {
        1 => 255,
        2 => 85,
        4 => 17,
        _ => return,
    };
    for sample in samples {
        *sample *= factor;
    }
}

/// 16-bit greys of an image whose largest is `largest`, to 8 bits.
///
/// `Scale` takes the smallest of 8, 10, 12, 14 and 16 bits that holds the image's largest sample for its depth: microscopes,
/// X-ray and depth cameras write 10 to 14 bits into 16. So an image that uses all 16 bits keeps its high byte, and one of values
/// below 256 keeps its values.
pub(super) fn level(largest: u16, depth: Depth) -> impl Fn(u16) -> u8 {
    let down = match depth {
        Depth::HighByte => 8,
        Depth::Clip => 0,
        Depth::Scale => {
            let needed = 16 - largest.leading_zeros();
            needed.max(8).next_multiple_of(2) - 8
        }
    };
    move |sample| (sample >> down).min(255) as u8
}

/// Pixels converted at once.
const BLOCK: usize = 1024;

/// Pixels of `N` bytes, at most 4, to RGB, in the same memory.
pub(super) fn convert<const N: usize>(
    mut samples: Vec<u8>,
    colour: impl Fn(&[u8; N]) -> [u8; 3],
) -> Vec<u8> {
    let n = samples.len() / N;
    let mut copy = [0; BLOCK * 4];
    let mut convert_block = |samples: &mut [u8], block: usize| {
        let first = block * BLOCK;
        let n = BLOCK.min(n - first);
        let copy = &mut copy[..n * N];
        copy.copy_from_slice(&samples[first * N..][..n * N]);
        let (out, _) = samples[first * 3..][..n * 3].as_chunks_mut::<3>();
        for (out, pixel) in out.iter_mut().zip(copy.as_chunks::<N>().0) {
            *out = colour(pixel);
        }
    };
    // From the end where a pixel grows: nothing is written over what is still to be read.
    if N < 3 {
        samples.reserve_exact(n * 3 - samples.len());
        samples.resize(n * 3, 0);
        (0..n.div_ceil(BLOCK))
            .rev()
            .for_each(|block| convert_block(&mut samples, block));
    } else {
        (0..n.div_ceil(BLOCK)).for_each(|block| convert_block(&mut samples, block));
        samples.truncate(n * 3);
    }
    samples
}

/// One grey sample to RGB.
pub(super) fn grey(samples: Vec<u8>) -> Vec<u8> {
    convert(samples, |p: &[u8; 1]| [p[0]; 3])
}

/// Palette indices to RGB. An index beyond the palette is black, as in Pillow.
pub(super) fn palette(indices: Vec<u8>, palette: &[u8]) -> Vec<u8> {
    let (colours, _) = palette.as_chunks::<3>();
    convert(indices, |&[index]: &[u8; 1]| {
        colours.get(usize::from(index)).copied().unwrap_or_default()
    })
}

/// Colour with alpha to RGB: alpha is dropped, not blended.
pub(super) fn without_alpha(samples: Vec<u8>) -> Vec<u8> {
    convert(samples, |p: &[u8; 4]| [p[0], p[1], p[2]])
}

/// Cyan, magenta, yellow and black (0 = no ink) to RGB.
pub(super) fn cmyk(samples: Vec<u8>) -> Vec<u8> {
    convert(samples, |&[c, m, y, k]: &[u8; 4]| {
        let white = 255 - k;
        [c, m, y].map(|ink| white - times(ink, white))
    })
}

/// `a * b / 255`, rounded.
fn times(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_scaled_by_the_smallest_usual_depth() {
        let levels = |samples: &[u16], depth| -> Vec<u8> {
            let largest = samples.iter().copied().max().unwrap_or(0);
            samples.iter().copied().map(level(largest, depth)).collect()
        };
        let scaled = |samples: &[u16]| levels(samples, Depth::Scale);
        assert_eq!(scaled(&[0, 7, 255]), [0, 7, 255]);
        assert_eq!(scaled(&[0, 512, 1023]), [0, 128, 255]);
        assert_eq!(scaled(&[0, 2048, 4095]), [0, 128, 255]);
        assert_eq!(scaled(&[4096, 16383]), [64, 255]);
        assert_eq!(scaled(&[0, 256, 65535]), [0, 1, 255]);
        assert_eq!(levels(&[3, 256, 65535], Depth::Clip), [3, 255, 255]);
        assert_eq!(levels(&[3, 256, 65535], Depth::HighByte), [0, 1, 255]);
    }

    #[test]
    fn packed_samples_are_read_from_the_high_bits() {
        assert_eq!(unpack(&[0b1011_0001], 1, 8), [1, 0, 1, 1, 0, 0, 0, 1]);
        assert_eq!(unpack(&[0b1011_0001], 2, 3), [2, 3, 0]);
        assert_eq!(unpack(&[0xAB, 0xC0], 4, 3), [0xA, 0xB, 0xC]);
        let mut greys = unpack(&[0b1110_0100], 2, 4);
        stretch(&mut greys, 2);
        assert_eq!(greys, [255, 170, 85, 0]);
    }

    /// `n` pixels of `N` samples, whose colour is their first sample, their number of samples and their last sample.
    fn converted<const N: usize>(n: usize) {
        let samples: Vec<u8> = (0..n * N).map(|i| (i % 251) as u8).collect();
        let pixels = samples.chunks_exact(N);
        let expected: Vec<u8> = pixels.flat_map(|p| [p[0], N as u8, p[N - 1]]).collect();
        let rgb = convert(samples, |p: &[u8; N]| [p[0], N as u8, p[N - 1]]);
        assert_eq!(rgb, expected, "{n} pixels of {N} samples");
    }

    #[test]
    fn pixels_of_any_width_are_converted_where_they_are() {
        for n in [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5000] {
            converted::<1>(n);
            converted::<2>(n);
            converted::<3>(n);
            converted::<4>(n);
        }
    }

    #[test]
    fn an_index_beyond_the_palette_is_black() {
        assert_eq!(palette(vec![0, 9], &[1, 2, 3]), [1, 2, 3, 0, 0, 0]);
    }
}
