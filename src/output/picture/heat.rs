//! Overlays of class activation maps on their photo.

use prospect_dataset::image::{Geometry, RgbImage};

use super::{
    Panel, Picture, PictureError, PixelBox, check_shape,
    palette::{self, Rgb, luma, mix, mixed},
    panels::{COLUMNS, side_by_side},
    tile,
};

/// Smaller photos are enlarged to about this many pixels along the longer side, by an integer factor.
const SMALL: u32 = 256;
/// Opacity of the heat map over the grey photo.
const HEAT: f32 = 0.55;
/// Brightness of pixels outside the network's input.
const UNSEEN: f32 = 0.2;

/// A raw map `[rows, cols]` over the whole network input, with its caption.
#[derive(Debug, Clone)]
pub struct Heat<'a> {
    pub map: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    /// The caption.
    pub lines: Vec<String>,
}

/// Draws the photo and a panel per heat map: the upright grey photo under the raw map, rectified at 0, on a perceptually uniform
/// colour scale from 0 to the map's maximum. Pixels outside the network's input are dark. `about` is the photo's caption. The
/// photo is scaled to at most `max_size` pixels along the longer side.
pub fn heat_picture(
    image: &RgbImage,
    geometry: &Geometry,
    about: Vec<String>,
    heats: &[Heat],
    max_size: u32,
) -> Result<Picture, PictureError> {
    let scene = Scene::new(image, geometry, max_size)?;
    let mut panels = vec![scene.photo(about)];
    for heat in heats {
        panels.push(scene.heat(heat)?);
    }
    side_by_side(&panels, COLUMNS)
}

/// A photo at its displayed size, with the mapping from its pixels to the network's input.
pub struct Scene<'a> {
    photo: Picture,
    geometry: &'a Geometry,
    /// Size of the upright photo before scaling.
    upright: (u32, u32),
}

impl Scene<'_> {
    /// `geometry` belongs to `image`.
    pub fn new<'a>(
        image: &RgbImage,
        geometry: &'a Geometry,
        max_size: u32,
    ) -> Result<Scene<'a>, PictureError> {
        let (width, height) = (image.width, image.height);
        let longest = width.max(height).max(1);
        let size = match max_size / longest {
            0 => max_size,
            max_factor => longest * (SMALL / longest).clamp(1, max_factor),
        };
        let whole = PixelBox::whole(width, height);
        Ok(Scene {
            photo: tile(&image.pixels, width, height, whole, size)?,
            geometry,
            upright: (width, height),
        })
    }

    /// The plain photo.
    pub fn photo(&self, lines: Vec<String>) -> Panel {
        Panel::new(self.photo.clone(), lines)
    }

    /// The photo under a map, with its colour bar.
    pub fn heat(&self, heat: &Heat) -> Result<Panel, PictureError> {
        check_shape(heat.map.len(), &[heat.rows, heat.cols])?;
        let (map, max) = normalised(heat.map);
        let picture = self.map_seen(|input, grey| {
            let share = interpolate(&map, (heat.rows, heat.cols), input);
            mixed([grey; 3], palette::heat(share), HEAT)
        });
        Ok(Panel {
            max: Some(max),
            ..Panel::new(picture, heat.lines.clone())
        })
    }

    /// The photo with a picture of the network's input (or of the same extent) at the input's position.
    pub fn input(&self, picture: &Picture, lines: Vec<String>) -> Result<Panel, PictureError> {
        let shape = [picture.height as usize, picture.width as usize, 3];
        check_shape(picture.pixels.len(), &shape)?;
        let shown = self.map_seen(|(y, x), _| {
            let index = |share: f64, size: u32| ((share * f64::from(size)) as u32).min(size - 1);
            picture
                .at(index(x, picture.width), index(y, picture.height))
                .unwrap_or_default()
        });
        Ok(Panel::new(shown, lines))
    }

    /// Recolours the pixels inside the network's input by `colour`, a function of the position in the input (row and column as
    /// fractions of its height and width) and the brightness; the others are dark.
    fn map_seen(&self, colour: impl Fn((f64, f64), u8) -> Rgb) -> Picture {
        let mut picture = self.photo.clone();
        let width = picture.width as usize;
        for (at, pixel) in picture.pixels.chunks_exact_mut(3).enumerate() {
            let grey = ((luma(pixel) + 500) / 1000) as u8;
            let recoloured = match self.input_position(at / width, at % width) {
                Some(position) => colour(position, grey),
                None => [mix(0, grey, UNSEEN); 3],
            };
            pixel.copy_from_slice(&recoloured);
        }
        picture
    }

    /// The position of a displayed pixel's centre in the input: row and column as fractions of its height and width.
    fn input_position(&self, row: usize, col: usize) -> Option<(f64, f64)> {
        let upright = |at: usize, shown: u32, size: u32| {
            (at as f64 + 0.5) * f64::from(size) / f64::from(shown)
        };
        let (x, y) = self.geometry.input_point(
            upright(col, self.photo.width, self.upright.0),
            upright(row, self.photo.height, self.upright.1),
        )?;
        let (height, width) = self.geometry.input_size();
        Some((y / f64::from(height), x / f64::from(width)))
    }
}

