//! Bad photos: dark, bright, blank, blurred, with an odd aspect ratio, tiny or grayscale.
//!
//! A photo is flagged if a measure is below an absolute limit and also far below the dataset's median. So no photo is flagged
//! for a property of the whole dataset: in a dataset of 32 x 32 pixels, none is tiny.
//!
//! | kind | measure | limit | limit relative to the median m |
//! |---|---|---|---|
//! | dark | brightness | 0.15 | m / 3 |
//! | bright | 1 - brightness | 0.08 | m / 3 |
//! | blank | contrast | 0.03 | m / 4 |
//! | blurred | sharpness | 30 | m / 10 |
//! | odd_aspect | shorter over longer side | 0.4 | aspect ratio at least 1.8 times or at most 1 / 1.8 of the median ratio |
//! | tiny | shorter side | 100 | m / 4 |
//! | grayscale | saturation | 0.01 | m / 5, if at most a tenth of the photos are below the limit |

use prospect_common::statistics::upper_median;
use prospect_findings::Kind;

/// Measurements of a decoded photo; see [`prospect_dataset::image::Quality`].
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

/// A defect of a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub kind: Kind,
    /// 0 (worst) to 1: 0.5 at the limit.
    pub score: f32,
    pub flagged: bool,
    pub evidence: String,
}

/// Maximum score of reported problems; those above 0.5 are candidates only.
const MAX_SCORE: f32 = 0.65;
/// Minimum factor between an odd and the median aspect ratio.
const ODD_SHAPE: f32 = 1.8;
/// Maximum fraction of grayscale photos at which they are reported.
const MAX_GRAYSCALE: f64 = 0.1;

struct Measure {
    kind: Kind,
    /// At least 0; lower is worse.
    of: fn(&Photo) -> f32,
    limit: f32,
    /// Fraction of the median that the measure must be below, too.
    share: f32,
    /// Name of the value in the evidence.
    name: &'static str,
    format: fn(f32) -> String,
}

const MEASURES: [Measure; 7] = [
    Measure {
        kind: Kind::Dark,
        of: |photo| photo.brightness,
        limit: 0.15,
        share: 1.0 / 3.0,
        name: "mean brightness",
        format: |value| format!("{value:.3}"),
    },
    Measure {
        kind: Kind::Bright,
        of: |photo| 1.0 - photo.brightness,
        limit: 0.08,
        share: 1.0 / 3.0,
        name: "mean brightness",
        format: |value| format!("{:.3}", 1.0 - value),
    },
    Measure {
        kind: Kind::Blank,
        of: |photo| photo.contrast,
        limit: 0.03,
        share: 0.25,
        name: "contrast",
        format: |value| format!("{value:.3}"),
    },
    Measure {
        kind: Kind::Blurred,
        of: |photo| photo.sharpness,
        limit: 30.0,
        share: 0.1,
        name: "sharpness",
        format: |value| format!("{value:.0}"),
    },
    Measure {
        kind: Kind::OddAspect,
        of: |photo| sides(photo).0 / sides(photo).1.max(1.0),
        limit: 0.4,
        share: 1.0,
        name: "shorter side over longer side",
        format: |value| format!("{value:.2}"),
    },
    Measure {
        kind: Kind::Tiny,
        of: |photo| sides(photo).0,
        limit: 100.0,
        share: 0.25,
        name: "pixels of the shorter side",
        format: |value| format!("{value:.0}"),
    },
    Measure {
        kind: Kind::Grayscale,
        of: |photo| photo.saturation,
        limit: 0.01,
        share: 0.2,
        name: "colour saturation",
        format: |value| format!("{value:.3}"),
    },
];

/// The shorter and the longer side.
fn sides(photo: &Photo) -> (f32, f32) {
    let (width, height) = (photo.width as f32, photo.height as f32);
    (width.min(height), width.max(height))
}

/// Log aspect ratio, width over height.
fn shape(photo: &Photo) -> f32 {
    (photo.width.max(1) as f32 / photo.height.max(1) as f32).ln()
}

/// Problems of all photos, as pairs of photo index and problem, kind by kind.
pub fn problems(photos: &[Photo]) -> Vec<(usize, Problem)> {
    let Some(median_shape) = upper_median(&sorted(photos, shape)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for measure in &MEASURES {
        let values = sorted(photos, measure.of);
        let median = upper_median(&values).unwrap_or_default();
        let limit = measure.limit.min(median * measure.share);
        let below = values.partition_point(|value| *value < measure.limit);
        let is_common = below as f64 > MAX_GRAYSCALE * photos.len() as f64;
        if limit <= 0.0 || (measure.kind == Kind::Grayscale && is_common) {
            continue;
        }
        for (index, photo) in photos.iter().enumerate() {
            let value = (measure.of)(photo);
            let odd = (shape(photo) - median_shape).abs() >= ODD_SHAPE.ln();
            if measure.kind == Kind::OddAspect && !odd {
                continue;
            }
            let score = (value / (2.0 * limit)).clamp(0.0, 1.0);
            if score > MAX_SCORE {
                continue;
            }
            let above = photos.len() - values.partition_point(|other| *other <= value);
            let (own, typical) = ((measure.format)(value), (measure.format)(median));
            let evidence = format!(
                "{} {own}; the usual is {typical}, and {:.1} % of the images have {}",
                measure.name,
                100.0 * above as f64 / photos.len() as f64,
                if measure.kind == Kind::Bright {
                    "less"
                } else {
                    "more"
                },
            );
            let problem = Problem {
                kind: measure.kind,
                score,
                flagged: value < limit,
                evidence,
            };
            found.push((index, problem));
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
        assert!(found.iter().all(|(index, _)| *index == 40), "{found:?}");
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
    fn properties_of_the_whole_dataset_are_not_flagged() {
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
        // Panoramas among panoramas, then a usual photo among panoramas.
        let wide = Photo {
            width: 2000,
            ..USUAL
        };
        assert!(among(wide, wide).is_empty());
        assert!(among(wide, USUAL).is_empty());
    }

    #[test]
    fn grayscale_is_reported_only_among_colour_photos() {
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
    fn evidence_gives_the_measurements() {
        let mut photos = vec![USUAL; 99];
        photos.push(Photo {
            brightness: 0.03,
            ..USUAL
        });
        let (index, problem) = &problems(&photos)[0];
        assert_eq!((*index, problem.flagged), (99, true));
        assert_eq!(
            problem.evidence,
            "mean brightness 0.030; the usual is 0.500, and 99.0 % of the images have more"
        );
        assert!((problem.score - 0.1).abs() < 1e-6);
    }
}
