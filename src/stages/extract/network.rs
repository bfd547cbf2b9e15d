//! The network, and the explanation of what it says.

use prospect_common::Result;
use prospect_model::forward::{Batch, Forward};

use super::{super::explain::rows::Rows, image_row::ImageRow, inline::Inline};

/// What runs on every batch.
pub struct Network<'a> {
    pub forward: &'a Forward,
    pub inline: Option<&'a Inline>,
    pub batch_size: usize,
}

impl Network<'_> {
    /// Runs these images in a batch of the full size, the rest of it black. libtorch computes small batches in another way, and
    /// the last bits differ; between batches of one size, an image's results depend on neither its place nor the others (seen
    /// for oneDNN and MKL on a CPU, from three images on; tests/model.rs).
    pub fn run(&self, images: &[ImageRow], pixels: &mut Vec<u8>) -> Result<(Batch, Vec<Rows>)> {
        let image = pixels.len() / images.len().max(1);
        pixels.resize(image * self.batch_size, 0);
        let mut batch = self.forward.run(pixels, self.batch_size)?;
        batch.split_off(images.len());
        let rows = match self.inline {
            Some(inline) => inline.explain(images, &mut batch, self.batch_size)?,
            None => Vec::new(),
        };
        Ok((batch, rows))
    }
}