/// The map rectified at 0 and divided by its maximum, if positive (otherwise all zero), and the raw maximum. NaN counts as zero.
fn normalised(map: &[f32]) -> (Vec<f32>, f32) {
    let finite = |v: f32| {
        if v.is_nan() {
            0.0
        } else {
            v.clamp(f32::MIN, f32::MAX)
        }
    };
    let max = map.iter().map(|&v| finite(v)).fold(f32::MIN, f32::max);
    let share = |&v: &f32| {
        if max > 0.0 {
            finite(v).max(0.0) / max
        } else {
            0.0
        }
    };
    (map.iter().map(share).collect(), max)
}

/// Half-pixel bilinear interpolation (`align_corners = false`) of a map `[rows, cols]` at a point given as fractions of its height
/// and width.
fn interpolate(map: &[f32], (rows, cols): (usize, usize), (y, x): (f64, f64)) -> f32 {
    let axis = |share: f64, size: usize| {
        let last = size.saturating_sub(1);
        let at = (share * size as f64 - 0.5).clamp(0.0, last as f64);
        let low = at as usize;
        (low, (low + 1).min(last), at - low as f64)
    };
    let (top, bottom, down) = axis(y, rows);
    let (left, right, across) = axis(x, cols);
    let value = |row: usize, col: usize| f64::from(map[row * cols + col]);
    let line = |row: usize| value(row, left) * (1.0 - across) + value(row, right) * across;
    (line(top) * (1.0 - down) + line(bottom) * down) as f32
}

