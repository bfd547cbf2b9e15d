//! Forward passes: batches of preprocessed images in, plain table columns out.

use prospect_common::{Error, Result};
use tch::{Device, Kind as Dtype, Tensor};

use super::{
    Layer,
    executor::{Network, Runner},
    units::{Layout, UnitStatistics, unit_statistics},
};

/// Values to keep of every image.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The feature vector; maps are averaged over their cells, tokens over the sequence.
    pub feature: Layer,
    /// Layers whose unit statistics are kept.
    pub units: Vec<Layer>,
    /// Layers whose complete maps are kept.
    pub maps: Vec<Layer>,
}

/// Results of one batch of `n` images.
#[derive(Clone, Debug)]
pub struct Batch {
    pub n: usize,
    /// `[n, classes]`
    pub logits: Vec<f32>,
    /// `[n, dimensions]`
    pub features: Vec<f32>,
    /// One per layer of [`Wanted::units`].
    pub units: Vec<UnitStatistics>,
    /// One per layer of [`Wanted::maps`], `[n, channels, rows, columns]`.
    pub maps: Vec<Vec<f32>>,
}

impl Batch {
    /// Splits the batch at image `at` and returns the second part.
    pub fn split_off(&mut self, at: usize) -> Batch {
        let n = self.n.max(1);
        let cut = |values: &mut Vec<f32>| values.split_off(values.len() / n * at);
        let rest = Batch {
            n: self.n - at,
            logits: cut(&mut self.logits),
            features: cut(&mut self.features),
            units: (self.units.iter_mut())
                .map(|units| UnitStatistics {
                    channels: units.channels,
                    max: cut(&mut units.max),
                    mean: cut(&mut units.mean),
                    argmax: units.argmax.split_off(units.argmax.len() / n * at),
                })
                .collect(),
            maps: self.maps.iter_mut().map(cut).collect(),
        };
        self.n = at;
        rest
    }
}

/// A network compiled for extraction.
pub struct Forward {
    runner: Runner,
    normaliser: Normaliser,
    n_units: usize,
}

/// Normalises RGB bytes: `(v / 255 - mean) / std`.
pub(super) struct Normaliser {
    device: Device,
    height: i64,
    width: i64,
    /// `[1, 3, 1, 1]`, like `std`.
    mean: Tensor,
    std: Tensor,
}

impl Normaliser {
    pub(super) fn new(network: &Network, mean: [f32; 3], std: [f32; 3]) -> Normaliser {
        let (height, width) = network.graph().input_size();
        let device = network.device();
        let channels = |values: [f32; 3]| {
            let values = Tensor::from_slice(&values).reshape([1, 3, 1, 1]);
            values.to_device(device)
        };
        Normaliser {
            device,
            height,
            width,
            mean: channels(mean),
            std: channels(std),
        }
    }

    fn share(&self) -> Normaliser {
        Normaliser {
            device: self.device,
            height: self.height,
            width: self.width,
            mean: self.mean.shallow_clone(),
            std: self.std.shallow_clone(),
        }
    }

    /// `[n, 3, height, width]` from bytes `[n, height, width, 3]`.
    pub(super) fn images(&self, pixels: &[u8], n: usize) -> Result<Tensor> {
        let sizes = [n as i64, self.height, self.width, 3];
        if sizes.iter().product::<i64>() != pixels.len() as i64 {
            let message = format!("{} bytes, not {sizes:?}", pixels.len());
            return Err(torch_message("the batch", &message));
        }
        let bytes = Tensor::f_from_data_size(pixels, &sizes, Dtype::Uint8)
            .map_err(|error| torch("the batch", &error))?;
        let images = bytes.to_device(self.device).permute([0, 3, 1, 2]);
        // torchvision's order of operations, for the same rounding: gradients through ReLUs are discontinuous in the pixels.
        Ok(((images.to_kind(Dtype::Float) / 255.0) - &self.mean) / &self.std)
    }
}

