//! Reuse of an earlier scan's results for files with the same content.

use std::collections::HashMap;

use prospect_common::Result;
use prospect_dataset::image::Quality;
use prospect_engine::{Context, Stage, schema::images, takeover};
use serde_json::Value;

/// Sizes and quality metrics by content. Files that failed to decode are not included: they are tried again.
#[derive(Default)]
pub struct Earlier(HashMap<blake3::Hash, Seen>);

/// Results for one content.
pub struct Seen {
    pub size: Option<(u32, u32)>,
    pub orientation: Option<u8>,
    pub quality: Quality,
}

impl Earlier {
    pub fn read(ctx: &Context, stage: &Stage, parameters: &Value) -> Result<Earlier> {
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
            images::phash,
        );
        let mut known = HashMap::new();
        for source in takeover::sources(ctx, stage, parameters)? {
            for batch in source.run.rows(&source.manifest, columns) {
                for cells in batch?.iter() {
                    let (digest, error, width, height, orientation, ..) = cells;
                    let (.., brightness, contrast, sharpness, entropy, saturation, phash) = cells;
                    let content = digest.and_then(takeover::content);
                    let (Some(content), None, Some(phash)) = (content, error, phash) else {
                        continue;
                    };
                    let side = |side: Option<i32>| u32::try_from(side?).ok();
                    let seen = Seen {
                        size: side(width).zip(side(height)),
                        orientation: orientation.and_then(|tag| u8::try_from(tag).ok()),
                        quality: Quality {
                            brightness: brightness.unwrap_or_default(),
                            contrast: contrast.unwrap_or_default(),
                            sharpness: sharpness.unwrap_or_default(),
                            entropy: entropy.unwrap_or_default(),
                            saturation: saturation.unwrap_or_default(),
                            phash,
                        },
                    };
                    known.insert(content, seen);
                }
            }
        }
        Ok(Earlier(known))
    }

    /// The results for a content, if it was decoded.
    pub fn seen(&self, content: &blake3::Hash) -> Option<&Seen> {
        self.0.get(content)
    }
}
