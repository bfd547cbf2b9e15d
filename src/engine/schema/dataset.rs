//! The files and their classes.

use prospect_store::table;

table! {
    /// The image files, in order of their paths. The columns of the user's metadata follow ours.
    pub mod images = "images", "file", [150.0, 110.0] {
        /// the image's rank by path; joins all tables
        image_id: u32,
        /// relative to the image folder, with `/`
        path: Text,
        /// BLAKE3 of the bytes
        digest: Option<Text>,
        /// as stored, in pixels
        width: Option<i32>,
        height: Option<i32>,
        /// EXIF, 1 to 8
        orientation: Option<i16>,
        /// number of the class
        label: Option<i32>,
        label_name: Option<Text>,
        split: Option<Text>,
        /// why it cannot be used
        error: Option<Text>,
        brightness: Option<f32>,
        contrast: Option<f32>,
        sharpness: Option<f32>,
        entropy: Option<f32>,
        saturation: Option<f32>,
        /// perceptual hash
        phash: Option<u64>,
    }
}

table! {
    /// Names of the classes.
    pub mod classes = "classes", "class", [24.0, 12.0] {
        class: i32,
        name: Text,
        /// `dataset` or `model`
        source: Text,
    }
}
