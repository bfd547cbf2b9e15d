//! Problems of the dataset and of the classifier.

use prospect_store::table;

table! {
    /// Pairs of duplicate images.
    pub mod duplicates = "duplicates", "pair of images", [23.0, 15.0] {
        image_a: u32,
        image_b: u32,
        /// `exact`, `near`, `mirrored`, or `rotated` by quarter turns
        kind: Text,
        /// Hamming distance in bits
        phash_distance: Option<i16>,
        /// cosine distance
        feature_distance: Option<f32>,
        /// of the pixels; 1 is identical
        similarity: f32,
        /// lowest image id of the group of duplicates
        group_id: u32,
        /// whether the labels differ
        label_conflict: bool,
        /// whether the splits differ
        cross_split: bool,
    }
}

table! {
    /// Score of each label, by the classifier, the neighbours and the confusion of the labels.
    pub mod label_scores = "label_scores", "labelled image", [45.0, 25.0] {
        image_id: u32,
        label: i32,
        /// null if the label is the most likely class
        suggested_label: Option<i32>,
        /// its share in the detector's posterior, which is not calibrated
        p_suggested: Option<f32>,
        /// predicted probability of the label
        self_confidence: f32,
        /// (1 + p(label) − highest other probability) / 2
        normalized_margin: f32,
        /// fraction of the labelled neighbours with the same label; each other group of related images has one vote
        knn_agreement: f32,
        /// whether the image is off the diagonal of the confident joint
        confident_joint: bool,
        /// how far classifier and neighbours agree on one other class, 0 to 1
        support: f32,
        /// how far classifier and neighbours differ in the class, 0 to 1
        ambiguity: f32,
        /// 0 worst to 1
        score: f32,
        /// suspicious, and not settled by a review
        flagged: bool,
        /// the label is doubtful, but classifier and neighbours do not agree on another class
        ambiguous: bool,
        /// 1 is the worst
        rank: i32,
        /// the label is doubtful, and classifier and neighbours agree on another class, whatever a review says
        suspicious: bool,
        /// verdict of the review: `ok` or `fix`. It counts in training and in the neighbours' votes, not in this row's score
        reviewed: Option<Text>,
        /// right class by the review
        reviewed_label: Option<i32>,
    }
}

table! {
    /// Estimated number of images by given label and true class.
    pub mod confident_joint = "confident_joint", "pair of classes", [56.0, 30.0] {
        /// given label
        label: i32,
        label_name: Text,
        /// estimated true class
        true_label: i32,
        true_name: Text,
        /// images that confidently belong to the true class
        count: i64,
        /// images, by confident learning
        estimated: f64,
        /// images, by the probabilities of all images
        expected: f64,
    }
}

table! {
    /// Fraction of the label errors that a review of the worst labels finds, measured on injected errors.
    pub mod label_calibration = "label_calibration", "kind of injected error and review budget", [32.0, 40.0] {
        /// `uniform`: any other label; `confusion`: as the classes are confused; `similar`: towards the most similar class
        noise: Text,
        /// images reviewed
        reviewed: i32,
        /// fraction of the injected errors that would be among them
        recall: f32,
        /// 95 % prediction interval of the fraction of the dataset's own errors, if they are like the injected ones
        recall_low: f32,
        recall_high: f32,
        /// number of injected label errors
        planted: u32,
    }
}

table! {
    /// Images far from all others, or from their class, in feature space.
    pub mod outliers = "outliers", "image", [21.0, 16.0] {
        image_id: u32,
        /// mean cosine distance to the nearest neighbours
        distance: f32,
        /// 0 worst to 1
        score: f32,
        /// mean cosine distance to the nearest neighbours of its class
        class_distance: Option<f32>,
        class_score: Option<f32>,
        /// whether either score is under 0.5
        flagged: bool,
    }
}

table! {
    /// Association of attributes with labels, significant ones first, then the strongest.
    pub mod associations = "associations", "attribute", [120.0, 300.0] {
        attribute: Text,
        /// `metadata` or `quality`
        kind: Text,
        /// number of distinct values
        values: i32,
        images: u32,
        /// adjusted mutual information; 0 is expected by chance, however many values there are
        ami: f64,
        /// normalized mutual information, not adjusted for chance
        nmi: f64,
        /// `G-test`, or `permutation` where expected counts are below 5
        test: Text,
        /// of independence
        p_value: f64,
        /// Benjamini–Hochberg, over all attributes
        q_value: f64,
        /// the value and label with the highest lift
        top_value: Option<Text>,
        top_label: Option<i32>,
        top_label_name: Option<Text>,
        /// observed count over the count expected by chance
        lift: Option<f64>,
        /// images with both
        support: Option<u32>,
    }
}

