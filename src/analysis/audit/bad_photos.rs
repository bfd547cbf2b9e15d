//! Photos that are no good as photos: dark, bright, blank, blurred, of an odd shape, tiny or grey.
//!
//! A photo is flagged where a figure is beyond a limit that most datasets share, and far from what is usual in this one as well. So
//! none is flagged for what all of them are: pictures of 32 x 32 pixels are not tiny among their like.
//!
//! | kind | figure | limit | and, with m the median of the dataset |
//! |---|---|---|---|
//! | dark | brightness | 0.15 | m / 3 |
//! | bright | 1 - brightness | 0.08 | that of m / 3 |
//! | blank | contrast | 0.03 | m / 4 |
//! | blurred | sharpness | 30 | m / 10 |
//! | odd_aspect | shorter over longer side | 0.4 | m's shape must be 1.8 times less wide or less tall |
//! | tiny | shorter side | 100 | m / 4 |
//! | grayscale | saturation | 0.01 | m / 5, and nine in ten have more than the limit |

use prospect_common::statistics::upper_median;
use prospect_findings::Kind;

/// What is known of a photo that could be read; see [`prospect_dataset::image::Quality`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Photo {
    /// In pixels, upright.
    pub width: u32,
    pub height: u32,
    pub brightness: f32,
    pub contrast: f32,
    pub sharpness: f32,
    pub saturation: f32,
}

/// What is wrong with a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub kind: Kind,
    /// 0 (worst) to 1: 0.5 at the limit.
    pub score: f32,
    pub flagged: bool,
    pub evidence: String,
}

/// Problems are told up to this score; above 0.5 they are candidates.
const TOLD: f32 = 0.65;
/// At least so many times wider or taller than the usual shape.
const ODD_SHAPE: f32 = 1.8;
/// Grey photos are odd while they are fewer than this share.
const MOST_GREY: f64 = 0.1;

struct Figure {
    kind: Kind,
    /// From 0; the less, the worse.
    of: fn(&Photo) -> f32,
    limit: f32,
    /// Share of the median that the figure must be under as well.
    share: f32,
    /// How a sentence names what is shown, that of the photo and of the usual one.
    name: &'static str,
    shown: fn(f32) -> String,
}

const FIGURES: [Figure; 7] = [
    Figure {
        kind: Kind::Dark,
        of: |photo| photo.brightness,
        limit: 0.15,
        share: 1.0 / 3.0,
        name: "mean brightness",
        shown: |value| format!("{value:.3}"),
    },
    Figure {
        kind: Kind::Bright,
        of: |photo| 1.0 - photo.brightness,
        limit: 0.08,
        share: 1.0 / 3.0,
        name: "mean brightness",
        shown: |value| format!("{:.3}", 1.0 - value),
    },
    Figure {
        kind: Kind::Blank,
        of: |photo| photo.contrast,
        limit: 0.03,
        share: 0.25,
        name: "contrast",
        shown: |value| format!("{value:.3}"),
    },
    Figure {
        kind: Kind::Blurred,
        of: |photo| photo.sharpness,
        limit: 30.0,
        share: 0.1,
        name: "sharpness",
        shown: |value| format!("{value:.0}"),
    },
    Figure {
        kind: Kind::OddAspect,
        of: |photo| sides(photo).0 / sides(photo).1.max(1.0),
        limit: 0.4,
        share: 1.0,
        name: "shorter side over longer side",
        shown: |value| format!("{value:.2}"),
    },
    Figure {
        kind: Kind::Tiny,
        of: |photo| sides(photo).0,
        limit: 100.0,
        share: 0.25,
        name: "pixels of the shorter side",
        shown: |value| format!("{value:.0}"),
    },
    Figure {
        kind: Kind::Grayscale,
        of: |photo| photo.saturation,
        limit: 0.01,
        share: 0.2,
        name: "colour saturation",
        shown: |value| format!("{value:.3}"),
    },
];

/// The shorter and the longer one.
fn sides(photo: &Photo) -> (f32, f32) {
    let (width, height) = (photo.width as f32, photo.height as f32);
    (width.min(height), width.max(height))
}

/// Logarithm of width over height.
fn shape(photo: &Photo) -> f32 {
    (photo.width.max(1) as f32 / photo.height.max(1) as f32).ln()
}

