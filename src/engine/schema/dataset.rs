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
