//! Unit statistics of feature maps: maximum, argmax and mean of every channel of every image.

use rayon::prelude::*;

/// Maximum cells of a map whose positions fit into the column `argmax`.
pub const MAX_CELLS: i64 = 1 << 16;

/// Statistics of one layer over a batch; every vector is `[n, channels]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitStatistics {
    pub channels: usize,
    pub max: Vec<f32>,
    pub mean: Vec<f32>,
    /// `row * width + column` of the first maximum.
    pub argmax: Vec<u32>,
}

/// Memory layout of a batch of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[n, channels, cells]`
    ChannelsFirst,
    /// `[n, cells, channels]`
    ChannelsLast,
}

/// Reduces maps of `channels` × `cells` values per image. Sums run in cell order, independently of the number of threads.
pub fn unit_statistics(
    maps: &[f32],
    channels: usize,
    cells: usize,
    layout: Layout,
) -> UnitStatistics {
    let images = maps.len() / (channels * cells).max(1);
    let mut statistics = UnitStatistics {
        channels,
        max: vec![f32::NEG_INFINITY; images * channels],
        mean: vec![0.0; images * channels],
        argmax: vec![0; images * channels],
    };
    let outputs = statistics
        .max
        .par_chunks_mut(channels)
        .zip(statistics.mean.par_chunks_mut(channels))
        .zip(statistics.argmax.par_chunks_mut(channels));
    maps.par_chunks(channels * cells)
        .zip(outputs)
        .for_each(|(map, ((max, mean), argmax))| {
            match layout {
                Layout::ChannelsLast => channels_last(map, channels, max, mean, argmax),
                Layout::ChannelsFirst => channels_first(map, cells, max, mean, argmax),
            }
            for mean in mean {
                *mean /= cells as f32;
            }
        });
    statistics
}

/// One pass over the map with channels in the inner loop, which the compiler vectorises.
fn channels_last(
    map: &[f32],
    channels: usize,
    max: &mut [f32],
    sum: &mut [f32],
    argmax: &mut [u32],
) {
    for (cell, values) in map.chunks_exact(channels).enumerate() {
        let cell = cell as u32;
        for (((&value, max), sum), argmax) in values
            .iter()
            .zip(&mut *max)
            .zip(&mut *sum)
            .zip(&mut *argmax)
        {
            let better = value > *max;
            *max = if better { value } else { *max };
            *argmax = if better { cell } else { *argmax };
            *sum += value;
        }
    }
}

fn channels_first(map: &[f32], cells: usize, max: &mut [f32], sum: &mut [f32], argmax: &mut [u32]) {
    for (((values, max), sum), argmax) in map.chunks_exact(cells).zip(max).zip(sum).zip(argmax) {
        for (cell, &value) in values.iter().enumerate() {
            if value > *max {
                *max = value;
                *argmax = cell as u32;
            }
            *sum += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_give_the_first_maximum_and_the_mean() {
        // Two images, two channels, three cells; computed by hand.
        let first = [
            1.0, 5.0, 5.0, -1.0, -2.0, -3.0, 0.0, 0.0, 0.0, 2.0, 4.0, 6.0,
        ];
        let last = [
            1.0, -1.0, 5.0, -2.0, 5.0, -3.0, 0.0, 2.0, 0.0, 4.0, 0.0, 6.0,
        ];
        let a = unit_statistics(&first, 2, 3, Layout::ChannelsFirst);
        assert_eq!(a.max, [5.0, -1.0, 0.0, 6.0]);
        assert_eq!(a.argmax, [1, 0, 0, 2]);
        assert_eq!(a.mean, [11.0 / 3.0, -2.0, 0.0, 4.0]);
        assert_eq!(a, unit_statistics(&last, 2, 3, Layout::ChannelsLast));
    }
}
