//! Prospect mines an image dataset through the eyes of a trained network.

pub mod cli;
pub mod config;
pub mod error;
pub mod image;
pub mod model;
pub mod progress;
pub mod stages;
pub mod store;
pub mod text;
