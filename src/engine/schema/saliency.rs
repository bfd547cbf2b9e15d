//! Where the network looked.

use prospect_store::table;

table! {
    /// Class activation maps that extract has made inline, until explain takes them over.
    pub mod cams = "cams", "image, layer, method and class", [110.0, 45.0] {
        layer: Text,
        image_id: u32,
        method: Text,
        class: i32,
        class_kind: Text,
        logit: f32,
        residual: Option<f32>,
        map: List<f32>,
    }
}

table! {
    /// Where the network looked.
    pub mod explanations = "explanations", "image, layer, method and class", [110.0, 45.0] {
        image_id: u32,
        layer: Text,
        method: Text,
        class: i32,
        /// `predicted`, `label`, `top-2` …, `fixed`
        class_kind: Text,
        /// of the map, in cells
        height: i16,
        width: i16,
        /// raw; times `map_scale`
        map: List<f16>,
        map_scale: f32,
        raw_min: f32,
        raw_max: f32,
        /// of the cells over 0
        positive_sum: f32,
        /// whether it points at nothing
        zero_map: bool,
        /// centre of what is over 0, from 0 to 1 of the network's input
        center_y: Option<f32>,
        center_x: Option<f32>,
        /// of what is over 0, in the outermost ring of cells
        border_fraction: Option<f32>,
        /// of what is over 0, in nats
        entropy: Option<f32>,
        /// of the class
        logit: f32,
        /// what CAM's identity misses
        residual: Option<f32>,
        /// fraction of what is over 0 inside the boxes
        energy_in_box: Option<f32>,
        /// whether the highest cell lies in a box
        pointing_hit: Option<bool>,
    }
}
