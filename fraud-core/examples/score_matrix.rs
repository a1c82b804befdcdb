//! Scores a matrix of features with a model file:
//!
//! ```text
//! cargo run --release --example score_matrix -- --model M.onnx --input X.npy --output p.npy
//! ```
//!
//! `X.npy` is N × F of float32 or float64, the features in the model's order. `p.npy` gets N float32: the
//! probabilities of fraud, or the scores of models that answer other numbers. Optional: `--output-name`, `--label`,
//! `--logits`, as in the model's metadata, and `--features LIST.json`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fraud_core::error::ModelError;
use fraud_core::features::{FeatureDefinition, FeatureSet, Source};
use fraud_core::model::{LoadOptions, Model, OutputKind};

#[path = "../tests/support/npy.rs"]
mod npy;

const USAGE: &str = "usage: score_matrix --model M.onnx --input X.npy --output p.npy \
                     [--output-name NAME] [--label CLASS] [--logits] [--features LIST.json]";
/// Rows per call: enough for the batch kernels, little enough to stay in cache.
const BLOCK: usize = 1_024;

#[derive(Default)]
struct Arguments {
    model: PathBuf,
    input: PathBuf,
    output: PathBuf,
    features: Option<PathBuf>,
    options: LoadOptions,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        if argument == "--logits" {
            found.options.output.logits = Some(true);
            continue;
        }
        let mut value = || given.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--model" => found.model = value()?.into(),
            "--input" => found.input = value()?.into(),
            "--output" => found.output = value()?.into(),
            "--output-name" => found.options.output.name = Some(value()?),
            "--label" => found.options.output.label = Some(value()?),
            "--features" => found.features = Some(value()?.into()),
            other => return Err(format!("unknown argument {other}\n{USAGE}")),
        }
    }
    if [&found.model, &found.input, &found.output].iter().any(|path| path.as_os_str().is_empty()) {
        return Err(USAGE.to_owned());
    }
    found.options.kind = OutputKind::Score;
    Ok(found)
}

/// Features for a matrix of another width than the default: what they mean does not matter here.
fn columns(count: usize) -> Result<FeatureSet, Box<dyn Error>> {
    let feature = |index| FeatureDefinition { name: format!("COLUMN_{index}"), source: Source::Amount };
    Ok(FeatureSet::new((0..count).map(feature).collect())?)
}

/// Loads the model for rows of `width`. Where nobody lists its features and rows are not as the default ones, they are
/// what the rows hold.
pub(crate) fn load(path: &Path, options: LoadOptions, width: usize) -> Result<Model, Box<dyn Error>> {
    let assumed = if options.features.is_none() && width != FeatureSet::handbook().len() {
        Model::from_path(path, &LoadOptions { features: Some(columns(width)?), ..options.clone() })
    } else {
        Model::from_path(path, &options)
    };
    let model = match assumed {
        // The file lists features of its own.
        Err(ModelError::Metadata { key, .. }) if key == "fraud.features" && options.features.is_none() => {
            Model::from_path(path, &options)?
        }
        loaded => loaded?,
    };
    let takes = model.features().len();
    if takes != width {
        return Err(format!("the matrix has {width} columns, the model takes {takes}").into());
    }
    Ok(model)
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { model, input, output, features, mut options } = arguments()?;
    let matrix = npy::read(&input)?;
    if let Some(path) = features {
        options.features = Some(FeatureSet::from_json(&std::fs::read_to_string(path)?)?);
    }
    let width = matrix.columns;
    let model = load(&model, options, width)?;
    let mut scores = vec![0.0; matrix.rows];
    let start = Instant::now();
    for (rows, scores) in matrix.values.chunks(BLOCK * width).zip(scores.chunks_mut(BLOCK)) {
        model.predict_batch(rows, scores)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    npy::write(&output, &scores)?;
    println!(
        "{} {} ({}): {} rows in {seconds:.3} s, {:.0} rows/s",
        model.name(),
        model.version(),
        model.engine(),
        matrix.rows,
        matrix.rows as f64 / seconds.max(1e-9)
    );
    Ok(())
}
