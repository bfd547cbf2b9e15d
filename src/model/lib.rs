//! Networks: reading `torch.export` archives, graph arithmetic, and running them on libtorch. The only place that knows tch.
//!
//! - [`archive`]: the `.pt2` file, as hostile input; [`graph`]: its nodes; [`operators`]: which of them may run
//! - [`analysis`]: taps by module path, default layers, where CAM is exact; [`receptive_field`]: what cells see
//! - [`program`]: what really runs, folded and fused; [`executor`]: running it; [`forward`]: images in, tables' columns out
//! - [`explain`]: class activation maps from a layer's maps; [`backprop`]: gradients at the pixels

pub mod analysis;
pub mod archive;
pub mod backprop;
mod cam_method;
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
