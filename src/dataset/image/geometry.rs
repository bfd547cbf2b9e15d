//! Maps boxes of the network's input to the image file.

use super::{Header, InputSpec, Resize};

/// A box in pixel edges, `x0 <= x1`, `y0 <= y1`, inside the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileBox {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
    /// Part of the requested box was outside the network's input or in its padding.
    pub clipped: bool,
}

/// The mapping from input pixels to upright and stored pixels. Built from only the header and the spec.
///
/// Each step is exact arithmetic on pixel edges: input x becomes `(x + crop_left) * upright_width / resized_width`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Stored width and height.
    stored: (u32, u32),
    orientation: u8,
    /// Upright width and height.
    upright: (u32, u32),
    /// Width and height after resizing.
    pub(super) resized: (u32, u32),
    /// Position of the input's first column and row in the resized image; negative with padding.
    pub(super) offset: (i64, i64),
    /// Input width and height.
    pub(super) input: (u32, u32),
}

/// torchvision's `Resize(size)`: width and height, with the longer one rounded down.
fn resized_size(width: u32, height: u32, resize: Resize) -> (u32, u32) {
    let longer = |long: u32, short: u32, size: u32| {
        // In f64, as Python computes it: int(size * long / short).
        (f64::from(size) * f64::from(long) / f64::from(short)) as u32
    };
    match resize {
        Resize::None => (width, height),
        Resize::Exact { height, width } => (width, height),
        Resize::Short(size) if width <= height => (size, longer(height, width, size)),
        Resize::Short(size) => (longer(width, height, size), size),
    }
}

/// torchvision's `CenterCrop` on one axis: start of the crop in the image; negative with padding.
fn crop_offset(length: u32, crop: u32) -> i64 {
    let (length, crop) = (i64::from(length), i64::from(crop));
    if crop > length {
        return -((crop - length) / 2);
    }
    // Python's round(): half to even.
    let (half, odd) = ((length - crop) / 2, (length - crop) % 2);
    if odd == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}

impl Geometry {
    /// The geometry of `preprocess` for an image with this header.
    pub fn new(header: &Header, spec: &InputSpec) -> Geometry {
        let upright = header.upright_size();
        let resized = resized_size(upright.0, upright.1, spec.resize);
        let (offset, input) = match spec.crop {
            None => ((0, 0), resized),
            Some((height, width)) => (
                (
                    crop_offset(resized.0, width),
                    crop_offset(resized.1, height),
                ),
                (width, height),
            ),
        };
        Geometry {
            stored: (header.width, header.height),
            orientation: header.orientation,
            upright,
            resized,
            offset,
            input,
        }
    }

    /// Height and width of the input tensor.
    pub fn input_size(&self) -> (u32, u32) {
        (self.input.1, self.input.0)
    }

    /// The visible part of an input box (`x0, y0, x1, y1` in pixel edges of the input tensor, which it may exceed), in stored file
    /// pixels. The box is first clipped to the input: the network did not see the rest.
    pub fn file_box(&self, input_box: [f64; 4]) -> FileBox {
        let ([x0, y0, x1, y1], clipped) = self.upright_edges(input_box);
        let (a, b) = (self.to_stored(x0, y0), self.to_stored(x1, y1));
        FileBox {
            x0: a.0.min(b.0) as f32,
            y0: a.1.min(b.1) as f32,
            x1: a.0.max(b.0) as f32,
            y1: a.1.max(b.1) as f32,
            clipped,
        }
    }

    /// The same box in upright pixels, those of [`RgbImage`](super::RgbImage), for crops.
    pub fn upright_box(&self, input_box: [f64; 4]) -> FileBox {
        let ([x0, y0, x1, y1], clipped) = self.upright_edges(input_box);
        FileBox {
            x0: x0 as f32,
            y0: y0 as f32,
            x1: x1 as f32,
            y1: y1 as f32,
            clipped,
        }
    }

    /// The same box in input pixels: the part inside the input and outside the padding.
    pub fn seen_box(&self, [x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
        let axis = |low: f64, high: f64, input: u32, offset: i64, resized: u32| {
            let first = (-offset).max(0);
            let last = (i64::from(resized) - offset).min(i64::from(input));
            let (first, last) = (first as f64, last.max(first) as f64);
            (low.clamp(first, last), high.clamp(first, last))
        };
        let (left, right) = axis(x0, x1, self.input.0, self.offset.0, self.resized.0);
        let (top, bottom) = axis(y0, y1, self.input.1, self.offset.1, self.resized.1);
        [left, top, right, bottom]
    }

    /// The input position of an upright point, both in pixel edges (the first pixel's centre is 0.5); `None` if the network did
    /// not see it. The inverse of [`upright_box`](Geometry::upright_box).
    pub fn input_point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let axis = |v: f64, input: u32, offset: i64, resized: u32, upright: u32| {
            let scale = f64::from(resized) / f64::from(upright.max(1));
            let at = v * scale - offset as f64;
            let seen =
                (0.0..=f64::from(upright)).contains(&v) && (0.0..=f64::from(input)).contains(&at);
            seen.then_some(at)
        };
        Some((
            axis(
                x,
                self.input.0,
                self.offset.0,
                self.resized.0,
                self.upright.0,
            )?,
            axis(
                y,
                self.input.1,
                self.offset.1,
                self.resized.1,
                self.upright.1,
            )?,
        ))
    }

