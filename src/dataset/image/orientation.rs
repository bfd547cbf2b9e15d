//! The eight EXIF orientations, for pixels. (For boxes, see `geometry`.)

/// Stored rows turned at once.
const BAND: usize = 64;

/// Turns interleaved RGB `pixels` of `width` x `height` upright; returns the pixels, the new width and height. Takes hardly more
/// memory than the pixels.
pub(super) fn upright(
    mut pixels: Vec<u8>,
    width: u32,
    height: u32,
    orientation: u8,
) -> (Vec<u8>, u32, u32) {
    let (w, h) = (width as usize, height as usize);
    match orientation {
        2 => pixels.chunks_exact_mut(w * 3).for_each(mirror),
        3 => mirror(&mut pixels),
        4 => flip(&mut pixels, w * 3),
        5..=8 => return (transposed(pixels, w, h, orientation), height, width),
        _ => {}
    }
    (pixels, width, height)
}

/// Reverses the order of the pixels.
fn mirror(pixels: &mut [u8]) {
    let (pixels, _) = pixels.as_chunks_mut::<3>();
    pixels.reverse();
}

/// Reverses the order of the rows.
pub(super) fn flip(pixels: &mut [u8], row_bytes: usize) {
    let n_rows = pixels.len() / row_bytes.max(1);
    for row in 0..n_rows / 2 {
        let (above, below) = pixels.split_at_mut((n_rows - 1 - row) * row_bytes);
        above[row * row_bytes..][..row_bytes].swap_with_slice(&mut below[..row_bytes]);
    }
}

/// Orientations 5 to 8, band by band from the end, whose memory is given back.
fn transposed(mut pixels: Vec<u8>, w: usize, h: usize, orientation: u8) -> Vec<u8> {
    let mut out = vec![0; pixels.len()];
    let bands = (0..h).step_by(BAND).map(|top| top..(top + BAND).min(h));
    for band in bands.rev() {
        for (row, line) in out.chunks_exact_mut(h * 3).enumerate() {
            let column = if orientation <= 6 { row } else { w - 1 - row };
            for y in band.clone() {
                let at = if [5, 8].contains(&orientation) {
                    y
                } else {
                    h - 1 - y
                };
                let from = (y * w + column) * 3;
                line[at * 3..][..3].copy_from_slice(&pixels[from..][..3]);
            }
        }
        pixels.truncate(band.start * w * 3);
        pixels.shrink_to_fit();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::upright;

    /// From the EXIF standard: the edges of the scene at stored row 0 and column 0 for each orientation.
    /// The scene is 3 wide and 2 high, its pixels numbered 1..=6 in reading order.
    #[test]
    fn all_eight_orientations_of_a_scene_become_upright() {
        let stored: [(u8, u32, &[u8]); 8] = [
            (1, 3, &[1, 2, 3, 4, 5, 6]), // row 0 = top, column 0 = left
            (2, 3, &[3, 2, 1, 6, 5, 4]), // top, right
            (3, 3, &[6, 5, 4, 3, 2, 1]), // bottom, right
            (4, 3, &[4, 5, 6, 1, 2, 3]), // bottom, left
            (5, 2, &[1, 4, 2, 5, 3, 6]), // left, top
            (6, 2, &[3, 6, 2, 5, 1, 4]), // right, top
            (7, 2, &[6, 3, 5, 2, 4, 1]), // right, bottom
            (8, 2, &[4, 1, 5, 2, 6, 3]), // left, bottom
        ];
        for (orientation, width, scene) in stored {
            let rgb: Vec<u8> = scene.iter().flat_map(|&v| [v, v + 10, v + 20]).collect();
            let (out, w, h) = upright(rgb, width, 6 / width, orientation);
            let first: Vec<u8> = out.chunks_exact(3).map(|p| p[0]).collect();
            assert_eq!((w, h), (3, 2), "orientation {orientation}");
            assert_eq!(first, [1, 2, 3, 4, 5, 6], "orientation {orientation}");
            assert!(
                out.chunks_exact(3)
                    .all(|p| p[1] == p[0] + 10 && p[2] == p[0] + 20)
            );
        }
    }
}
