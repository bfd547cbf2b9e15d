//! Outputs of the network.

use prospect_store::table;

table! {
    /// The network's prediction for each image.
    pub mod predictions = "predictions", "image", [64.0, 55.0] {
        image_id: u32,
        /// most likely class
        pred: i32,
        /// its probability
        p_pred: f32,
        /// probability of the label; null if the label is not a class of the network
        p_label: Option<f32>,
        /// `p_pred` minus the second highest probability
        margin: f32,
        /// in nats
        entropy: f32,
        /// cross-entropy of the label, in nats
        loss: Option<f32>,
        /// `class` and probability `p` of the five most likely classes
        top5: Structs,
        /// by class
        logits: Vector<f32>,
    }
}

table! {
    /// Feature vector of each image.
    pub mod features = "features", "image", [4.0, 4.0] {
        image_id: u32,
        /// input of the final linear layer, or output of `[extract] feature_layer`
        vector: Vector<f32>,
    }
}

table! {
    /// Activations of all units in each image.
    pub mod units = "units", "image and layer", [16.0, 4.0] {
        layer: Text,
        image_id: u32,
        /// over the cells of the map, one value per channel
        max: List<f16>,
        mean: List<f16>,
        /// cell of the maximum: row · width + column, per channel
        argmax: List<u16>,
    }
}

table! {
    /// Full feature maps of the layers that `[explain]` needs.
    pub mod maps = "maps", "image and layer", [16.0, 4.0] {
        layer: Text,
        image_id: u32,
        /// [channels, height, width]
        map: List<f16>,
    }
}

table! {
    /// Layers recorded by `extract`.
    pub mod layers = "layers", "layer", [80.0, 200.0] {
        layer: Text,
        /// class of the module
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
        /// number of parameters
        parameters: i64,
    }
}

table! {
    /// Content and class of each image when `extract` processed it, for reuse of its rows.
    pub mod extracted = "extracted", "image", [80.0, 42.0] {
        image_id: u32,
        /// BLAKE3 of the file
        digest: Text,
        /// the network's class with the label's name
        class: Option<i32>,
    }
}