/// All problems of all photos: place in the list and problem, kind after kind.
pub fn problems(photos: &[Photo]) -> Vec<(usize, Problem)> {
    let Some(usual_shape) = upper_median(&sorted(photos, shape)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for figure in &FIGURES {
        let values = sorted(photos, figure.of);
        let usual = upper_median(&values).unwrap_or_default();
        let limit = figure.limit.min(usual * figure.share);
        let under = values.partition_point(|value| *value < figure.limit);
        let is_common = under as f64 > MOST_GREY * photos.len() as f64;
        if limit <= 0.0 || (figure.kind == Kind::Grayscale && is_common) {
            continue;
        }
        for (place, photo) in photos.iter().enumerate() {
            let value = (figure.of)(photo);
            let odd = (shape(photo) - usual_shape).abs() >= ODD_SHAPE.ln();
            if figure.kind == Kind::OddAspect && !odd {
                continue;
            }
            let score = (value / (2.0 * limit)).clamp(0.0, 1.0);
            if score > TOLD {
                continue;
            }
            let above = photos.len() - values.partition_point(|other| *other <= value);
            let (shown, shown_usual) = ((figure.shown)(value), (figure.shown)(usual));
            let evidence = format!(
                "{} {shown}; the usual is {shown_usual}, and {:.1} % of the images have {}",
                figure.name,
                100.0 * above as f64 / photos.len() as f64,
                if figure.kind == Kind::Bright {
                    "less"
                } else {
                    "more"
                },
            );
            let problem = Problem {
                kind: figure.kind,
                score,
                flagged: value < limit,
                evidence,
            };
            found.push((place, problem));
        }
    }
    found
}

fn sorted(photos: &[Photo], of: fn(&Photo) -> f32) -> Vec<f32> {
    let mut values: Vec<f32> = photos.iter().map(of).collect();
    values.sort_by(f32::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Photo = Photo {
        width: 500,
        height: 400,
        brightness: 0.5,
        contrast: 0.25,
        sharpness: 800.0,
        saturation: 0.4,
    };

    /// Kinds of the flagged problems of one photo among 40 usual ones.
    fn among(usual: Photo, odd: Photo) -> Vec<Kind> {
        let mut photos = vec![usual; 40];
        photos.push(odd);
        let found = problems(&photos);
        assert!(found.iter().all(|(place, _)| *place == 40), "{found:?}");
        let flagged = found.into_iter().filter(|(_, problem)| problem.flagged);
        flagged.map(|(_, problem)| problem.kind).collect()
    }

    #[test]
    fn each_kind_is_found() {
        let cases = [
            (
                Kind::Dark,
                Photo {
                    brightness: 0.04,
                    ..USUAL
                },
            ),
            (
                Kind::Bright,
                Photo {
                    brightness: 0.97,
                    ..USUAL
                },
            ),
            (
                Kind::Blank,
                Photo {
                    contrast: 0.01,
                    ..USUAL
                },
            ),
            (
                Kind::Blurred,
                Photo {
                    sharpness: 9.0,
                    ..USUAL
                },
            ),
            (
                Kind::OddAspect,
                Photo {
                    width: 1900,
                    ..USUAL
                },
            ),
            (
                Kind::Tiny,
                Photo {
                    width: 60,
                    height: 50,
                    ..USUAL
                },
            ),
            (
                Kind::Grayscale,
                Photo {
                    saturation: 0.0,
                    ..USUAL
                },
            ),
        ];
        for (kind, photo) in cases {
            assert_eq!(among(USUAL, photo), [kind]);
        }
        assert!(among(USUAL, USUAL).is_empty());
        assert!(problems(&[]).is_empty());
    }

    #[test]
    fn what_all_are_is_nothing_wrong() {
        let night = Photo {
            brightness: 0.08,
            contrast: 0.02,
            sharpness: 12.0,
            saturation: 0.0,
            width: 32,
            height: 32,
        };
        assert!(problems(&[night; 50]).is_empty());
        assert_eq!(
            among(
                night,
                Photo {
                    brightness: 0.01,
                    ..night
                }
            ),
            [Kind::Dark]
        );
        // Panoramas among panoramas, and a square among them.
        let wide = Photo {
            width: 2000,
            ..USUAL
        };
        assert!(among(wide, wide).is_empty());
        assert!(among(wide, USUAL).is_empty());
    }

    #[test]
    fn grey_is_odd_among_coloured_alone() {
        let grey = Photo {
            saturation: 0.0,
            ..USUAL
        };
        let mut photos = vec![USUAL; 90];
        photos.extend([grey; 10]);
        assert_eq!(problems(&photos).len(), 10);
        photos.extend([grey; 5]);
        assert!(problems(&photos).is_empty());
    }

    #[test]
    fn sentences_give_the_figures() {
        let mut photos = vec![USUAL; 99];
        photos.push(Photo {
            brightness: 0.03,
            ..USUAL
        });
        let (place, problem) = &problems(&photos)[0];
        assert_eq!((*place, problem.flagged), (99, true));
        assert_eq!(
            problem.evidence,
            "mean brightness 0.030; the usual is 0.500, and 99.0 % of the images have more"
        );
        assert!((problem.score - 0.1).abs() < 1e-6);
    }
}
