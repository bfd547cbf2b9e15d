//! Choice between exact search and an HNSW index by estimated time.

use std::{fmt, time::Duration};

use prospect_common::{Result, text};
use prospect_config::SearchMethod;
use prospect_engine::Context;
use prospect_model::device::{self, Device};

/// Seconds of exact search on two cores: per pair of images, and per pair and dimension.
const EXACT: [f64; 2] = [1.5e-10, 1.5e-11];
/// The same on a data-centre GPU, calculated: 40 TFLOP/s plus the top-k selection.
const EXACT_CUDA: [f64; 2] = [1e-12, 5e-14];
/// Seconds to build and search an index: per image, and per image, dimension and log2 of the number of images.
const INDEX: [f64; 2] = [4e-4, 4e-7];

/// The method and the estimates behind it. They depend on the data and the kind of device, never on the number of threads: a
/// run gives the same tables on every machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub method: SearchMethod,
    /// Whether the method is `auto` in the configuration.
    pub auto: bool,
    images: usize,
    dimension: usize,
    /// Estimated time of exact search.
    pub exact: Duration,
    /// Estimated time with an index.
    pub index: Duration,
}

pub fn choose(method: SearchMethod, images: usize, dimension: usize, device: Device) -> Choice {
    let (n, d) = (images as f64, dimension as f64);
    let [pair, each] = if device == Device::Cpu {
        EXACT
    } else {
        EXACT_CUDA
    };
    let exact = n * n / 2.0 * (pair + each * d);
    let index = n * (INDEX[0] + INDEX[1] * d * n.max(2.0).log2());
    Choice {
        method: match method {
            SearchMethod::Auto if exact <= index => SearchMethod::Exact,
            SearchMethod::Auto => SearchMethod::Hnsw,
            configured => configured,
        },
        auto: method == SearchMethod::Auto,
        images,
        dimension,
        exact: Duration::from_secs_f64(exact),
        index: Duration::from_secs_f64(index),
    }
}

/// Whether `neighbors` will use an index for this many vectors.
pub fn uses_index(ctx: &Context, images: u64, dimension: u64) -> Result<bool> {
    let device = device::choose(ctx.config.model.device)?;
    let choice = choose(
        ctx.config.neighbors.method,
        images as usize,
        dimension as usize,
        device,
    );
    Ok(choice.method == SearchMethod::Hnsw)
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            SearchMethod::Hnsw => "HNSW index",
            _ => "exact search",
        };
        if !self.auto {
            return write!(f, "{method}, as configured");
        }
        write!(
            f,
            "{method} for {} vectors of {} dimensions (estimated {} exact, {} with an index)",
            text::count(self.images as u64),
            self.dimension,
            text::duration(self.exact),
            text::duration(self.index)
        )
    }
}
