//! STUB
#![allow(missing_docs)]
use crate::{error::ModelError, features::FeatureSet};
#[derive(Debug)]
pub struct Model {
    f: FeatureSet,
    m: ModelMetadata,
}
#[derive(Debug)]
pub struct ModelMetadata {
    pub thresholds: Option<(f32, f32)>,
}
impl ModelMetadata {
    pub fn medians(&self) -> Option<&[f64]> {
        None
    }
}
impl Model {
    pub fn features(&self) -> &FeatureSet {
        &self.f
    }
    pub fn metadata(&self) -> &ModelMetadata {
        &self.m
    }
    pub fn version(&self) -> &str {
        "x"
    }
    pub fn predict(&self, _r: &[f32]) -> Result<f32, ModelError> {
        Ok(0.0)
    }
    pub fn predict_batch(&self, _r: &[f32], _o: &mut [f32]) -> Result<(), ModelError> {
        Ok(())
    }
}
impl Model {
    pub fn embedded() -> Result<Self, ModelError> {
        Err(ModelError::NoModel)
    }
    pub fn from_bytes(_: &[u8]) -> Result<Self, ModelError> {
        Err(ModelError::NoModel)
    }
    pub fn name(&self) -> &str {
        "x"
    }
    pub fn sha256(&self) -> &str {
        "x"
    }
}
