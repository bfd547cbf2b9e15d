//! Reuse of an earlier scan's results for files with the same content.

use std::collections::HashMap;

use prospect_common::Result;
use prospect_dataset::image::Quality;
use prospect_engine::{Context, Stage, reuse, schema::images};
use serde_json::Value;

/// Results by content. Files that failed to decode are not included: they are tried again.
#[derive(Default)]
pub struct EarlierResults(HashMap<blake3::Hash, ScanResult>);

/// Size and quality metrics of one content.
pub struct ScanResult {
    pub size: Option<(u32, u32)>,
    pub orientation: Option<u8>,
    pub quality: Quality,
    pub warning: Option<String>,
}

impl EarlierResults {
    pub fn read(ctx: &Context, stage: &Stage, parameters: &Value) -> Result<EarlierResults> {
        let columns = (
            images::digest,
            images::error,
            images::width,
            images::height,
            images::orientation,
            images::brightness,
            images::contrast,
            images::sharpness,
            images::entropy,
            images::saturation,
            images::warmth,
            images::tint,
            images::phash,
            images::warning,
        );
        let mut known = HashMap::new();
        for source in reuse::sources(ctx, stage, parameters)? {
            for batch in source.run.rows(&source.manifest, columns) {
                for cells in batch?.iter() {
                    let (digest, error, width, height, orientation, ..) = cells;
                    let (.., brightness, contrast, sharpness, entropy, _, _, _, phash, _) = cells;
                    let (.., saturation, warmth, tint, _, warning) = cells;
                    let content = digest.and_then(reuse::parse_digest);
                    let (Some(content), None, Some(phash)) = (content, error, phash) else {
                        continue;
                    };
                    let pixels = |length: Option<i32>| u32::try_from(length?).ok();
                    let result = ScanResult {
                        size: pixels(width).zip(pixels(height)),
                        orientation: orientation.and_then(|tag| u8::try_from(tag).ok()),
                        quality: Quality {
                            brightness: brightness.unwrap_or_default(),
                            contrast: contrast.unwrap_or_default(),
                            sharpness: sharpness.unwrap_or_default(),
                            entropy: entropy.unwrap_or_default(),
                            saturation: saturation.unwrap_or_default(),
                            warmth: warmth.unwrap_or_default(),
                            tint: tint.unwrap_or_default(),
                            phash,
                        },
                        warning: warning.map(str::to_string),
                    };
                    known.insert(content, result);
                }
            }
        }
        Ok(EarlierResults(known))
    }

    /// `None` if the content was not decoded before.
    pub fn get(&self, content: &blake3::Hash) -> Option<&ScanResult> {
        self.0.get(content)
    }
}
