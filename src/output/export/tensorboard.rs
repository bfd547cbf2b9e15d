//! TensorBoard's embedding projector: `projector_config.pbtxt`, `tensors.tsv`, `metadata.tsv`, `sprite.png`.

use std::fmt::Write as _;

use prospect_common::{
    Result,
    text::{counted, escaped},
};

use super::{
    Folder, Outline, Prediction, Record, Summary, Writer, columns, folder::Output, writer::word,
};
use crate::picture::{self, Picture};

/// Maximum width and height of the sprite: not all browsers support larger textures.
const MAX_SPRITE: u32 = 8192;
/// Minimum width and height of a recognisable thumbnail.
const MIN_THUMBNAIL: u32 = 8;
const GREY: [u8; 3] = [128; 3];
const COLUMNS: [&str; 10] = [
    "image_id",
    "label",
    "prediction",
    "confidence",
    "probe",
    "suggested_label",
    "label_score",
    "findings",
    "split",
    "path",
];

/// Writes text, not raw floats: the plugin only guesses from the bytes which of the two a file contains.
pub(super) struct Tensorboard {
    outline: Outline,
    tensors: Output,
    metadata: Output,
    sprite: Option<Sprite>,
    rows: u64,
    skipped: u64,
}

/// A square grid of thumbnails, row by row.
struct Sprite {
    picture: Picture,
    /// Width and height of a thumbnail's cell in pixels.
    size: u32,
    columns: u32,
}

impl Sprite {
    /// For `n` thumbnails of a size from [`sprite_size`].
    fn new(n: u64, size: u32) -> Sprite {
        let columns = columns_of(n);
        Sprite {
            picture: Picture::filled(columns * size, columns * size, GREY),
            size,
            columns,
        }
    }

    fn put(&mut self, at: u64, thumbnail: &Picture) {
        let (row, column) = (
            (at / u64::from(self.columns)) as u32,
            (at % u64::from(self.columns)) as u32,
        );
        if thumbnail.width <= self.size && thumbnail.height <= self.size {
            let left = column * self.size + (self.size - thumbnail.width) / 2;
            let top = row * self.size + (self.size - thumbnail.height) / 2;
            self.picture.paste(thumbnail, left, top);
        }
    }
}

fn columns_of(n: u64) -> u32 {
    (n as f64).sqrt().ceil() as u32
}

/// The size of `n` thumbnails in a sprite, at most `requested`; 0 if not even small ones fit.
pub(super) fn sprite_size(n: u64, requested: u32) -> u32 {
    let fits = MAX_SPRITE.checked_div(columns_of(n)).unwrap_or(0);
    let size = requested.min(fits);
    if size < MIN_THUMBNAIL { 0 } else { size }
}

impl Tensorboard {
    pub fn new(folder: &Folder, outline: Outline, thumbnail_size: u32) -> Result<Tensorboard> {
        let mut metadata = folder.create("metadata.tsv")?;
        metadata.bytes(COLUMNS.join("\t").as_bytes())?;
        metadata.bytes(b"\n")?;
        Ok(Tensorboard {
            sprite: (thumbnail_size > 0).then(|| Sprite::new(outline.rows, thumbnail_size)),
            outline,
            tensors: folder.create("tensors.tsv")?,
            metadata,
            rows: 0,
            skipped: 0,
        })
    }
}

impl Writer for Tensorboard {
    fn write(&mut self, _: &Folder, record: Record) -> Result<()> {
        let finite = |features: &&Vec<f32>| features.iter().all(|value| value.is_finite());
        let Some(features) = record.features.as_ref().filter(finite) else {
            self.skipped += 1;
            return Ok(());
        };
        let mut line = String::with_capacity(features.len() * 11);
        for (at, value) in features.iter().enumerate() {
            let end = if at + 1 == features.len() { '\n' } else { '\t' };
            // Writing to a String cannot fail.
            let _ = write!(line, "{value}{end}");
        }
        self.tensors.bytes(line.as_bytes())?;
        let cells = cells(&self.outline, &record);
        self.metadata.bytes(cells.join("\t").as_bytes())?;
        self.metadata.bytes(b"\n")?;
        if let (Some(sprite), Some(thumbnail)) = (&mut self.sprite, &record.thumbnail) {
            sprite.put(self.rows, thumbnail);
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Summary> {
        self.tensors.finish()?;
        self.metadata.finish()?;
        let mut config =
            "embeddings {\n  tensor_name: \"features\"\n  tensor_path: \"tensors.tsv\"\n  \
                          metadata_path: \"metadata.tsv\"\n"
                .to_string();
        if let Some(sprite) = &self.sprite {
            let png = picture::png(&sprite.picture)?;
            let mut output = folder.create("sprite.png")?;
            output.bytes(&png)?;
            output.finish()?;
            let size = sprite.size;
            config += &format!(
                "  sprite {{\n    image_path: \"sprite.png\"\n    single_image_dim: {size}\n    single_image_dim: {size}\n  }}\n"
            );
        }
        config += "}\n";
        let mut output = folder.create("projector_config.pbtxt")?;
        output.bytes(config.as_bytes())?;
        output.finish()?;
        let mut remarks = Vec::new();
        if self.skipped > 0 {
            let skipped = counted(self.skipped, "image");
            remarks.push(format!("skipped {skipped} without finite features"));
        }
        Ok(Summary {
            rows: self.rows,
            open: format!("tensorboard --logdir {}", word(folder.target())),
            remarks,
        })
    }
}

/// A row of the metadata, with escaped tabs and line breaks.
fn cells(outline: &Outline, record: &Record) -> [String; COLUMNS.len()] {
    let text = |text: Option<String>| escaped(&text.unwrap_or_default()).into_owned();
    let class = |class: Option<i32>| text(class.map(|class| outline.class(class)));
    let name = |of: &Option<Prediction>| text(of.as_ref().map(|predicted| predicted.name.clone()));
    let number = |value: Option<f32>| value.map_or(String::new(), |value| value.to_string());
    [
        record.image_id.to_string(),
        class(record.label),
        name(&record.prediction),
        number(
            record
                .prediction
                .as_ref()
                .map(|predicted| predicted.confidence),
        ),
        name(&record.probe),
        class(record.suggested),
        number(record.label_score),
        text(columns::joined_kinds(record)),
        text(record.split.clone()),
        text(Some(record.path.clone())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_are_at_their_place_in_the_sprite() {
        let mut sprite = Sprite::new(5, 8);
        assert_eq!((sprite.picture.width, sprite.columns), (24, 3));
        sprite.put(4, &Picture::filled(8, 2, [9, 0, 0]));
        let at = |x, y| sprite.picture.at(x, y).unwrap();
        assert_eq!((at(8, 11), at(15, 12)), ([9, 0, 0], [9, 0, 0]));
        assert_eq!((at(8, 10), at(7, 11), at(16, 11)), (GREY, GREY, GREY));
        assert_eq!(sprite_size(100_000, 48), 25);
        assert_eq!(sprite_size(10_000, 48), 48);
        assert_eq!(sprite_size(2_000_000, 48), 0);
        assert_eq!((sprite_size(0, 48), sprite_size(9, 0)), (0, 0));
    }
}