table! {
    /// Accuracy by value of an attribute.
    pub mod groups = "groups", "value of an attribute", [100.0, 60.0] {
        attribute: Text,
        value: Text,
        /// null: all labels
        label: Option<i32>,
        label_name: Option<Text>,
        images: u32,
        accuracy: Option<f64>,
        /// 95 % interval
        accuracy_low: Option<f64>,
        accuracy_high: Option<f64>,
        /// accuracy over all other values of the attribute, of the same label if given
        rest: Option<f64>,
        /// of Fisher's exact test that the group is no less accurate than the rest
        p_value: Option<f64>,
        /// Benjamini–Hochberg, over all groups of all attributes
        q_value: Option<f64>,
        /// whether the q-value is at most 0.05
        worse: bool,
        /// lowest accuracy among the attribute's values, or among its pairs of value and label
        worst: bool,
        /// evaluated classifier: `probe` or `network`
        source: Option<Text>,
    }
}

table! {
    /// Marks on the pictures of one class, findings first, and units that may detect a shortcut.
    pub mod shortcuts = "shortcuts", "class and mark or unit", [280.0, 300.0] {
        rank: i32,
        class: i32,
        class_name: Text,
        /// null: no unit, but the pictures themselves
        layer: Option<Text>,
        unit: Option<i32>,
        /// `pattern`: the pictures have the same fine structure in one place; `cast`: their light has another colour; `mark`: the unit fires in one small place; `leaning`: the classifier relies on the unit, which fires at the border or off the object
        kind: Text,
        /// rows with the same number concern the same images
        mark: i32,
        /// 0 to 1; of a pattern or a cast, the fraction of the class beyond that of all others
        score: f64,
        /// of the pattern, from the maxima over all places after permutations of the labels; of a cast, by the Kolmogorov–Smirnov test; of a unit, of the pattern it fires for
        p_value: Option<f64>,
        /// Benjamini–Hochberg, over all classes, and of a cast over warmth and tint
        q_value: Option<f64>,
        /// AUROC of the unit, the class against all others
        exclusivity: Option<f64>,
        /// of the class, with the mark or with the unit active
        images: u32,
        /// fraction of the class's images with the mark
        share_of_class: Option<f64>,
        /// fraction of all other images
        share_of_others: Option<f64>,
        /// the mark's place, 0 to 1 of the view
        x0: Option<f64>,
        y0: Option<f64>,
        x1: Option<f64>,
        y1: Option<f64>,
        /// `input` of the network, or the whole `picture`
        view: Text,
        /// fraction of `images` with the strongest cell in the outermost ring
        border_share: Option<f64>,
        /// fraction of those with boxes whose strongest cell is outside them
        outside_boxes: Option<f64>,
        /// mean fraction of the explanations' energy in the outermost ring
        border_energy: Option<f64>,
        /// mean fraction of the explanations' energy outside the boxes
        background_energy: Option<f64>,
        /// mean probability of the label with the mark
        p_with: Option<f64>,
        /// mean probability of the label without the mark
        p_without: Option<f64>,
        /// when the mark or unit is ablated
        accuracy_drop: Option<f64>,
        probability_drop: Option<f64>,
        /// with a q-value up to 0.01, a pattern on at least 10 % more of the class's images than of all others, or a unit that fires for it, or a cast of at least 45 % more (60 % if there are fewer than five classes)
        flagged: bool,
        /// one sentence
        evidence: Text,
        /// path of the contact sheet
        picture: Option<Text>,
    }
}

table! {
    /// All findings, worst first within each kind.
    pub mod issues = "issues", "finding", [140.0, 30.0] {
        image_id: u32,
        kind: Text,
        /// 0 worst to 1 fine
        score: f32,
        flagged: bool,
        /// more likely class
        suggested_label: Option<i32>,
        /// one sentence
        evidence: Text,
        /// within the kind; 1 is the worst
        rank: i32,
        /// other image of the pair
        other_id: Option<u32>,
        /// verdict of the review: `ok` or `fix`
        reviewed: Option<Text>,
        note: Option<Text>,
    }
}

table! {
    /// Differences from the findings of the run in `[run] previous`.
    pub mod changes = "changes", "difference", [140.0, 30.0] {
        /// of the image
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
