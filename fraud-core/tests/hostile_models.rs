//! Files that lie or do harm: an error, quickly, and nothing worse.

use std::path::{Path, PathBuf};

use fraud_core::error::ModelError;
use fraud_core::model::{LoadOptions, Model, OutputKind};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Scores are allowed, so that nothing but the harm itself is a reason to refuse.
fn load(bytes: &[u8]) -> Result<Model, ModelError> {
    Model::from_bytes(bytes, &LoadOptions { kind: OutputKind::Score, ..LoadOptions::default() })
}

#[test]
fn hostile_files_are_refused() {
    let mut loaded = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(testdata().join("hostile")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let start = std::time::Instant::now();
        match load(&std::fs::read(&path).unwrap()) {
            Ok(_) => loaded.push(name),
            Err(error) => println!("{name}, {:.0?}: {error}", start.elapsed()),
        }
    }
    assert!(count > 40, "only {count} files are there");
    assert!(loaded.is_empty(), "these were loaded: {loaded:?}");
}

#[test]
fn what_is_wrong_is_said() {
    let refused = |name: &str| load(&std::fs::read(testdata().join("hostile").join(name)).unwrap()).unwrap_err();
    assert!(matches!(refused("external_data.onnx"), ModelError::ExternalData { tensor } if tensor == "w"));
    assert!(matches!(refused("unknown_operator.onnx"),
        ModelError::UnsupportedOperator { operator, .. } if operator == "com.example.Magic"));
    assert!(matches!(refused("text_input.onnx"), ModelError::Signature { .. }));
    assert!(matches!(refused("wide_input.onnx"), ModelError::Signature { .. }));
    assert!(matches!(refused("tree_cycle.onnx"), ModelError::BadNode { .. }));
    assert!(refused("cycle.onnx").to_string().contains("cycle"));
    assert!(matches!(load(&[]), Err(ModelError::NotOnnx { .. })));
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 100 << 20];
    assert!(matches!(load(&zeros), Err(ModelError::NotOnnx { .. })));
    let limit = LoadOptions { max_bytes: 1 << 20, ..LoadOptions::default() };
    assert!(matches!(Model::from_bytes(&zeros, &limit), Err(ModelError::TooLarge { limit: 1_048_576, .. })));

    let field = |number: u8, content: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length > 127 {
            bytes.push(length as u8 | 128);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    };
    // A graph of millions of empty nodes, of two bytes each.
    let nodes = field(7, &[1 << 3 | 2, 0].repeat(8 << 20));
    assert!(matches!(load(&nodes), Err(ModelError::NotOnnx { .. })));
    // Attributes that hold graphs that hold nodes that hold attributes, and so on.
    let mut deep = Vec::new();
    for _ in 0..2_000 {
        deep = field(6, &field(1, &field(5, &deep)));
    }
    assert!(load(&field(7, &field(1, &field(5, &deep)))).is_err());
    // Packed integers of one byte each.
    let integers = field(7, &field(1, &field(5, &field(8, &vec![1; 32 << 20]))));
    assert!(load(&integers).is_err());
}

#[test]
fn truncated_files_are_refused() {
    for name in ["lgbm_default", "skl_standard_lr", "torch_relu", "skl_isolation_forest"] {
        let bytes = std::fs::read(testdata().join(format!("models/{name}.onnx"))).unwrap();
        assert!(load(&bytes).is_ok(), "{name}");
        for part in 0..40 {
            let end = bytes.len() * part / 40;
            assert!(load(&bytes[..end]).is_err(), "{name}, {end} of {} bytes", bytes.len());
        }
    }
}

/// Whatever a damaged file does, it does not take the process with it: it loads or it is refused.
#[test]
fn damaged_files_do_no_harm() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let names = [
        "skl_decision_tree",
        "skl_lr_zipmap",
        "torch_relu",
        "torch_dynamic_reshape",
        "op_encoder_words",
        "op_ensemble_member",
        "skl_imputer_mean",
        "autoencoder",
        "torch_embedding",
        "skl_voting_soft",
    ];
    let (mut loaded, mut refused) = (0, 0);
    for name in names {
        let bytes = std::fs::read(testdata().join(format!("models/{name}.onnx"))).unwrap();
        for _ in 0..30 {
            let mut damaged = bytes.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..damaged.len());
                match random.random_range(0..3) {
                    0 => damaged[at] ^= 1 << random.random_range(0..8),
                    1 => damaged[at] = random.next_u32() as u8,
                    _ => drop(damaged.remove(at)),
                }
            }
            match load(&damaged) {
                Ok(model) => {
                    loaded += 1;
                    let _ = model.predict(&[1.0; 15]);
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{loaded} damaged files loaded, {refused} were refused");
    assert!(refused > 0);
}

/// The tests above once more, in a process that may not have more than 1.5 GB of addresses.
#[test]
#[cfg(target_os = "linux")]
fn memory_stays_bounded() {
    let tests = "hostile_files_are_refused bombs_are_refused damaged_files_do_no_harm";
    let script = format!("ulimit -v 1500000 && exec \"$0\" --exact {tests} --test-threads=1");
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh").args(["-c", &script]).arg(this).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
