//! Images and classes.

pub use prospect_store::images;
use prospect_store::table;

table! {
    /// Names of the classes.
    pub mod classes = "classes", "class", [24.0, 12.0] {
        class: i32,
        name: Text,
        /// `dataset` or `model`
        source: Text,
    }
}

table! {
    /// The annotators' votes for each image's label, if the metadata has them.
    pub mod label_votes = "label_votes", "image with votes", [40.0, 20.0] {
        image_id: u32,
        /// their sum; 1 for probabilities
        votes: f32,
        /// class with the most votes
        majority: Text,
        /// fraction of the votes
        majority_share: f32,
        /// fraction of the votes for the image's label; null without a label
        agreement: Option<f32>,
        /// of the votes, in bits
        entropy: f32,
    }
}