/// Upsamples a map `[rows, cols]` to `[height, width]`: half-pixel bilinear (`align_corners = false`), like PyTorch's `interpolate`
/// and OpenCV's `resize`.
pub fn upsample(
    map: &[f32],
    (rows, cols): (usize, usize),
    (height, width): (usize, usize),
) -> Result<Vec<f32>, PictureError> {
    check_shape(map.len(), &[rows, cols])?;
    let middle = |at: usize, size: usize| (at as f64 + 0.5) / size as f64;
    let mut out = Vec::with_capacity(height * width);
    for row in 0..height {
        let y = middle(row, height);
        out.extend((0..width).map(|col| interpolate(map, (rows, cols), (y, middle(col, width)))));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prospect_dataset::image::{Header, InputSpec, Interpolation, Resize};

    fn image(width: u32, height: u32, orientation: u8) -> RgbImage {
        let (stored_width, stored_height) = if orientation >= 5 {
            (height, width)
        } else {
            (width, height)
        };
        RgbImage {
            width,
            height,
            pixels: vec![100; (width * height * 3) as usize],
            header: Header {
                format: "png",
                width: stored_width,
                height: stored_height,
                orientation,
            },
            loss: None,
        }
    }

    fn geometry(image: &RgbImage, resize: Resize, crop: Option<(u32, u32)>) -> Geometry {
        let spec = InputSpec {
            resize,
            crop,
            interpolation: Interpolation::Bilinear,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        Geometry::new(&image.header, &spec)
    }

    /// Bounds x0, y0, x1, y1 of the hottest pixels.
    fn hottest(panel: &Panel) -> [u32; 4] {
        let picture = &panel.picture;
        let places = (0..picture.height).flat_map(|y| (0..picture.width).map(move |x| (x, y)));
        let heat = |(x, y)| picture.at(x, y).map(|pixel| luma(&pixel));
        let hot = places.clone().map(heat).max().unwrap();
        let bounds = |found: [u32; 4], (x, y): (u32, u32)| {
            [
                found[0].min(x),
                found[1].min(y),
                found[2].max(x + 1),
                found[3].max(y + 1),
            ]
        };
        let hot = places.filter(|&place| heat(place) == hot);
        hot.fold([u32::MAX, u32::MAX, 0, 0], bounds)
    }

    fn overlay(image: &RgbImage, geometry: &Geometry, map: &[f32], cols: usize) -> Panel {
        let scene = Scene::new(image, geometry, 10_000).unwrap();
        let heat = Heat {
            map,
            rows: map.len() / cols,
            cols,
            lines: Vec::new(),
        };
        scene.heat(&heat).unwrap()
    }

    /// With one hot cell in a corner of the map, the overlay is hottest from that corner to the cell's centre (beyond it, the heat
    /// decreases towards the next cell); the colour scale has its last colour down to 255 / 256.
    fn near(found: [u32; 4], expected: [f64; 4]) {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(
                (f64::from(found) - expected).abs() <= 1.5,
                "{found} for {expected}"
            );
        }
    }

    const UNSEEN_PIXEL: [u8; 3] = [20; 3];
    /// Inside the input but without heat: 45 % of the grey and 55 % of the scale's first colour, (0, 0, 4).
    const COLD_PIXEL: [u8; 3] = [45, 45, 47];

    #[test]
    fn a_wide_photo() {
        // 800x400 to 448x224; the crop keeps columns 112..336, which are 200..600 of the photo. Cells of the 2x2 map are 200 wide.
        let image = image(800, 400, 1);
        let geometry = geometry(&image, Resize::Short(224), Some((224, 224)));
        let panel = overlay(&image, &geometry, &[0.0, 1.0, 0.0, 0.0], 2);
        near(hottest(&panel), [500.0, 0.0, 600.0, 100.0]);
        assert_eq!(panel.picture.at(199, 200), Some(UNSEEN_PIXEL));
        assert_eq!(panel.picture.at(200, 200), Some(COLD_PIXEL));
        assert_eq!(panel.picture.at(599, 390), Some(COLD_PIXEL));
        assert_eq!(panel.picture.at(600, 10), Some(UNSEEN_PIXEL));
    }

    #[test]
    fn a_tall_photo_with_exif_orientation() {
        // Upright 300x600, stored as 600x300; 7x7 cells of 300 / 7 pixels from row 150.
        for turn in [1, 6, 8] {
            let image = image(300, 600, turn);
            let geometry = geometry(&image, Resize::Short(256), Some((256, 256)));
            let mut map = [0.0; 49];
            map[6 * 7] = 3.5;
            let panel = overlay(&image, &geometry, &map, 7);
            let cell = 300.0 / 7.0;
            near(
                hottest(&panel),
                [0.0, 150.0 + 6.5 * cell, cell / 2.0, 450.0],
            );
            assert_eq!(panel.picture.at(10, 149), Some(UNSEEN_PIXEL), "{turn}");
            assert_eq!(panel.picture.at(10, 151), Some(COLD_PIXEL), "{turn}");
        }
    }

    #[test]
    fn a_padded_and_a_distorted_photo() {
        // 300x200 in a 400x400 input: the photo is at columns 50..350 and rows 100..300. The central cell of a 3x3 map covers
        // columns and rows 133..267 of the input; the heat peaks at its centre.
        let small = image(300, 200, 1);
        let padded = geometry(&small, Resize::None, Some((400, 400)));
        let mut map = [0.0; 9];
        map[4] = 1.0;
        let panel = overlay(&small, &padded, &map, 3);
        let [x0, y0, x1, y1] = hottest(&panel).map(f64::from);
        near(
            hottest(&panel),
            [150.0 - 0.5, 100.0 - 0.5, 150.0 + 0.5, 100.0 + 0.5],
        );
        assert!(x0 + x1 == 300.0 && y0 + y1 == 200.0, "in the middle");
        // Distorted, but seen completely.
        let distorted = geometry(
            &small,
            Resize::Exact {
                height: 50,
                width: 50,
            },
            None,
        );
        let panel = overlay(&small, &distorted, &[0.0, 0.0, 0.0, 1.0], 2);
        near(hottest(&panel), [225.0, 150.0, 300.0, 200.0]);
    }

    #[test]
    fn large_photos_are_downsampled_and_small_ones_enlarged() {
        let large = image(4000, 2000, 1);
        let seen = geometry(&large, Resize::Short(224), Some((224, 224)));
        let scene = Scene::new(&large, &seen, 512).unwrap();
        assert_eq!((scene.photo.width, scene.photo.height), (512, 256));
        let heat = Heat {
            map: &[0.0, 0.0, 2.0, 0.0],
            rows: 2,
            cols: 2,
            lines: Vec::new(),
        };
        near(
            hottest(&scene.heat(&heat).unwrap()),
            [128.0, 192.0, 192.0, 256.0],
        );
        let tiny = image(32, 16, 1);
        let seen = geometry(&tiny, Resize::None, None);
        for (max_size, size) in [(512, 256), (100, 96), (20, 20)] {
            let scene = Scene::new(&tiny, &seen, max_size).unwrap();
            assert_eq!((scene.photo.width, scene.photo.height), (size, size / 2));
        }
    }

    #[test]
    fn maps_without_positive_values_are_dimmed_photos() {
        let image = image(40, 40, 1);
        let geometry = geometry(&image, Resize::None, None);
        for (map, max) in [
            ([0.0; 4], 0.0),
            ([-2.0, -1.0, -3.0, -1.0], -1.0),
            ([f32::NAN; 4], 0.0),
        ] {
            let panel = overlay(&image, &geometry, &map, 2);
            assert!(
                panel
                    .picture
                    .pixels
                    .chunks_exact(3)
                    .all(|pixel| pixel == COLD_PIXEL)
            );
            assert_eq!(panel.max, Some(max));
        }
        for value in [1e-44, 3.0, f32::INFINITY] {
            let panel = overlay(&image, &geometry, &[value; 4], 2);
            assert_eq!(
                hottest(&panel),
                [0, 0, panel.picture.width, panel.picture.height],
                "{value}"
            );
        }
        let odd = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 0.0];
        let (normalised, max) = normalised(&odd);
        assert_eq!((normalised, max), (vec![0.0, 0.0, 1.0, 0.0], f32::MAX));
        let heat = Heat {
            map: &odd,
            rows: 3,
            cols: 1,
            lines: Vec::new(),
        };
        assert!(heat_picture(&image, &geometry, Vec::new(), &[heat], 100).is_err());
    }

    #[test]
    fn upsampling_is_half_pixel_bilinear() {
        // torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False), torch 2.11.
        let map = [1.0, -2.0, 0.5, 3.0, 0.25, 4.0];
        let expected = [
            1.0, -0.875, -1.0625, 0.5, 1.2, -0.659375, -0.790625, 0.85, 2.0, 0.203125, 0.296875,
            2.25, 2.8, 1.065625, 1.384375, 3.65, 3.0, 1.28125, 1.65625, 4.0,
        ];
        let found = upsample(&map, (2, 3), (5, 4)).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
        // By hand: cell centres at 0.5 and 1.5 of 2; of 4 pixels, the outer ones are beyond them.
        assert_eq!(
            upsample(&[0.0, 4.0], (1, 2), (1, 4)).unwrap(),
            [0.0, 1.0, 3.0, 4.0]
        );
        assert_eq!(upsample(&[7.0], (1, 1), (2, 2)).unwrap(), [7.0; 4]);
        assert!(upsample(&map, (3, 3), (5, 4)).is_err());
    }

    #[test]
    fn pictures_of_the_input_are_at_its_position() {
        let image = image(800, 400, 1);
        let geometry = geometry(&image, Resize::Short(200), Some((200, 200)));
        let mut input = Picture::filled(200, 200, [128; 3]);
        input.paste(&Picture::filled(10, 10, [255, 0, 0]), 20, 40);
        let scene = Scene::new(&image, &geometry, 800).unwrap();
        let panel = scene.input(&input, Vec::new()).unwrap();
        let red = |x, y| panel.picture.at(x, y) == Some([255, 0, 0]);
        assert!(red(240, 80) && red(259, 99) && !red(239, 80) && !red(260, 99) && !red(259, 100));
        assert_eq!(panel.picture.at(700, 10), Some(UNSEEN_PIXEL));
        assert_eq!(panel.picture.at(500, 300), Some([128; 3]));
    }
}
