//! The network with inline explanations.

use prospect_common::Result;
use prospect_model::forward::{Batch, Forward};

use super::{super::explain::rows::Rows, image_row::ImageRow, inline::Inline};

pub struct Network {
    pub forward: Forward,
    pub inline: Option<Inline>,
    pub batch_size: usize,
}

impl Network {
    /// The same, for another thread; the weights are shared.
    pub fn share(&self) -> Network {
        Network {
            forward: self.forward.share(),
            inline: self.inline.as_ref().map(Inline::share),
            batch_size: self.batch_size,
        }
    }

    /// Runs these images, padded with black ones to a full batch. libtorch computes batches of different sizes differently in the
    /// last bits. For a fixed size, an image's results depend neither on its position nor on the other images (observed for
    /// oneDNN and MKL on a CPU, from three images on; tests/model.rs).
    pub fn run(&self, images: &[ImageRow], pixels: &mut Vec<u8>) -> Result<(Batch, Vec<Rows>)> {
        let image = pixels.len() / images.len().max(1);
        pixels.resize(image * self.batch_size, 0);
        let mut batch = self.forward.run(pixels, self.batch_size)?;
        batch.split_off(images.len());
        let rows = match &self.inline {
            Some(inline) => inline.explain(images, &mut batch, self.batch_size)?,
            None => Vec::new(),
        };
        Ok((batch, rows))
    }
}
