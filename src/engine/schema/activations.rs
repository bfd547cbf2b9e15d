//! Activations of single units.

use prospect_store::table;

table! {
    /// Images in which each unit is most active, and the image region responsible.
    pub mod patches = "patches", "unit and rank", [110.0, 14.0] {
        layer: Text,
        unit: i32,
        /// 1 is the highest activation
        rank: i16,
        image_id: u32,
        /// activation of the unit
        value: f32,
        /// cell of the feature map
        row: i16,
        col: i16,
        /// region that the cell depends on, in pixels of the file
        box_x0: f32,
        box_y0: f32,
        box_x1: f32,
        box_y1: f32,
        /// receptive field used for the box: `theoretical`
        rf: Text,
        /// whether the box was clipped to the image
        clipped: bool,
        /// path of the contact sheet
        crop: Option<Text>,
    }
}

table! {
    /// Activation statistics of each unit over the dataset.
    pub mod unit_stats = "unit_stats", "unit", [70.0, 33.0] {
        layer: Text,
        unit: i32,
        /// with a finite activation
        images: u32,
        /// of the activation, the maximum over the map
        mean: Option<f32>,
        std: Option<f32>,
        min: Option<f32>,
        max: Option<f32>,
        /// fraction of images with a positive activation
        share_active: Option<f32>,
        /// whether the activation is never positive, or constant
        dead: bool,
        selectivity: Option<f32>,
        /// definition of `selectivity`: `class_selectivity` or `lifetime_sparseness`
        measure: Text,
        /// class with the highest mean activation
        top_class: Option<i32>,
    }
}

table! {
    /// Region of each patch that drives its unit, from gradients.
    pub mod unit_gradients = "unit_gradients", "patch of a chosen unit", [80.0, 90.0] {
        layer: Text,
        unit: i32,
        rank: i16,
        image_id: u32,
        row: i16,
        col: i16,
        /// box to use: `theoretical`, or `effective` if the receptive field covers the whole image
        rf: Text,
        box_x0: Option<f32>,
        box_y0: Option<f32>,
        box_x1: Option<f32>,
        box_y1: Option<f32>,
        /// box with 90 % of the gradient's energy
        effective_x0: Option<f32>,
        effective_y0: Option<f32>,
        effective_x1: Option<f32>,
        effective_y1: Option<f32>,
        /// fraction of the gradient's energy in the effective box
        energy: Option<f32>,
        gradient_max: Option<f32>,
        zero_gradient: Option<bool>,
    }
}