    /// The same box in upright pixels, in float64: `x0, y0, x1, y1`, and whether it was clipped.
    pub fn upright_edges(&self, [x0, y0, x1, y1]: [f64; 4]) -> ([f64; 4], bool) {
        // Per axis: clip to the input and to the image in it, then undo crop and resize.
        let axis = |low: f64, high: f64, input: u32, offset: i64, resized: u32, upright: u32| {
            let offset = offset as f64;
            let first = (-offset).max(0.0);
            let last = (f64::from(resized) - offset).min(f64::from(input));
            let scale = f64::from(upright) / f64::from(resized.max(1));
            let edge = |v: f64| {
                ((v.clamp(first, last.max(first)) + offset) * scale).clamp(0.0, f64::from(upright))
            };
            (edge(low), edge(high), low < first || high > last)
        };
        let (left, right, cut_x) = axis(
            x0,
            x1,
            self.input.0,
            self.offset.0,
            self.resized.0,
            self.upright.0,
        );
        let (top, bottom, cut_y) = axis(
            y0,
            y1,
            self.input.1,
            self.offset.1,
            self.resized.1,
            self.upright.1,
        );
        ([left, top, right, bottom], cut_x || cut_y)
    }

    /// An upright point in stored pixels: the inverse of the orientation.
    fn to_stored(self, x: f64, y: f64) -> (f64, f64) {
        let (w, h) = (f64::from(self.stored.0), f64::from(self.stored.1));
        match self.orientation {
            2 => (w - x, y),
            3 => (w - x, h - y),
            4 => (x, h - y),
            5 => (y, x),
            6 => (y, h - x),
            7 => (w - y, h - x),
            8 => (w - y, x),
            _ => (x, y),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::{Interpolation, RgbImage, orientation, preprocess};

    fn header(width: u32, height: u32, orientation: u8) -> Header {
        Header {
            format: "png",
            width,
            height,
            orientation,
        }
    }

    fn spec(resize: Resize, crop: Option<(u32, u32)>) -> InputSpec {
        InputSpec {
            resize,
            crop,
            interpolation: Interpolation::Nearest,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    #[test]
    fn resize_and_crop_computed_by_hand() {
        // 500x375 to 341x256; the crop keeps columns 58..282 and rows 16..240: (341 - 224) / 2 = 58.5, rounded to even.
        let geometry = Geometry::new(
            &header(500, 375, 1),
            &spec(Resize::Short(256), Some((224, 224))),
        );
        assert_eq!(geometry.input_size(), (224, 224));
        let whole = geometry.file_box([0.0, 0.0, 224.0, 224.0]);
        let x = |column: f64| (column * 500.0 / 341.0) as f32;
        let y = |row: f64| (row * 375.0 / 256.0) as f32;
        assert_eq!((whole.x0, whole.x1), (x(58.0), x(282.0)));
        assert_eq!((whole.y0, whole.y1), (y(16.0), y(240.0)));
        assert!(!whole.clipped);
        let (column, row) = geometry.input_point(250.0, 187.5).unwrap();
        assert!((column - 112.5).abs() < 1e-9 && (row - 112.0).abs() < 1e-9);
        assert_eq!(geometry.input_point(80.0, 187.5), None, "left of the crop");
        let beyond = geometry.file_box([-100.0, 10.0, 50.0, 500.0]);
        assert_eq!((beyond.x0, beyond.y1), (x(58.0), y(240.0)));
        assert!(beyond.clipped);
    }

    #[test]
    fn padding_is_not_part_of_the_image() {
        let geometry = Geometry::new(&header(10, 4, 1), &spec(Resize::None, Some((10, 10))));
        let inside = geometry.file_box([2.0, 3.0, 5.0, 7.0]);
        assert_eq!(
            (inside.x0, inside.y0, inside.x1, inside.y1),
            (2.0, 0.0, 5.0, 4.0)
        );
        assert!(!inside.clipped);
        assert_eq!(
            geometry.seen_box([-2.0, 1.0, 5.0, 12.0]),
            [0.0, 3.0, 5.0, 7.0]
        );
        let outside = geometry.file_box([0.0, 0.0, 3.0, 2.0]);
        assert_eq!((outside.y0, outside.y1, outside.clipped), (0.0, 0.0, true));
    }

    #[test]
    fn a_rotated_photo() {
        // Stored as 40x30, upright as 30x40 after a quarter turn clockwise: the upright top left corner is the stored bottom left.
        let geometry = Geometry::new(&header(40, 30, 6), &spec(Resize::None, None));
        let corner = geometry.file_box([0.0, 0.0, 3.0, 5.0]);
        assert_eq!(
            (corner.x0, corner.y0, corner.x1, corner.y1),
            (0.0, 27.0, 5.0, 30.0)
        );
        let upright = geometry.upright_box([0.0, 0.0, 3.0, 5.0]);
        assert_eq!(
            (upright.x0, upright.y0, upright.x1, upright.y1),
            (0.0, 0.0, 3.0, 5.0)
        );
    }

    fn sizes() -> impl Strategy<Value = (u32, u32, u8)> {
        (1u32..40, 1u32..40, 1u8..=8)
    }

    proptest! {
        /// Preprocesses an image whose pixel values encode their stored positions: the box of an input pixel contains the stored
        /// pixel whose value it has.
        #[test]
        fn an_input_pixel_comes_from_its_box(
            (width, height, turn) in sizes(),
            resize in prop_oneof![
                Just(Resize::None),
                (1u32..50).prop_map(Resize::Short),
                (1u32..50, 1u32..50).prop_map(|(height, width)| Resize::Exact { height, width }),
            ],
            crop in prop::option::of((1u32..50, 1u32..50)),
        ) {
            let header = header(width, height, turn);
            let stored: Vec<u8> = (0..height)
                .flat_map(|y| (0..width).flat_map(move |x| [x as u8 + 1, y as u8 + 1, 255]))
                .collect();
            let (pixels, up_width, up_height) = orientation::upright(stored, width, height, turn);
            let image = RgbImage { width: up_width, height: up_height, pixels, header, loss: None };
            let (input, geometry) = preprocess(&image, &spec(resize, crop)).unwrap();
            let (rows, columns) = geometry.input_size();
            prop_assert_eq!(input.len(), (rows * columns * 3) as usize);
            for row in 0..rows {
                for column in 0..columns {
                    let pixel = &input[((row * columns + column) * 3) as usize..][..3];
                    let (x, y) = (f64::from(column), f64::from(row));
                    let found = geometry.file_box([x, y, x + 1.0, y + 1.0]);
                    let area = (found.x1 - found.x0) * (found.y1 - found.y0);
                    if pixel == [0, 0, 0] {
                        prop_assert!(area == 0.0 && found.clipped, "padding at {row}, {column}: {found:?}");
                        continue;
                    }
                    prop_assert!(area > 0.0 && !found.clipped, "{found:?}");
                    let (left, top) = (f32::from(pixel[0]) - 1.0, f32::from(pixel[1]) - 1.0);
                    let slack = 1e-3;
                    prop_assert!(found.x0 < left + 1.0 + slack && left < found.x1 + slack, "x {left} in {found:?}");
                    prop_assert!(found.y0 < top + 1.0 + slack && top < found.y1 + slack, "y {top} in {found:?}");
                }
            }
        }

        /// From an input point to the upright point and back; none in padding or outside the image.
        #[test]
        fn input_points_round_trip(
            (width, height, turn) in sizes(),
            size in 1u32..50,
            crop in prop::option::of((1u32..50, 1u32..50)),
            at in (0.01..0.99, 0.01..0.99),
        ) {
            let geometry = Geometry::new(&header(width, height, turn), &spec(Resize::Short(size), crop));
            let (rows, columns) = geometry.input_size();
            let (x, y) = (at.0 * f64::from(columns), at.1 * f64::from(rows));
            let upright = geometry.upright_box([x, y, x, y]);
            if !upright.clipped {
                let (back_x, back_y) = geometry.input_point(upright.x0.into(), upright.y0.into()).unwrap();
                prop_assert!((back_x - x).abs() < 1e-3 && (back_y - y).abs() < 1e-3, "{x}, {y}: {back_x}, {back_y}");
            }
            let (up_width, up_height) = header(width, height, turn).upright_size();
            prop_assert_eq!(geometry.input_point(-0.1, 0.5), None);
            prop_assert_eq!(geometry.input_point(0.5, f64::from(up_height) + 0.1), None);
            prop_assert_eq!(geometry.input_point(f64::from(up_width) * 1.1, 0.5), None);
        }

        /// Boxes stay inside the image, and larger boxes map to larger boxes.
        #[test]
        fn boxes_stay_inside_and_are_monotonic(
            (width, height, turn) in sizes(),
            size in 1u32..50,
            crop in prop::option::of((1u32..50, 1u32..50)),
            corner in (-60.0..60.0, -60.0..60.0),
            extent in (0.0..60.0, 0.0..60.0),
            more in 0.0..30.0,
        ) {
            let geometry = Geometry::new(&header(width, height, turn), &spec(Resize::Short(size), crop));
            let (x, y) = corner;
            let small = geometry.file_box([x, y, x + extent.0, y + extent.1]);
            let large = geometry.file_box([x - more, y - more, x + extent.0 + more, y + extent.1 + more]);
            for found in [small, large] {
                prop_assert!(0.0 <= found.x0 && found.x0 <= found.x1 && found.x1 <= width as f32, "{found:?}");
                prop_assert!(0.0 <= found.y0 && found.y0 <= found.y1 && found.y1 <= height as f32, "{found:?}");
            }
            let slack = 1e-3;
            prop_assert!(large.x0 <= small.x0 + slack && large.y0 <= small.y0 + slack);
            prop_assert!(large.x1 >= small.x1 - slack && large.y1 >= small.y1 - slack);
        }
    }
}
