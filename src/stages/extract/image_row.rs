//! An image to extract.

/// The columns of `images` that the stage needs.
#[derive(Clone, Debug)]
pub struct ImageRow {
    pub image_id: u32,
    pub path: String,
    pub digest: String,
    pub label_name: Option<String>,
}
