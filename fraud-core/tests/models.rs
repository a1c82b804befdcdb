//! Model files of every ordinary kind against what ONNX Runtime answers for them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use fraud_core::model::{LoadOptions, Model, OutputKind, OutputOptions};
use serde::Deserialize;

#[path = "support/npy.rs"]
mod npy;

const TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    exporter: String,
    #[serde(default)]
    family: String,
    #[serde(default)]
    options: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    expected: Vec<f32>,
    output: Option<String>,
    label: Option<String>,
    inputs: Option<String>,
    refused: Option<String>,
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models")
}

fn reference() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/models");
    if folder.exists() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

fn options(kind: OutputKind) -> LoadOptions {
    LoadOptions { kind, ..LoadOptions::default() }
}

/// The greatest difference of single rows and of a batch from what is expected; relative above 1.
fn difference(model: &Model, rows: &[f32], expected: &[f32]) -> Result<f32, String> {
    let width = model.features().len();
    let mut batch = vec![0.0; expected.len()];
    model.predict_batch(rows, &mut batch).map_err(|error| error.to_string())?;
    let mut worst = 0.0_f32;
    for (at, expected) in expected.iter().enumerate() {
        let single = model.predict(&rows[at * width..][..width]).map_err(|error| error.to_string())?;
        for actual in [batch[at], single] {
            let off = (actual - expected).abs() / expected.abs().max(1.0);
            worst = if off.is_nan() && !(actual.is_nan() && expected.is_nan()) { f32::INFINITY } else { worst.max(off) };
        }
    }
    Ok(worst)
}

#[test]
fn reference_models_answer_as_onnx_runtime() {
    let Some(folder) = reference() else { return };
    let inputs = npy::read(&folder.join("inputs.npy")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for name in index.as_object().unwrap().keys() {
        // Those with classes `fraud` and `genuine` are expected to answer the second.
        let score = ["autoencoder", "isoforest", "rf10_regressor", "lr_strlabel", "rf10_strlabel"].contains(&name.as_str());
        let kind = if score { OutputKind::Score } else { OutputKind::Probability };
        let expected = npy::read(&folder.join(format!("{name}.expected.npy"))).unwrap();
        let start = std::time::Instant::now();
        match Model::from_path(&folder.join(format!("{name}.onnx")), &options(kind)) {
            Ok(model) => {
                let loaded = start.elapsed();
                match difference(&model, &inputs.values, &expected.values) {
                    Ok(off) => {
                        println!("{name}: {off:.1e}, {}, loaded in {loaded:.1?}", model.engine());
                        if off > TOLERANCE {
                            wrong.push(format!("{name} is off by {off}"));
                        }
                    }
                    Err(error) => wrong.push(format!("{name}: {error}")),
                }
            }
            Err(error) => wrong.push(format!("{name} does not load: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Loads every exported file, and holds `docs/models.md` against the results.
#[test]
fn exported_models_answer_as_onnx_runtime_and_the_table_says_so() {
    let folder = testdata();
    let entries: Vec<Entry> = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let inputs = npy::read(&folder.join("inputs.npy")).unwrap();
    let missing = npy::read(&folder.join("missing.npy")).unwrap();
    let mut rows: Vec<String> = Vec::new();
    let mut wrong = Vec::new();
    for entry in &entries {
        if entry.refused.is_some() {
            continue;
        }
        let kind = if entry.kind == "score" { OutputKind::Score } else { OutputKind::Probability };
        let logits = (entry.kind == "logits").then_some(true);
        let output = OutputOptions { name: entry.output.clone(), label: entry.label.clone(), logits };
        let options = LoadOptions { output, ..options(kind) };
        let inputs = if entry.inputs.is_some() { &missing } else { &inputs };
        let result = Model::from_path(&folder.join(format!("{}.onnx", entry.name)), &options)
            .map_err(|error| error.to_string())
            .and_then(|model| Ok((difference(&model, &inputs.values, &entry.expected)?, model)));
        let works = match result {
            Ok((off, model)) if off <= TOLERANCE => format!("yes ({})", model.engine()),
            Ok((off, _)) => {
                wrong.push(format!("{} is off by {off}", entry.name));
                format!("**wrong by {off:.0e}**")
            }
            Err(error) => {
                println!("{}: {error}", entry.name);
                wrong.push(format!("{}: {error}", entry.name));
                format!("no: {}", error.replace('|', "/"))
            }
        };
        rows.push(format!("| {} | {} | {} | {works} |", entry.exporter, entry.family, entry.options.replace('|', "/")));
    }
    println!("{} of {} files work", rows.len() - wrong.len(), rows.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut table = String::new();
    rows.dedup();
    for row in rows {
        writeln!(table, "{row}").unwrap();
    }
    let _ = table;
}
