//! A run's findings in the formats of other tools: pure writers, which get one [`Record`] an image, in order of the ids, and
//! keep no more than a batch of them.
//!
//! File names, labels and evidence come from strangers: what goes into a table of text is escaped for that table, and no file
//! of an export is named after them.

mod atlas;
mod cleanlab;
mod coco;
mod columns;
mod csv_cells;
mod fiftyone;
mod folder;
mod format;
mod huggingface;
mod npy;
mod record;
mod tensorboard;
#[cfg(test)]
mod tests;
mod writer;

use prospect_common::Result;

pub use self::{
    folder::{Contents, Folder, Images, lies_in},
    format::Format,
    record::{Found, Judged, Outline, Record},
    writer::{Told, Writer},
};

impl Format {
    /// The side in pixels of its thumbnails, where `asked` for and `rows` images are in it; 0 for none.
    pub fn thumbnail_side(self, asked: Option<u32>, rows: u64) -> u32 {
        match self {
            Format::Tensorboard => tensorboard::sprite_side(rows, asked.unwrap_or(48)),
            Format::EmbeddingAtlas => asked.unwrap_or(64),
            _ => 0,
        }
    }

    /// Begins an export. `how` is for formats that hold the images themselves, `side` as [`Format::thumbnail_side`] gives it.
    pub fn writer(
        self,
        folder: &Folder,
        outline: Outline,
        how: Images,
        side: u32,
    ) -> Result<Box<dyn Writer>> {
        Ok(match self {
            Format::Huggingface => Box::new(huggingface::Huggingface::new(outline, how)),
            Format::Fiftyone => Box::new(fiftyone::Fiftyone::new(folder, outline)?),
            Format::Coco => Box::new(coco::Coco::new(folder, outline)?),
            Format::Cleanlab => Box::new(cleanlab::Cleanlab::new(folder, outline)?),
            Format::Tensorboard => Box::new(tensorboard::Tensorboard::new(folder, outline, side)?),
            Format::EmbeddingAtlas => Box::new(atlas::Atlas::new(folder, outline, side)?),
        })
    }
}
