//! Models.

pub mod trees;
