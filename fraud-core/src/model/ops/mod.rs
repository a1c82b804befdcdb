//! The operators of ours that stand inside tract's graph.
//!
//! Those of `ai.onnx.ml` that tract lacks or answers wrongly. Each is a [`kernel::RowKernel`] that knows no tract,
//! where it can be one; `kernel` puts it into the graph.

mod columns;
mod encode;
pub(crate) mod kernel;
mod linear;
mod math;
mod one_hot;
mod post;
mod scaling;
mod svm;
mod trees;

use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use crate::error::ModelError;

pub(crate) use columns::COLUMN;
pub(crate) use kernel::RowOp;

type Builder = fn(&ParsingContext, &NodeProto) -> Built;
type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn built(expansion: Result<impl Expansion, ModelError>) -> Built {
    Ok((expand(expansion?), Vec::new()))
}

/// The function of rows that a node is, where it is one of ours and legal.
pub(crate) fn row_kernel(node: &NodeProto) -> Option<Arc<dyn kernel::RowKernel>> {
    let expansion = match node.op_type.as_str() {
        "TreeEnsembleClassifier" => trees::classifier(node),
        "TreeEnsembleRegressor" => trees::regressor(node),
        "TreeEnsemble" => trees::ensemble(node),
        "LinearClassifier" => linear::classifier(node),
        "LinearRegressor" => linear::regressor(node),
        "SVMClassifier" => svm::classifier(node),
        "SVMRegressor" => svm::regressor(node),
        "Scaler" => scaling::scaler(node),
        "Imputer" => scaling::imputer(node),
        "Binarizer" => scaling::binarizer(node),
        "Normalizer" => scaling::normalizer(node),
        _ => return None,
    };
    expansion.ok().map(|expansion| expansion.kernel)
}

/// tract's reader, with our operators in it.
pub(crate) fn reader() -> Onnx {
    fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
        built(trees::classifier(node))
    }
    fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
        built(trees::regressor(node))
    }
    fn ensemble(_: &ParsingContext, node: &NodeProto) -> Built {
        built(trees::ensemble(node))
    }
    fn linear_classifier(_: &ParsingContext, node: &NodeProto) -> Built {
        built(linear::classifier(node))
    }
    fn linear_regressor(_: &ParsingContext, node: &NodeProto) -> Built {
        built(linear::regressor(node))
    }
    fn scaler(_: &ParsingContext, node: &NodeProto) -> Built {
        built(scaling::scaler(node))
    }
    fn imputer(_: &ParsingContext, node: &NodeProto) -> Built {
        built(scaling::imputer(node))
    }
    fn binarizer(_: &ParsingContext, node: &NodeProto) -> Built {
        built(scaling::binarizer(node))
    }
    fn normalizer(_: &ParsingContext, node: &NodeProto) -> Built {
        built(scaling::normalizer(node))
    }
    fn label_encoder(_: &ParsingContext, node: &NodeProto) -> Built {
        built(encode::label_encoder(node))
    }
    fn feature_vectorizer(_: &ParsingContext, node: &NodeProto) -> Built {
        built(columns::feature_vectorizer(node))
    }
    fn array_feature_extractor(_: &ParsingContext, node: &NodeProto) -> Built {
        built(columns::array_feature_extractor(node))
    }
    fn one_hot(_: &ParsingContext, node: &NodeProto) -> Built {
        built(one_hot::one_hot(node))
    }
    fn column(_: &ParsingContext, node: &NodeProto) -> Built {
        built(columns::column(node))
    }
    fn svm_classifier(_: &ParsingContext, node: &NodeProto) -> Built {
        built(svm::classifier(node))
    }
    fn svm_regressor(_: &ParsingContext, node: &NodeProto) -> Built {
        built(svm::regressor(node))
    }
    fn sigmoid(_: &ParsingContext, _: &NodeProto) -> Built {
        Ok((expand(math::Sigmoid), Vec::new()))
    }
    fn log_sum_exp(context: &ParsingContext, node: &NodeProto) -> Built {
        built(math::log_sum_exp(context, node))
    }
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let own: [(&'static str, Builder); 18] = [
        ("TreeEnsembleClassifier", classifier),
        ("TreeEnsembleRegressor", regressor),
        ("TreeEnsemble", ensemble),
        ("LinearClassifier", linear_classifier),
        ("LinearRegressor", linear_regressor),
        ("SVMClassifier", svm_classifier),
        ("SVMRegressor", svm_regressor),
        ("Scaler", scaler),
        ("Imputer", imputer),
        ("Binarizer", binarizer),
        ("Normalizer", normalizer),
        ("LabelEncoder", label_encoder),
        ("OneHotEncoder", one_hot),
        ("FeatureVectorizer", feature_vectorizer),
        ("ArrayFeatureExtractor", array_feature_extractor),
        (COLUMN, column),
        ("Sigmoid", sigmoid),
        ("ReduceLogSumExp", log_sum_exp),
    ];
    for (name, builder) in own {
        onnx.op_register.insert(name, builder);
    }
    onnx
}

#[cfg(test)]
mod tests;
