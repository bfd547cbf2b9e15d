//! What is wrong with the dataset.

use prospect_store::table;

table! {
    /// Copies of files and of pictures.
    pub mod duplicates = "duplicates", "pair of images", [23.0, 15.0] {
        image_a: u32,
        image_b: u32,
        /// `exact`, `near`, `mirrored`
        kind: Text,
        /// in bits
        phash_distance: Option<i16>,
        /// cosine
        feature_distance: Option<f32>,
        /// of the decoded pictures; 1 is the same
        similarity: f32,
        /// lowest id of the group
        group_id: u32,
        /// whether their labels differ
        label_conflict: bool,
        /// whether their splits differ
        cross_split: bool,
    }
}

table! {
    /// How likely each label is right.
    pub mod label_scores = "label_scores", "labelled image", [35.0, 17.0] {
        image_id: u32,
        label: i32,
        /// null where the label is the most likely class
        suggested_label: Option<i32>,
        p_suggested: Option<f32>,
        /// the probe's probability of the label
        self_confidence: f32,
        /// half of 1 plus the label's lead over any other class
        normalized_margin: f32,
        /// fraction of the labelled neighbours with this label
        knn_agreement: f32,
        /// whether it is counted off the diagonal of the confident joint
        confident_joint: bool,
        /// 0 worst to 1
        score: f32,
        flagged: bool,
        /// 1 is the worst
        rank: i32,
    }
}

table! {
    /// How often one class is labelled as another.
    pub mod confident_joint = "confident_joint", "pair of classes", [56.0, 30.0] {
        /// as given
        label: i32,
        label_name: Text,
        /// as estimated
        true_label: i32,
        true_name: Text,
        /// images that confidently are of the class
        count: i64,
        /// by confident learning
        estimated: f64,
        /// by the probabilities of all images
        expected: f64,
    }
}

table! {
    /// What a review of so many images is expected to find.
    pub mod label_calibration = "label_calibration", "review budget", [24.0, 40.0] {
        /// images looked at
        reviewed: i32,
        /// fraction of all label errors that are among them
        recall: f32,
        /// 95 % interval
        recall_low: f32,
        recall_high: f32,
        /// fraction of errors among them
        precision: f32,
        /// errors injected
        planted: u32,
    }
}

table! {
    /// Images unlike all others, or unlike their class.
    pub mod outliers = "outliers", "image", [21.0, 16.0] {
        image_id: u32,
        /// mean cosine distance to the nearest images
        distance: f32,
        /// 0 worst to 1
        score: f32,
        /// as `distance`, to the nearest of its class
        class_distance: Option<f32>,
        class_score: Option<f32>,
        /// whether a score is under 0.5
        flagged: bool,
    }
}

table! {
    /// What attributes say about labels.
    pub mod associations = "associations", "attribute", [90.0, 250.0] {
        attribute: Text,
        /// `metadata` or `quality`
        kind: Text,
        /// how many it has
        values: i32,
        images: u32,
        /// normalized mutual information
        nmi: f64,
        /// of a permutation test
        p_value: f64,
        /// the value and the label that go together most
        top_value: Option<Text>,
        top_label: Option<i32>,
        top_label_name: Option<Text>,
        /// how many times as often as by chance
        lift: Option<f64>,
        /// images with both
        support: Option<u32>,
    }
}

table! {
    /// Accuracy by group.
    pub mod groups = "groups", "value of an attribute", [80.0, 40.0] {
        attribute: Text,
        value: Text,
        /// null for all labels together
        label: Option<i32>,
        label_name: Option<Text>,
        images: u32,
        accuracy: Option<f64>,
        /// 95 % interval
        accuracy_low: Option<f64>,
        accuracy_high: Option<f64>,
        /// accuracy of all images that have a value, or of those of the label
        overall: Option<f64>,
        /// whether it is the lowest accuracy of the attribute
        worst: bool,
        /// who judged: `probe` or `network`
        source: Option<Text>,
    }
}

table! {
    /// Units that fire for one class alone.
    pub mod shortcuts = "shortcuts", "class and unit", [250.0, 300.0] {
        rank: i32,
        class: i32,
        class_name: Text,
        layer: Text,
        unit: i32,
        /// `mark`: fires in one small place; `leaning`: the classifier leans on it, and it looks beside the object
        kind: Text,
        /// rows with one number are about the same images
        mark: i32,
        /// 0 to 1
        score: f64,
        /// area under the ROC curve, the class against all others
        exclusivity: f64,
        /// that bear the mark or make the unit fire
        images: u32,
        /// fraction of the class's images
        share_of_class: Option<f64>,
        /// fraction of all other images
        share_of_others: Option<f64>,
        /// the place, 0 to 1 of the network's input
        x0: Option<f64>,
        y0: Option<f64>,
        x1: Option<f64>,
        y1: Option<f64>,
        /// fraction of its images with the strongest cell in the outermost ring
        border_share: f64,
        /// fraction of those with boxes with the strongest cell in none
        outside_boxes: Option<f64>,
        /// of the explanations of its images
        border_energy: Option<f64>,
        background_energy: Option<f64>,
        /// mean probability of the label, with the mark and without
        p_with: Option<f64>,
        p_without: Option<f64>,
        /// without the unit
        accuracy_drop: Option<f64>,
        probability_drop: Option<f64>,
        flagged: bool,
        /// one sentence
        evidence: Text,
        /// path of a picture
        picture: Option<Text>,
    }
}

table! {
    /// All findings, worst first within their kind.
    pub mod issues = "issues", "finding", [140.0, 30.0] {
        image_id: u32,
        kind: Text,
        /// 0 worst to 1 fine
        score: f32,
        flagged: bool,
        /// a likelier class
        suggested_label: Option<i32>,
        /// one sentence
        evidence: Text,
        /// within the kind
        rank: i32,
        /// the other image of a pair
        other_id: Option<u32>,
        /// `ok` or `fix`
        reviewed: Option<Text>,
        note: Option<Text>,
    }
}

table! {
    /// Differences from an earlier run's findings; with `[run] previous`.
    pub mod changes = "changes", "difference", [140.0, 30.0] {
        /// the image's
        path: Text,
        kind: Text,
        other_path: Option<Text>,
        /// `new`, `worse`, `better`, `resolved`
        change: Text,
        score_before: Option<f32>,
        score: Option<f32>,
        evidence: Text,
    }
}
