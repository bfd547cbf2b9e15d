//! What extraction knows of an image.

/// An image of the run, as far as extraction needs it.
#[derive(Clone, Debug)]
pub struct ImageRow {
    pub image_id: u32,
    pub path: String,
    pub digest: String,
    pub label_name: Option<String>,
}