impl Forward {
    /// Compiles `network` to compute the logits and the wanted values. Pixels are normalised as `(v / 255 - mean) / std`.
    pub fn new(
        network: &Network,
        wanted: &Wanted,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<Forward> {
        let graph = network.graph();
        let mut values = vec![graph.logits, wanted.feature.value];
        values.extend(wanted.units.iter().map(|layer| layer.value));
        values.extend(wanted.maps.iter().map(|layer| layer.value));
        Ok(Forward {
            runner: network.inference(&values)?,
            normaliser: Normaliser::new(network, mean, std),
            n_units: wanted.units.len(),
        })
    }

    /// The same, for another thread; the weights are shared.
    pub fn share(&self) -> Forward {
        Forward {
            runner: self.runner.share(),
            normaliser: self.normaliser.share(),
            n_units: self.n_units,
        }
    }

    /// Runs `n` images of RGB bytes `[n, height, width, 3]`, the output of `image::preprocess`.
    ///
    /// # Errors
    /// libtorch's message with the operator and module.
    pub fn run(&self, pixels: &[u8], n: usize) -> Result<Batch> {
        let _guard = tch::no_grad_guard();
        let images = self.normaliser.images(pixels, n)?;
        self.run_normalised(&images, n)
    }

    /// Like [`Forward::run`], for an already normalised batch `[n, 3, height, width]`.
    pub fn run_normalised(&self, images: &Tensor, n: usize) -> Result<Batch> {
        let _guard = tch::no_grad_guard();
        let mut outputs = self.runner.run(images)?.into_iter();
        let mut next = || {
            outputs
                .next()
                .ok_or_else(|| torch_message("the network", "too few outputs"))
        };
        let logits = floats(&next()?)?;
        let features = floats(&vector(&next()?)?)?;
        let mut units = Vec::with_capacity(self.n_units);
        for _ in 0..self.n_units {
            units.push(reduce(&next()?)?);
        }
        let maps = outputs.map(|map| floats(&map)).collect::<Result<_>>()?;
        Ok(Batch {
            n,
            logits,
            features,
            units,
            maps,
        })
    }
}

pub(super) fn torch(context: &str, error: &tch::TchError) -> Error {
    torch_message(context, &error.to_string())
}

pub(super) fn torch_message(context: &str, message: &str) -> Error {
    Error::Torch {
        context: context.into(),
        message: message.into(),
    }
}

/// `[n, d]` from `[n, d]`, `[n, tokens, d]` or `[n, d, rows, columns]`.
fn vector(value: &Tensor) -> Result<Tensor> {
    Ok(match value.dim() {
        2 => value.shallow_clone(),
        3 => value.mean_dim([1i64].as_slice(), false, Dtype::Float),
        4 => value.mean_dim([2i64, 3].as_slice(), false, Dtype::Float),
        rank => {
            let message = format!("the layer has {rank} dimensions; choose one with 2, 3 or 4");
            return Err(Error::setting("extract", "feature_layer", message));
        }
    })
}

pub(super) fn floats(value: &Tensor) -> Result<Vec<f32>> {
    let value = value
        .to_device(Device::Cpu)
        .to_kind(Dtype::Float)
        .contiguous();
    let mut out = vec![0f32; value.numel()];
    value
        .f_copy_data(&mut out, value.numel())
        .map_err(|error| torch("reading results", &error))?;
    Ok(out)
}

/// Maximum, argmax and mean over the cells of every channel.
fn reduce(map: &Tensor) -> Result<UnitStatistics> {
    let [_, channels, rows, cols] = map.size()[..] else {
        return Err(torch_message("a tapped layer", "its output is not a map"));
    };
    let (channels, cells) = (channels as usize, (rows * cols) as usize);
    if map.device() != Device::Cpu {
        let flat = map.to_kind(Dtype::Float).flatten(2, -1);
        let (max, argmax) = flat.max_dim(2, false);
        let argmax = argmax
            .to_device(Device::Cpu)
            .to_kind(Dtype::Int)
            .contiguous();
        let mut positions = vec![0i32; argmax.numel()];
        argmax
            .f_copy_data(&mut positions, argmax.numel())
            .map_err(|error| torch("reading results", &error))?;
        return Ok(UnitStatistics {
            channels,
            max: floats(&max)?,
            mean: floats(&flat.mean_dim([2i64].as_slice(), false, Dtype::Float))?,
            argmax: positions.into_iter().map(|cell| cell as u32).collect(),
        });
    }
    let map = map.to_kind(Dtype::Float);
    let channels_last = map.permute([0, 2, 3, 1]);
    let (map, layout) = if channels_last.is_contiguous() {
        (channels_last, Layout::ChannelsLast)
    } else {
        (map.contiguous(), Layout::ChannelsFirst)
    };
    // SAFETY: a contiguous float32 tensor on the CPU has exactly `numel` floats at `data_ptr`; `map` outlives the slice.
    let values = unsafe { std::slice::from_raw_parts(map.data_ptr().cast::<f32>(), map.numel()) };
    Ok(unit_statistics(values, channels, cells, layout))
}
