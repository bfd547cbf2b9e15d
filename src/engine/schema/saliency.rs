//! Class activation maps.

use prospect_store::table;

table! {
    /// Class activation maps computed inline by `extract`, until `explain` copies them.
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
    /// Class activation maps of each image and their statistics.
    pub mod explanations = "explanations", "image, layer, method and class", [110.0, 45.0] {
        image_id: u32,
        layer: Text,
        method: Text,
        class: i32,
        /// `predicted`, `label`, `top-2` …, `fixed`
        class_kind: Text,
        /// cells of the map
        height: i16,
        width: i16,
        /// raw map divided by `map_scale`
        map: List<f16>,
        map_scale: f32,
        raw_min: f32,
        raw_max: f32,
        /// energy: sum of the positive cells
        positive_sum: f32,
        /// whether no cell is positive, or all are equal
        zero_map: bool,
        /// centroid of the energy, 0 to 1 of the network's input
        center_y: Option<f32>,
        center_x: Option<f32>,
        /// fraction of the energy in the outermost ring of cells
        border_fraction: Option<f32>,
        /// of the energy over the cells, in nats
        entropy: Option<f32>,
        /// of the class
        logit: f32,
        /// for CAM: logit − (mean of the map + bias)
        residual: Option<f32>,
        /// fraction of the energy inside the boxes
        energy_in_box: Option<f32>,
        /// whether the highest cell is in a box
        pointing_hit: Option<bool>,
    }
}
