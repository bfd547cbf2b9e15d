//! The probe: a linear classifier on the features.

use prospect_store::table;

table! {
    /// Out-of-fold predictions of a linear classifier on the features, or the network's. The probabilities are the softmax as trained; only `calibrated` is calibrated.
    pub mod probe = "probe", "image", [49.0, 32.0] {
        image_id: u32,
        /// `probe` or `network`
        source: Text,
        /// null for images in no fold
        fold: Option<i16>,
        label: Option<i32>,
        pred: i32,
        /// null if the label is not one of the classes
        p_label: Option<f32>,
        p_pred: f32,
        /// expected share of labels equal to `pred` at this `p_pred`, by isotonic regression on the other folds; null for the network
        calibrated: Option<f32>,
        /// probability of the label minus the highest other probability
        margin: f32,
        /// in nats
        entropy: f32,
        /// ordered by `probe_classes.position`
        probabilities: Vector<f32>,
    }
}

table! {
    /// Classes of the probe.
    pub mod probe_classes = "probe_classes", "class", [24.0, 12.0] {
        /// index in `probe.probabilities`
        position: i32,
        class: i32,
        name: Text,
        images: u32,
    }
}

table! {
    /// Weights of the probe.
    pub mod probe_weights = "probe_weights", "fold and class", [14.0, 8.0] {
        fold: i16,
        class: i32,
        bias: f32,
        weights: Vector<f32>,
    }
}

table! {
    /// Quality of the probe's out-of-fold predictions, by penalty.
    pub mod probe_quality = "probe_quality", "penalty", [68.0, 210.0] {
        /// strength of the penalty
        l2: Option<f64>,
        /// whether the table `probe` uses this penalty
        chosen: bool,
        log_loss: f64,
        accuracy: f64,
        /// expected calibration error of `probe.p_pred`
        ece: Option<f64>,
        /// expected calibration error of `probe.calibrated`
        ece_calibrated: Option<f64>,
        brier: Option<f64>,
        images: u32,
        /// passes over the features
        passes: Option<i32>,
        converged: Option<bool>,
    }
}

table! {
    /// Calibration of the probe's out-of-fold predictions.
    pub mod probe_calibration = "probe_calibration", "bin of confidence", [16.0, 60.0] {
        bin: i32,
        images: u32,
        /// mean of `p_pred`
        confidence: Option<f32>,
        accuracy: Option<f32>,
    }
}
