//! What the network says of the images.

use prospect_store::table;

table! {
    /// What the network says of each image.
    pub mod predictions = "predictions", "image", [64.0, 55.0] {
        image_id: u32,
        /// the most likely class
        pred: i32,
        /// its probability
        p_pred: f32,
        /// null where the network does not know the label
        p_label: Option<f32>,
        /// `p_pred` minus the second greatest probability
        margin: f32,
        /// in nats
        entropy: f32,
        /// cross entropy of the label, in nats
        loss: Option<f32>,
        /// the five most likely classes, each `class` and `p`
        top5: Structs,
        /// in order of the classes
        logits: Vector<f32>,
    }
}

table! {
    /// One vector of the network for each image.
    pub mod features = "features", "image", [4.0, 4.0] {
        image_id: u32,
        /// the input of the final linear layer, or `[extract] feature_layer`
        vector: Vector<f32>,
    }
}

table! {
    /// Activations of each unit, over the cells of its map.
    pub mod units = "units", "image and layer", [16.0, 4.0] {
        layer: Text,
        image_id: u32,
        /// over the cells, a value for each channel
        max: List<f16>,
        mean: List<f16>,
        /// cell of the maximum: row · width + column
        argmax: List<u16>,
    }
}

table! {
    /// Whole feature maps of the layers that `[explain]` needs.
    pub mod maps = "maps", "image and layer", [16.0, 4.0] {
        layer: Text,
        image_id: u32,
        /// [channels, height, width]
        map: List<f16>,
    }
}

table! {
    /// The recorded layers.
    pub mod layers = "layers", "layer", [80.0, 200.0] {
        layer: Text,
        /// class of its module
        op: Text,
        /// of the feature map
        channels: i32,
        height: i32,
        width: i32,
        /// receptive field in input pixels
        rf_size_y: Option<i32>,
        rf_size_x: Option<i32>,
        rf_stride_y: Option<i32>,
        rf_stride_x: Option<i32>,
        rf_start_y: Option<i32>,
        rf_start_x: Option<i32>,
        /// how many
        parameters: i64,
    }
}

table! {
    /// What the rows of extract were computed from.
    pub mod extracted = "extracted", "image", [80.0, 42.0] {
        image_id: u32,
        /// of the content
        digest: Text,
        /// of the network that the label names
        class: Option<i32>,
    }
}
