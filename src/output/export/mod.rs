//! Exports a run to other tools. Writers get one [`Record`] per image, in id order, and keep at most one batch of them.
//!
//! File names, labels and evidence are untrusted: they are escaped for text formats and never used as names of exported files.

mod atlas;
mod cleanlab;
mod coco;
mod columns;
mod csv_cells;
mod fiftyone;
mod folder;
mod format;
mod huggingface;
mod labels;
mod npy;
mod record;
mod tensorboard;
#[cfg(test)]
mod tests;
mod writer;

use prospect_common::Result;

pub use self::{
    folder::{Contents, Folder, Images, is_inside},
    format::Format,
    record::{Finding, Outline, Prediction, Record, Review},
    writer::{Summary, Writer},
};

impl Format {
    /// The width and height of the thumbnails of `rows` images in pixels, given the `requested` one; 0 for none.
    pub fn thumbnail_size(self, requested: Option<u32>, rows: u64) -> u32 {
        match self {
            Format::Tensorboard => tensorboard::sprite_size(rows, requested.unwrap_or(48)),
            Format::EmbeddingAtlas => requested.unwrap_or(64),
            _ => 0,
        }
    }

    /// Starts an export. `how` is for formats that include the images; `thumbnail_size` is from [`Format::thumbnail_size`].
    pub fn writer(
        self,
        folder: &Folder,
        outline: Outline,
        how: Images,
        thumbnail_size: u32,
    ) -> Result<Box<dyn Writer>> {
        Ok(match self {
            Format::Huggingface => Box::new(huggingface::Huggingface::new(outline, how)),
            Format::Labels => Box::new(labels::Labels::new(folder, outline, how)?),
            Format::Fiftyone => Box::new(fiftyone::Fiftyone::new(folder, outline)?),
            Format::Coco => Box::new(coco::Coco::new(folder, outline)?),
            Format::Cleanlab => Box::new(cleanlab::Cleanlab::new(folder, outline)?),
            Format::Tensorboard => Box::new(tensorboard::Tensorboard::new(
                folder,
                outline,
                thumbnail_size,
            )?),
            Format::EmbeddingAtlas => Box::new(atlas::Atlas::new(folder, outline, thumbnail_size)?),
        })
    }
}
