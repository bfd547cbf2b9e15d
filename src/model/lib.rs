//! Networks: reading `torch.export` archives, analysing their graphs and running them on libtorch. The only crate that uses
//! tch, apart from the linear algebra in `analysis`.
//!
//! - [`archive`]: the `.pt2` file, treated as hostile input; [`graph`]: its nodes; [`operators`]: the allowed operators
//! - `checks`: what a graph must be to give logits of one picture each; `probe`: the same, by running two pictures
//! - [`analysis`]: taps by module path, default layers, exactness of CAM; [`receptive_field`]: theoretical receptive fields
//! - [`program`]: the compiled graph, folded and fused; [`executor`]: runs it; [`forward`]: from images to table columns
//! - [`explain`]: class activation maps from a layer's feature maps; [`backprop`]: gradients with respect to the pixels

pub mod analysis;
pub mod archive;
pub mod backprop;
mod bounds;
mod cam_method;
mod checks;
pub mod device;
pub mod executor;
pub mod explain;
pub mod forward;
mod fusion;
pub mod graph;
mod info;
pub mod inspect;
mod layer;
mod layer_choice;
pub mod operators;
mod parse;
mod probe;
pub mod program;
pub mod receptive_field;
mod relu_rule;
mod shim;
pub mod sidecar;
pub mod units;
mod weights;

pub use cam_method::CamMethod;
pub use info::ModelInfo;
pub use layer::Layer;
pub use layer_choice::LayerChoice;
pub use relu_rule::ReluRule;
