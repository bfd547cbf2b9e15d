//! A linear classifier on the features.

use prospect_store::table;

table! {
    /// What a linear classifier says of images that it has not seen.
    pub mod probe = "probe", "image", [45.0, 30.0] {
        image_id: u32,
        /// `probe` or `network`
        source: Text,
        /// null where no fold has it
        fold: Option<i16>,
        label: Option<i32>,
        pred: i32,
        /// null where the label is none of the classes
        p_label: Option<f32>,
        p_pred: f32,
        /// the label's probability minus the greatest other one
        margin: f32,
        /// in nats
        entropy: f32,
        /// in order of `probe_classes.position`
        probabilities: Vector<f32>,
    }
}

table! {
    /// The classes of the probe.
    pub mod probe_classes = "probe_classes", "class", [24.0, 12.0] {
        position: i32,
        class: i32,
        name: Text,
        images: u32,
    }
}

table! {
    /// The probe itself.
    pub mod probe_weights = "probe_weights", "fold and class", [14.0, 8.0] {
        fold: i16,
        class: i32,
        bias: f32,
        weights: Vector<f32>,
    }
}

table! {
    /// How good the probe is on images that it has not seen.
    pub mod probe_quality = "probe_quality", "penalty", [60.0, 200.0] {
        /// strength of the penalty
        l2: Option<f64>,
        /// whether it gave the probabilities
        chosen: bool,
        log_loss: f64,
        accuracy: f64,
        /// expected calibration error
        ece: Option<f64>,
        brier: Option<f64>,
        images: u32,
        /// over the features
        passes: Option<i32>,
        converged: Option<bool>,
    }
}

table! {
    /// How honest the probe is on images that it has not seen.
    pub mod probe_calibration = "probe_calibration", "bin of confidence", [16.0, 60.0] {
        bin: i32,
        images: u32,
        /// mean of `p_pred`
        confidence: Option<f32>,
        accuracy: Option<f32>,
    }
}
