//! Models against other evaluators in one run, on the same rows, one thread each; then the whole path.
//!
//! `versus --models DIR --onnxruntime LIB --lightgbm LIB [--rounds N]`; `benches/peers/versus.sh` makes and finds
//! all of them. Contenders take turns in every round, so that what else the machine does hits all alike; the table
//! shows the median round of each.

mod native;
mod onnxruntime;
mod path;
mod tract;

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fraud_benches::read_npy;
use fraud_core::Model;
use fraud_core::model::LoadOptions;

/// Scores rows: as many as there are places for results.
type Run = Box<dyn FnMut(&Input, usize, &mut [f32]) -> anyhow::Result<()>>;

/// The rows, as each contender likes them best: conversion is not measured.
struct Input {
    width: usize,
    singles: Vec<f32>,
    doubles: Vec<f64>,
}

struct Contender {
    name: &'static str,
    run: Run,
}

const MODELS: [&str; 5] = ["lgbm100x31", "xgb100d6", "rf100", "lgbm500x63", "mlp64x64"];
/// Time of one contender in one round: well below a scheduler slice, so that most rounds are undisturbed.
const TURN: Duration = Duration::from_micros(300);
/// Whoever takes longer for a single call comes on in one round of this many, or the others would wait for it all day.
const SLOW: (Duration, usize) = (Duration::from_millis(10), 30);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let path = |name: &str| options.get(name).map(PathBuf::from);
    let models = path("--models").context("--models DIR is needed")?;
    let rounds: usize = options.get("--rounds").unwrap_or(&"301").parse()?;
    let environment = path("--onnxruntime").map(|library| onnxruntime::load(&library)).transpose()?;
    let (singles, width) = read_npy(&models.join("inputs.npy"))?;
    let doubles = singles.iter().copied().map(f64::from).collect();
    let input = Input { width, singles, doubles };
    println!("| model | rows | evaluator | µs/row | quickest round | ratio to ours | differs by |");
    println!("|---|---|---|---|---|---|---|");
    for name in MODELS {
        let file = |suffix: &str| Some(models.join(format!("{name}{suffix}"))).filter(|path| path.exists());
        let Some(onnx) = file(".onnx") else { continue };
        let mut contenders = vec![ours(&onnx, width)?];
        if let Some(environment) = &environment {
            let run = onnxruntime::contender(environment, &onnx)?;
            contenders.push(Contender { name: "ONNX Runtime (Rust, ort)", run });
        }
        if let (Some(library), Some(text)) = (path("--lightgbm"), file(".lgb.txt")) {
            contenders.push(Contender { name: "LightGBM C API", run: native::lightgbm(&library, &text, width)? });
        }
        if let Some(library) = file(".lleaves.so") {
            contenders.push(Contender { name: "lleaves (LLVM)", run: native::lleaves(&library)? });
        }
        match tract::contender(&onnx, width) {
            Ok(run) => contenders.push(Contender { name: "tract", run }),
            Err(error) => eprintln!("tract does not load {name}: {error:#}"),
        }
        for rows in [1, 256] {
            duel(name, rows, (&input, &mut contenders, rounds))?;
        }
    }
    path::measure(&models.join("lgbm100x31.onnx"))
}

fn ours(onnx: &Path, width: usize) -> anyhow::Result<Contender> {
    let model = Model::from_path(onnx, &LoadOptions::default())?;
    let run: Run = Box::new(move |input, first, out| {
        let rows = &input.singles[first * width..][..out.len() * width];
        if let [out] = out {
            *out = model.predict(rows)?;
        } else {
            model.predict_batch(rows, out)?;
        }
        Ok(())
    });
    Ok(Contender { name: "ours", run })
}

fn duel(
    model: &str,
    rows: usize,
    (input, contenders, rounds): (&Input, &mut [Contender], usize),
) -> anyhow::Result<()> {
    let last = input.singles.len() / input.width - 256;
    let mut expected = vec![0.0; 256];
    (contenders[0].run)(input, 0, &mut expected)?;
    let mut out = vec![0.0; rows];
    let mut differences = Vec::new();
    let mut calls = Vec::new();
    let mut every = Vec::new();
    for contender in contenders.iter_mut() {
        let mut difference = 0f32;
        for first in (0..256).step_by(rows) {
            (contender.run)(input, first, &mut out)?;
            let pairs = out.iter().zip(&expected[first..]);
            difference = pairs.map(|(a, b)| (a - b).abs()).fold(difference, f32::max);
        }
        ensure!(difference < 1e-3, "{} answers otherwise on {model}: by {difference}", contender.name);
        differences.push(difference);
        let started = Instant::now();
        (contender.run)(input, 0, &mut out)?;
        let once = started.elapsed().max(Duration::from_nanos(100));
        every.push(if once > SLOW.0 { SLOW.1 } else { 1 });
        calls.push((TURN.as_nanos() / once.as_nanos()).clamp(1, 100_000) as usize);
    }
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        for (index, contender) in contenders.iter_mut().enumerate().filter(|(index, _)| round % every[*index] == 0) {
            let started = Instant::now();
            for call in 0..calls[index] {
                (contender.run)(black_box(input), (round * 31 + call) % last, &mut out)?;
                black_box(&out);
            }
            times[index].push(started.elapsed().as_secs_f64() * 1e6 / (calls[index] * rows) as f64);
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let ours = times[0][rounds / 2];
    for ((contender, times), difference) in contenders.iter().zip(&times).zip(differences) {
        let (median, least) = (times[times.len() / 2], times[0]);
        let name = contender.name;
        println!("| {model} | {rows} | {name} | {median:.2} | {least:.2} | {:.1} | {difference:.0e} |", median / ours);
    }
    Ok(())
}
