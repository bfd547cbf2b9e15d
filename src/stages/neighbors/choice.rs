//! Exact search or an index: whichever is expected to be faster.

use std::{fmt, time::Duration};

use prospect_common::{Result, text};
use prospect_config::SearchMethod;
use prospect_engine::Context;
use prospect_model::device::{self, Device};

/// Seconds per pair of images, and per pair and dimension, of an exact search on two cores.
const EXACT: [f64; 2] = [1.5e-10, 1.5e-11];
/// The same on a data-centre GPU, by arithmetic: 40 TFLOP/s, and a selection among all products.
const EXACT_CUDA: [f64; 2] = [1e-12, 5e-14];
/// Seconds per image, and per image, dimension and doubling of the number of images, to build and search an index.
const INDEX: [f64; 2] = [4e-4, 4e-7];

/// The method, and the figures that led to it. They depend on the data and the kind of device, never on the threads of one
/// machine: a run gives the same tables anywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub method: SearchMethod,
    /// Whether it was left to us.
    pub auto: bool,
    images: usize,
    dimension: usize,
    /// What either way is expected to take on two cores.
    pub exact: Duration,
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
            asked => asked,
        },
        auto: method == SearchMethod::Auto,
        images,
        dimension,
        exact: Duration::from_secs_f64(exact),
        index: Duration::from_secs_f64(index),
    }
}

/// Whether so many vectors will be searched by an index.
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
            SearchMethod::Hnsw => "by an index",
            _ => "exactly",
        };
        if !self.auto {
            return write!(f, "{method}, as set");
        }
        write!(
            f,
            "{method}: {} vectors of {} take about {} exactly and {} by an index on a small machine",
            text::count(self.images as u64),
            self.dimension,
            text::duration(self.exact),
            text::duration(self.index)
        )
    }
}
