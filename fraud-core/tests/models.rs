//! Model files of every ordinary kind against what ONNX Runtime answers for them.

use std::path::{Path, PathBuf};

use fraud_core::error::ModelError;
use fraud_core::model::{LoadOptions, Model, OutputKind, OutputOptions};
use serde::Deserialize;

#[path = "support/npy.rs"]
#[allow(dead_code)]
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
    #[serde(default)]
    opset: String,
    #[serde(default)]
    loose: bool,
    unsupported: Option<String>,
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
        if batch[at].to_bits() != single.to_bits() {
            return Err(format!("row {at} alone gives {single}, in a batch {}", batch[at]));
        }
        for actual in [batch[at], single] {
            let off = (actual - expected).abs() / expected.abs().max(1.0);
            worst =
                if off.is_nan() && !(actual.is_nan() && expected.is_nan()) { f32::INFINITY } else { worst.max(off) };
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
        let score =
            ["autoencoder", "isoforest", "rf10_regressor", "lr_strlabel", "rf10_strlabel"].contains(&name.as_str());
        let kind = if score { OutputKind::Score } else { OutputKind::Probability };
        let expected = npy::read(&folder.join(format!("{name}.expected.npy"))).unwrap();
        let start = std::time::Instant::now();
        match Model::from_path(&folder.join(format!("{name}.onnx")), &options(kind)) {
            Ok(model) => {
                let loaded = start.elapsed();
                match difference(&model, &inputs.values, &expected.values) {
                    Ok(off) => {
                        println!("{name}: {off:.1e}, {}, loaded in {loaded:.1?}", model.engine());
                        if ["autoencoder", "mlp64x64"].contains(&name.as_str()) && model.engine() != "program" {
                            wrong.push(format!("{name} runs as {}", model.engine()));
                        }
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

/// Networks and pipelines are run by steps of our own, whatever exporter wrote them; tract has what is left.
#[test]
fn networks_run_as_programs() {
    let engine = |name: &str| {
        let options = options(OutputKind::Score);
        Model::from_path(&testdata().join(format!("{name}.onnx")), &options).unwrap().engine()
    };
    let programs = [
        "autoencoder",
        "autoencoder18",
        "skl_mlp_logistic",
        "skl_mlp_opset9_1",
        "skl_mlp_relu",
        "skl_mlp_tanh",
        "skl_mlp_words_zipmap",
        "torch_batchnorm",
        "torch_elu",
        "torch_layernorm",
        "torch_matmul",
        "torch_prelu",
        "torch_relu",
        "torch_residual",
        "torch_silu",
        "torch_softmax",
        "torch_view",
        "skl_columns_lr",
        "skl_voting_soft",
    ];
    for name in programs {
        assert_eq!(engine(name), "program", "{name}");
    }
    assert_eq!(engine("skl_decision_tree"), "trees");
    for name in ["torch_embedding", "torch_double"] {
        assert_eq!(engine(name), "plan", "{name}");
    }
}

/// What became of one exported file; `Err` is a mistake of ours.
fn outcome(entry: &Entry, folder: &Path, (inputs, missing): (&npy::Matrix, &npy::Matrix)) -> Result<String, String> {
    let kind = if entry.kind == "score" { OutputKind::Score } else { OutputKind::Probability };
    let logits = (entry.kind == "logits").then_some(true);
    let output = OutputOptions { name: entry.output.clone(), label: entry.label.clone(), logits };
    let inputs = if entry.inputs.is_some() { missing } else { inputs };
    let options = LoadOptions { output, ..options(kind) };
    match (Model::from_path(&folder.join(format!("{}.onnx", entry.name)), &options), &entry.unsupported) {
        (Ok(_), Some(operator)) => Err(format!("it loads, though {operator} is not supported")),
        (Ok(model), None) => {
            let off = difference(&model, &inputs.values, &entry.expected)?;
            // ONNX Runtime and tract round half precision at different places.
            let tolerance = if entry.loose { 2e-3 } else { TOLERANCE };
            if off <= tolerance { Ok(format!("yes ({})", model.engine())) } else { Err(format!("it is off by {off}")) }
        }
        (Err(ModelError::UnsupportedOperator { operator, advice, .. }), Some(expected))
            if operator.ends_with(expected) =>
        {
            Ok(format!("no: {operator}; {advice}"))
        }
        (Err(error), _) => Err(error.to_string()),
    }
}

/// Loads every exported file, and holds `docs/models.md` against the results (`UPDATE_DOCS=1` rewrites it).
#[test]
fn exported_models_answer_as_onnx_runtime_and_the_table_says_so() {
    let folder = testdata();
    let entries: Vec<Entry> = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let inputs = npy::read(&folder.join("inputs.npy")).unwrap();
    let missing = npy::read(&folder.join("missing.npy")).unwrap();
    let mut rows: Vec<String> = Vec::new();
    let mut unexportable = Vec::new();
    let mut wrong = Vec::new();
    for entry in &entries {
        if let Some(reason) = &entry.refused {
            unexportable.push(format!("| {} | {} |", entry.name, reason.replace('|', "/")));
            continue;
        }
        match outcome(entry, &folder, (&inputs, &missing)) {
            Ok(works) => {
                let about =
                    [&entry.exporter, &entry.family, &entry.options, &entry.opset].map(|text| text.replace('|', "/"));
                rows.push(format!("| {} | {works} |", about.join(" | ")));
            }
            Err(problem) => wrong.push(format!("{}: {problem}", entry.name)),
        }
    }
    println!("{} of {} files as expected", rows.len(), rows.len() + wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md");
    let opsets = entries.iter().filter(|entry| entry.refused.is_none()).flat_map(|entry| entry.opset.split(", "));
    let opsets: Vec<u32> = opsets.filter_map(|opset| opset.strip_prefix("ai.onnx ")?.parse().ok()).collect();
    let text = TABLE
        .replace("{oldest}", &opsets.iter().min().unwrap().to_string())
        .replace("{newest}", &opsets.iter().max().unwrap().to_string())
        .replace("{files}", &rows.len().to_string())
        .replace("{rows}", &rows.join("\n"))
        .replace("{unexportable}", &unexportable.join("\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    } else if path.exists() {
        let found = std::fs::read_to_string(&path).unwrap();
        assert!(found == text, "docs/models.md is out of date: run this test with UPDATE_DOCS=1");
    }
}

/// `docs/models.md`, but for its rows.
const TABLE: &str = "# Which models work

Written by the test `exported_models_answer_as_onnx_runtime_and_the_table_says_so` (`fraud-core/tests/models.rs`) from the
{files} files in `fraud-core/testdata/models`, which `export.py` there made with the exporters named. Each file was loaded and
its answers for 48 rows, one by one and as a batch, held against ONNX Runtime's: \"yes\" is a difference of at most 1e-5
(relative above 1; 2e-3 for half precision). In brackets what runs it: `trees` is the tree evaluator alone, `program` steps
of our own over blocks of rows, `plan` the graph on tract, one row at a time.

Rules of thumb: export with probabilities; ZipMap or not, string or integer labels, float32 or float64 inputs, opsets {oldest} to
{newest}, one input or one per column all work. A file may be fixed to a batch of one. Scores of regressors and anomaly detectors need a
`fraud.calibration` in the metadata (`fraud-core/models/FORMAT.md`), logits `fraud.logits`. Where classes are texts, name
the fraudulent one (`fraud.label`) unless it is called fraud. An operator that is not supported is named when the file is loaded.

| exporter | model | options | opsets | works |
|---|---|---|---|---|
{rows}

## What the exporters themselves refused

| tried | exporter's answer |
|---|---|
{unexportable}
";
