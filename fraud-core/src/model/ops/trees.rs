//! The three tree operators, on the evaluator of `model::trees`.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::Datum;

use super::kernel::{RowExpansion, RowKernel};
use crate::error::ModelError;
use crate::model::onnx::{attributes, ensemble, ensemble5};
use crate::model::trees::{TreeEvaluator, TreeSpec};

#[derive(Debug)]
pub(crate) struct Trees {
    name: &'static str,
    evaluator: TreeEvaluator,
}

impl RowKernel for Trees {
    fn name(&self) -> &'static str {
        self.name
    }

    fn width(&self, inputs: usize) -> Result<usize, String> {
        let needed = self.evaluator.features();
        if inputs < needed {
            return Err(format!("the trees compare feature {}, rows have {inputs}", needed.saturating_sub(1)));
        }
        Ok(self.evaluator.outputs())
    }

    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        self.evaluator.rows(x, width, out);
    }

    fn trees(&self) -> Option<&TreeEvaluator> {
        Some(&self.evaluator)
    }
}

fn trees(node: &NodeProto, name: &'static str, spec: TreeSpec) -> Result<Trees, ModelError> {
    let evaluator = TreeEvaluator::new(spec).map_err(|error| attributes::bad(node, error.to_string()))?;
    Ok(Trees { name, evaluator })
}

pub(crate) fn classifier(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let labels = ensemble::class_labels(node)?.ok_or_else(|| attributes::bad(node, "it has no class labels"))?;
    let kernel = trees(node, "TreeEnsembleClassifier", ensemble::ensemble(node)?)?;
    Ok(RowExpansion { labels: Some(labels), ..RowExpansion::scores(kernel) })
}

pub(crate) fn regressor(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    Ok(RowExpansion::scores(trees(node, "TreeEnsembleRegressor", ensemble::ensemble(node)?)?))
}

pub(crate) fn ensemble(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let kernel = trees(node, "TreeEnsemble", ensemble5::ensemble(node)?)?;
    let double = ensemble5::answers_double(node);
    let expansion = RowExpansion::scores(kernel);
    Ok(if double { RowExpansion { answer: Some(f64::datum_type()), ..expansion } } else { expansion })
}
