//! What excites the units.

use prospect_store::table;

table! {
    /// The images that excite each unit most, and the region that it saw.
    pub mod patches = "patches", "unit and rank", [110.0, 14.0] {
        layer: Text,
        unit: i32,
        /// 1 is the greatest activation
        rank: i16,
        image_id: u32,
        /// the unit's activation
        value: f32,
        /// cell of the layer's map
        row: i16,
        col: i16,
        /// what the cell saw, in pixels of the file
        box_x0: f32,
        box_y0: f32,
        box_x1: f32,
        box_y1: f32,
        /// how the box was made
        rf: Text,
        /// whether the box reaches beyond the image
        clipped: bool,
        /// path of a picture
        crop: Option<Text>,
    }
}

table! {
    /// Each unit over the whole dataset.
    pub mod unit_stats = "unit_stats", "unit", [70.0, 33.0] {
        layer: Text,
        unit: i32,
        /// those with a finite activation
        images: u32,
        /// of the activations, each the maximum over the map
        mean: Option<f32>,
        std: Option<f32>,
        min: Option<f32>,
        max: Option<f32>,
        /// fraction of images with an activation over 0
        share_active: Option<f32>,
        /// whether it never fires
        dead: bool,
        selectivity: Option<f32>,
        /// what `selectivity` is
        measure: Text,
        /// the class that excites it most
        top_class: Option<i32>,
    }
}

table! {
    /// Which part of a patch made its unit fire.
    pub mod unit_gradients = "unit_gradients", "patch of a chosen unit", [80.0, 90.0] {
        layer: Text,
        unit: i32,
        rank: i16,
        image_id: u32,
        row: i16,
        col: i16,
        /// which box to look at: `theoretical`, or `effective` where a cell sees the whole image
        rf: Text,
        box_x0: Option<f32>,
        box_y0: Option<f32>,
        box_x1: Option<f32>,
        box_y1: Option<f32>,
        /// holds 90 % of the gradient's energy
        effective_x0: Option<f32>,
        effective_y0: Option<f32>,
        effective_x1: Option<f32>,
        effective_y1: Option<f32>,
        /// fraction of the energy in the effective box
        energy: Option<f32>,
        gradient_max: Option<f32>,
        zero_gradient: Option<bool>,
    }
}
