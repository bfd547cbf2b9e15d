//! The recorded layers: their maps and receptive fields, and the preprocessing of images.

use prospect_common::{Error, Result};
use prospect_dataset::image::InputSpec;
use prospect_store::{Manifest, RunFolder};

use crate::schema::layers;

/// A row of `layers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub name: String,
    pub channels: usize,
    /// Size of its feature map, in cells; both at least 1.
    pub height: u32,
    pub width: u32,
    /// Along y, then along x; `None` if a cell sees everything.
    pub field: [Option<Axis>; 2],
}

/// The receptive field along one axis: cell `i` sees `[start + i * stride, start + i * stride + size)` of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    pub size: f64,
    pub stride: f64,
    pub start: f64,
}

impl Layer {
    /// Row and column of a place in the map.
    pub fn cell(&self, position: u32) -> (u32, u32) {
        (position / self.width, position % self.width)
    }

    /// `x0, y0, x1, y1` of a cell in 0..=1 of the map.
    pub fn cell_edges(&self, position: u32) -> [f64; 4] {
        let (row, col) = self.cell(position);
        let along = |cell: u32, length: u32| f64::from(cell) / f64::from(length);
        [
            along(col, self.width),
            along(row, self.height),
            along(col + 1, self.width),
            along(row + 1, self.height),
        ]
    }

    /// x and y of its centre.
    pub fn centre(&self, position: u32) -> [f64; 2] {
        let [x0, y0, x1, y1] = self.cell_edges(position);
        [(x0 + x1) / 2.0, (y0 + y1) / 2.0]
    }

    /// The cell's receptive field: `x0, y0, x1, y1` in pixel edges of an input of (height, width), which it may exceed.
    pub fn input_box(&self, (row, col): (u32, u32), (height, width): (u32, u32)) -> [f64; 4] {
        let along = |axis: Option<Axis>, cell: u32, length: u32| match axis {
            None => (0.0, f64::from(length)),
            Some(axis) => {
                let first = axis.start + f64::from(cell) * axis.stride;
                (first, first + axis.size)
            }
        };
        let (y0, y1) = along(self.field[0], row, height);
        let (x0, x1) = along(self.field[1], col, width);
        [x0, y0, x1, y1]
    }

    /// Whether a cell's receptive field is at least as large as the input along an axis.
    pub fn sees_all(&self, (height, width): (u32, u32)) -> bool {
        let all = |axis: Option<Axis>, length: u32| {
            axis.is_none_or(|axis| axis.size >= f64::from(length))
        };
        all(self.field[0], height) || all(self.field[1], width)
    }
}

/// The preprocessing recorded by `extract`.
pub fn input_spec(manifest: &Manifest) -> Result<InputSpec> {
    let input = (manifest.stages.get("extract")).and_then(|stage| stage.parameters.get("input"));
    input
        .and_then(|input| serde_json::from_value(input.clone()).ok())
        .ok_or_else(|| Error::Missing {
            what: "the preprocessing recorded by extract".into(),
            next: "run `prospect run extract`".into(),
        })
}

/// The rows of the table `layers`, in its order.
pub fn read_layers(run: &RunFolder, manifest: &Manifest) -> Result<Vec<Layer>> {
    let columns = (
        layers::layer,
        layers::channels,
        layers::height,
        layers::width,
        layers::rf_size_y,
        layers::rf_stride_y,
        layers::rf_start_y,
        layers::rf_size_x,
        layers::rf_stride_x,
        layers::rf_start_x,
    );
    let axis = |size: Option<i32>, stride: Option<i32>, start: Option<i32>| {
        Some(Axis {
            size: size?.into(),
            stride: stride?.into(),
            start: start?.into(),
        })
    };
    let side = |n: i32| u32::try_from(n).ok().filter(|n| *n > 0);
    let mut found = Vec::new();
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for cells in batch.iter() {
            let (name, channels, height, width, ..) = cells;
            let (_, _, _, _, size_y, stride_y, start_y, size_x, stride_x, start_x) = cells;
            let (Some(channels), Some(height), Some(width)) =
                (side(channels), side(height), side(width))
            else {
                return Err(batch.unexpected(
                    "maps of at least one channel, row and column",
                    format!("an empty one for layer {name}"),
                ));
            };
            found.push(Layer {
                name: name.to_string(),
                channels: channels as usize,
                height,
                width,
                field: [
                    axis(size_y, stride_y, start_y),
                    axis(size_x, stride_x, start_x),
                ],
            });
        }
    }
    Ok(found)
}

/// Path of a unit's picture by `stage`, in the run folder.
pub fn unit_picture(stage: &str, layer: &str, unit: usize) -> String {
    format!("pictures/{stage}/{}/unit-{unit:04}.png", folder(layer))
}

/// A layer's name as a folder name: letters, digits, `_`, `-` and inner dots stay, other bytes become `~23`, and a very long name
/// ends in its hash. Different layers get different folders.
pub fn folder(layer: &str) -> String {
    let mut name = String::new();
    for (at, byte) in layer.bytes().enumerate() {
        match byte {
            b'.' if at > 0 => name.push('.'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte.into()),
            _ => name.push_str(&format!("~{byte:02x}")),
        }
    }
    if name.len() > 120 {
        let hash = blake3::hash(layer.as_bytes()).to_hex();
        name.truncate(100);
        name.push_str(&format!("~~{}", &hash[..16]));
    }
    name
}
