//! The eight EXIF orientations, for pixels. (For boxes, see `geometry`.)

/// Turns interleaved RGB `pixels` of `width` x `height` upright; returns the pixels, the new width and height.
pub(super) fn upright(
    pixels: Vec<u8>,
    width: u32,
    height: u32,
    orientation: u8,
) -> (Vec<u8>, u32, u32) {
    if !(2..=8).contains(&orientation) {
        return (pixels, width, height);
    }
    let (w, h) = (width as usize, height as usize);
    let (new_w, new_h) = if orientation >= 5 { (h, w) } else { (w, h) };
    let mut out = vec![0; pixels.len()];
    // The stored index of the upright pixel (0, 0), and the index steps for one pixel right and one down.
    let (w, h) = (w as isize, h as isize);
    let (start, right, down) = match orientation {
        2 => (w - 1, -1, w),
        3 => (w * h - 1, -1, -w),
        4 => (w * (h - 1), 1, -w),
        5 => (0, w, 1),
        6 => (w * (h - 1), -w, 1),
        7 => (w * h - 1, -w, -1),
        _ => (w - 1, w, -1),
    };
    for (row, line) in out.chunks_exact_mut(new_w * 3).enumerate() {
        let mut at = start + down * row as isize;
        for pixel in line.chunks_exact_mut(3) {
            let from = at as usize * 3;
            pixel.copy_from_slice(&pixels[from..from + 3]);
            at += right;
        }
    }
    (out, new_w as u32, new_h as u32)
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
