//! The tree evaluator alone, kernel by kernel: one row, and batches of 256.
//!
//! The models come from `make bench-versus` (target/peers) or from ../shared/reference/models; without either there is
//! nothing to measure, and the benchmark says so.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fraud_benches::{read_npy, trees_file::tree_spec};
use fraud_core::model::trees::{Kernel, TreeEvaluator};

const BATCH: usize = 256;

fn trees(c: &mut Criterion) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = [root.join("target/peers"), root.join("../shared/reference/models")];
    let Some(folder) = folders.iter().find(|folder| folder.join("inputs.npy").exists()) else {
        println!("no models: run `make bench-versus` once");
        return;
    };
    let (x, width) = read_npy(&folder.join("inputs.npy")).expect("rows");
    let rows = x.len() / width;
    for name in ["lgbm100x31", "lgbm500x63", "xgb100d6", "rf100"] {
        let Ok(spec) = tree_spec(&folder.join(format!("{name}.onnx")), width) else { continue };
        let chosen = TreeEvaluator::new(spec.clone()).expect("legal").kernel();
        for kernel in [chosen, Kernel::Lockstep, Kernel::Bits { block: 8 }, Kernel::Walk] {
            let evaluator = TreeEvaluator::with_kernel(spec.clone(), kernel).expect("legal");
            if evaluator.kernel() != kernel {
                continue;
            }
            let mut group = c.benchmark_group(format!("trees/{name}"));
            let label = if kernel == chosen { format!("{kernel:?} (chosen)") } else { format!("{kernel:?}") };
            let mut at = 0;
            group.throughput(Throughput::Elements(1));
            group.bench_function(format!("row/{label}"), |b| {
                b.iter(|| {
                    at = (at + 1) % rows;
                    evaluator.probability_row(black_box(&x[at * width..][..width]), 1)
                });
            });
            let mut out = [0.0; BATCH];
            group.throughput(Throughput::Elements(BATCH as u64));
            group.bench_function(format!("batch/{label}"), |b| {
                b.iter(|| {
                    at = (at + 97) % (rows - BATCH);
                    evaluator.probability_rows(black_box(&x[at * width..]), width, (1, &mut out));
                });
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = trees
}
criterion_main!(benches);
