//! Random graphs against tract's own plan, and rows alone against rows in batches.

use proptest::prelude::*;
use tract_onnx::tract_core::ops::array::{Gather, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind, leaky_relu, sigmoid, silu::silu};
use tract_onnx::tract_core::ops::{logic, math};
use tract_onnx::tract_hir::internal::*;

use super::*;

/// Numbers in [−1, 1) from a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.next() * scale).collect();
        Tensor::from_shape(shape, &values).unwrap()
    }

    fn rows(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() * 2.0).collect()
    }
}

/// What follows what in a random graph. Every layer leaves a matrix of rows.
#[derive(Debug, Clone, Copy)]
enum Layer {
    /// Width, whether the matrix stands transposed, whether it comes first.
    Dense(usize, bool, bool),
    /// To a vector, whose axis is added again.
    ToOne,
    Constant(u8, bool, bool),
    Function(u8),
    /// With the layer's own input, where the widths fit.
    Residual(u8),
    /// With a reduced column of itself.
    Reduced(u8, u8),
    Softmax,
    Concat,
    Slice,
    Gather,
    Elu,
}

fn layer() -> impl Strategy<Value = Layer> {
    prop_oneof![
        4 => (1..70_usize, any::<bool>(), any::<bool>()).prop_map(|(w, t, f)| Layer::Dense(w, t, f)),
        1 => Just(Layer::ToOne),
        2 => (0..6_u8, any::<bool>(), any::<bool>()).prop_map(|(o, s, f)| Layer::Constant(o, s, f)),
        3 => (0..9_u8).prop_map(Layer::Function),
        1 => (0..5_u8).prop_map(Layer::Residual),
        1 => (0..4_u8, 0..5_u8).prop_map(|(r, o)| Layer::Reduced(r, o)),
        1 => Just(Layer::Softmax),
        1 => Just(Layer::Concat),
        1 => Just(Layer::Slice),
        1 => Just(Layer::Gather),
        1 => Just(Layer::Elu),
    ]
}

struct Graph {
    model: TypedModel,
    numbers: Numbers,
    count: usize,
}

impl Graph {
    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        self.count += 1;
        self.model.wire_node(format!("n{}", self.count), op, inputs).unwrap()[0]
    }

    fn constant(&mut self, shape: &[usize], scale: f32) -> OutletId {
        let tensor = self.numbers.tensor(shape, scale);
        self.given(tensor)
    }

    fn given(&mut self, tensor: Tensor) -> OutletId {
        self.count += 1;
        self.model.add_const(format!("n{}", self.count), tensor).unwrap()
    }

    fn einsum(&mut self, axes: &str, inputs: &[OutletId]) -> OutletId {
        self.wire(EinSum::new(axes.parse().unwrap(), f32::datum_type()), inputs)
    }

    fn two(which: u8) -> impl TypedOp {
        match which {
            0 => math::add(),
            1 => math::sub(),
            2 => math::mul(),
            3 => math::max(),
            _ => math::min(),
        }
    }

    /// The layer's answer and its width.
    fn layer(&mut self, layer: Layer, x: OutletId, width: usize) -> (OutletId, usize) {
        match layer {
            Layer::Dense(out, transposed, first) => {
                let shape = if transposed { [out, width] } else { [width, out] };
                let weights = self.constant(&shape, 1.0 / (width as f32).sqrt());
                let matrix = if transposed { "nk" } else { "kn" };
                let y = if first {
                    self.einsum(&format!("{matrix},mk->mn"), &[weights, x])
                } else {
                    self.einsum(&format!("mk,{matrix}->mn"), &[x, weights])
                };
                let bias = self.constant(&[1, out], 0.5);
                let y = self.wire(math::add(), &[y, bias]);
                let zero = self.given(tensor2(&[[0.0_f32]]));
                (if first { self.wire(math::max(), &[zero, y]) } else { y }, out)
            }
            Layer::ToOne => {
                let weights = self.constant(&[width], 1.0 / (width as f32).sqrt());
                let y = self.einsum("mk,k->m", &[x, weights]);
                (self.wire(AxisOp::Add(1), &[y]), 1)
            }
            Layer::Constant(which, scalar, first) => {
                let row = self.constant(&[1, if scalar { 1 } else { width }], 1.0);
                let inputs = if first { [row, x] } else { [x, row] };
                (self.wire(Self::two(which), &inputs), width)
            }
            Layer::Function(which) => (self.function(which, x), width),
            Layer::Residual(which) => {
                let y = self.wire(math::tanh(), &[x]);
                (self.wire(Self::two(which), &[x, y]), width)
            }
            Layer::Reduced(reducer, which) => {
                let reducer = match reducer {
                    0 => Reducer::Sum,
                    1 => Reducer::Max,
                    2 => Reducer::Min,
                    _ => Reducer::MeanOfSquares,
                };
                let column = self.wire(Reduce { axes: tvec!(1), reducer }, &[x]);
                let column = self.wire(math::tanh(), &[column]);
                (self.wire(Self::two(which), &[column, x]), width)
            }
            Layer::Softmax => {
                let op = Softmax { axes: tvec!(1), quant_output_dt: None, kind: SoftmaxKind::Softmax };
                (self.wire(op, &[x]), width)
            }
            Layer::Concat => {
                let y = self.wire(sigmoid(), &[x]);
                (self.wire(TypedConcat { axis: 1 }, &[y, x]), 2 * width)
            }
            Layer::Slice => {
                let start = width / 3;
                let op = Slice { axis: 1, start: start.to_dim(), end: width.to_dim() };
                (self.wire(op, &[x]), width - start)
            }
            Layer::Gather => {
                let last = width as i64 - 1;
                let places = self.given(tensor1(&[last, 0, last / 2, -1]));
                (self.wire(Gather { axis: 1, output_type: None }, &[x, places]), 4)
            }
            Layer::Elu => {
                let zero = self.given(tensor2(&[[0.0_f32]]));
                let one = self.given(tensor2(&[[1.0_f32]]));
                let condition = self.wire(TypedBinOp(logic::comp_lt(), None), &[zero, x]);
                let y = self.wire(math::exp(), &[x]);
                let y = self.wire(math::sub(), &[y, one]);
                (self.wire(logic::Iff, &[condition, x, y]), width)
            }
        }
    }

    fn function(&mut self, which: u8, x: OutletId) -> OutletId {
        match which {
            0 => self.wire(sigmoid(), &[x]),
            1 => self.wire(math::tanh(), &[x]),
            2 => {
                let y = self.wire(math::tanh(), &[x]);
                self.wire(math::exp(), &[y])
            }
            3 => {
                let y = self.wire(math::abs(), &[x]);
                self.wire(math::sqrt(), &[y])
            }
            4 => {
                let y = self.wire(math::tanh(), &[x]);
                self.wire(math::square(), &[y])
            }
            5 => self.wire(math::neg(), &[x]),
            6 => self.wire(leaky_relu(0.1), &[x]),
            7 => self.wire(silu(), &[x]),
            _ => {
                let y = self.wire(sigmoid(), &[x]);
                let y = self.wire(math::exp(), &[y]);
                self.wire(math::ln(), &[y])
            }
        }
    }
}

/// A decluttered graph of any number of rows, with the width of its answer.
fn graph(width: usize, layers: &[Layer], seed: u64) -> (TypedModel, usize) {
    let mut model = TypedModel::default();
    let rows = model.symbols.sym("N").to_dim();
    let mut x = model.add_source("x", f32::fact([rows, width.to_dim()])).unwrap();
    let mut graph = Graph { model, numbers: Numbers(seed), count: 0 };
    let mut columns = width;
    for layer in layers {
        (x, columns) = graph.layer(*layer, x, columns);
    }
    graph.model.select_output_outlets(&[x]).unwrap();
    (graph.model.into_decluttered().unwrap(), columns)
}

fn answers(program: &Program, rows: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() / width];
    program.run(rows, width, &mut out);
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A program of one column for each level of this processor.
fn programs(model: &TypedModel, shape: (usize, usize)) -> Vec<Program> {
    let built = |level| Program { level, ..build(model, false, shape).expect("every node is known") };
    Level::all().into_iter().map(built).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn programs_answer_as_tract_and_rows_do_not_depend_on_each_other(
        width in 1..40_usize,
        mut layers in prop::collection::vec(layer(), 0..7),
        seed in any::<u64>(),
        count in 1..300_usize,
        block in prop::sample::select(vec![8_usize, 13, 64, 256]),
    ) {
        layers.push(Layer::Dense(3, true, false));
        let (model, columns) = graph(width, &layers, seed);
        let mut numbers = Numbers(seed ^ 1);
        let rows = numbers.rows(count * width);
        let runnable = model.clone().into_optimized().unwrap().into_runnable().unwrap();
        let column = seed as usize % columns;
        let tract: Vec<f32> = rows.chunks_exact(width).map(|row| {
            let input = Tensor::from_shape(&[1, width], row).unwrap();
            let answer = runnable.run(tvec!(input.into_tvalue())).unwrap();
            answer[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap()[column]
        }).collect();
        for program in programs(&model, (columns, column)) {
            let together = answers(&program, &rows, width);
            for (ours, theirs) in together.iter().zip(&tract) {
                prop_assert!((ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0), "{ours} is not {theirs}");
            }
            let alone: Vec<f32> = rows.chunks_exact(width).flat_map(|row| answers(&program, row, width)).collect();
            prop_assert_eq!(bits(&together), bits(&alone));
            let backwards: Vec<f32> = rows.chunks_exact(width).rev().flatten().copied().collect();
            let mut reversed = answers(&program, &backwards, width);
            reversed.reverse();
            prop_assert_eq!(bits(&together), bits(&reversed));
            let other = Program { block, ..program };
            prop_assert_eq!(bits(&together), bits(&answers(&other, &rows, width)));
        }
    }
}

#[test]
fn a_layer_sums_by_its_shape() {
    // Wide, narrow, in between, and of the sizes at which panels, tiles and sixteens end.
    for (inputs, outputs) in [(1, 1), (15, 64), (16, 16), (17, 15), (64, 1), (100, 3), (130, 65), (31, 49)] {
        let (model, _) = graph(inputs, &[Layer::Dense(outputs, false, true)], 5);
        let rows = Numbers(9).rows(inputs * 37);
        let exact = |row: &[f32]| {
            let mut numbers = Numbers(5);
            let weights = numbers.tensor(&[inputs, outputs], 1.0 / (inputs as f32).sqrt());
            let bias = numbers.tensor(&[1, outputs], 0.5);
            let at = |tensor: &Tensor, place: usize| {
                f64::from(tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap()[place])
            };
            let products =
                row.iter().enumerate().map(|(place, x)| f64::from(*x) * at(&weights, place * outputs + outputs - 1));
            (products.sum::<f64>() + at(&bias, outputs - 1)).max(0.0)
        };
        for program in programs(&model, (outputs, outputs - 1)) {
            assert_eq!(program.steps.len(), 1, "bias and Relu are part of the layer");
            for (row, answer) in rows.chunks_exact(inputs).zip(answers(&program, &rows, inputs)) {
                assert!((f64::from(answer) - exact(row)).abs() < 1e-5, "{inputs} × {outputs}");
            }
        }
    }
}

/// As ONNX Runtime 1.32 answers Relu, Min, Max, Softmax and ReduceMax: NaN goes through, infinities are numbers.
#[test]
fn nan_and_infinities_go_through() {
    let relu = [Layer::Dense(20, true, true), Layer::Dense(2, false, false)];
    for layers in [&relu[..], &[Layer::Constant(3, true, true)], &[Layer::Constant(4, false, false)], &[Layer::Softmax]]
    {
        let (model, columns) = graph(4, layers, 3);
        for program in programs(&model, (columns, 0)) {
            let found = answers(&program, &[f32::NAN, -1.0, 2.0, 0.5], 4);
            assert!(found[0].is_nan(), "{layers:?}: {found:?}");
        }
    }
    for which in 0..4 {
        let (model, columns) = graph(4, &[Layer::Reduced(which, 3)], 3);
        for program in programs(&model, (columns, 0)) {
            assert!(answers(&program, &[1.0, 2.0, f32::NAN, 0.5], 4)[0].is_nan());
        }
    }
    for (function, expected) in [(0, [1.0, 0.0]), (1, [1.0, -1.0]), (5, [f32::NEG_INFINITY, f32::INFINITY])] {
        let (model, columns) = graph(1, &[Layer::Function(function)], 3);
        for program in programs(&model, (columns, 0)) {
            assert_eq!(answers(&program, &[f32::INFINITY, f32::NEG_INFINITY], 1), expected);
            assert!(answers(&program, &[f32::NAN], 1)[0].is_nan());
        }
    }
}

#[test]
fn exponentials_are_exact_to_the_last_places() {
    let mut model = TypedModel::default();
    let rows = model.symbols.sym("N").to_dim();
    let x = model.add_source("x", f32::fact([rows, 1.to_dim()])).unwrap();
    let y = model.wire_node("exp", math::exp(), &[x]).unwrap();
    model.select_output_outlets(&y).unwrap();
    let rows: Vec<f32> = (-110_000..100_000).map(|place| place as f32 / 1_000.0).collect();
    for program in programs(&model, (1, 0)) {
        for (x, answer) in rows.iter().zip(answers(&program, &rows, 1)) {
            let exact = f64::from(*x).exp() as f32;
            let near = (f64::from(answer) - f64::from(exact)).abs() <= 3e-7 * f64::from(exact) + 2e-45;
            assert!(near || answer == exact, "e^{x} is {exact}, not {answer}");
        }
    }
}

#[test]
fn a_node_that_mixes_rows_or_is_not_known_makes_no_program() {
    let width = 3_usize;
    let made = |wire: &dyn Fn(&mut TypedModel, OutletId) -> OutletId| {
        let mut model = TypedModel::default();
        let rows = model.symbols.sym("N").to_dim();
        let x = model.add_source("x", f32::fact([rows, width.to_dim()])).unwrap();
        let y = wire(&mut model, x);
        model.select_output_outlets(&[y]).unwrap();
        build(&model, false, (width, 0)).is_some()
    };
    assert!(made(&|model, x| model.wire_node("tanh", math::tanh(), &[x]).unwrap()[0]));
    assert!(!made(&|model, x| model.wire_node("erf", math::erf(), &[x]).unwrap()[0]));
    assert!(!made(&|model, x| {
        let op = Softmax { axes: tvec!(0), quant_output_dt: None, kind: SoftmaxKind::Softmax };
        model.wire_node("softmax", op, &[x]).unwrap()[0]
    }));
    assert!(!made(&|model, x| {
        let total = model.wire_node("sum", Reduce { axes: tvec!(0), reducer: Reducer::Sum }, &[x]).unwrap()[0];
        model.wire_node("sub", math::sub(), &[x, total]).unwrap()[0]
    }));
    assert!(!made(&|model, x| {
        let gram = EinSum::new("mk,nk->mn".parse().unwrap(), f32::datum_type());
        let y = model.wire_node("gram", gram, &[x, x]).unwrap()[0];
        let op = EinSum::new("mn,nk->mk".parse().unwrap(), f32::datum_type());
        model.wire_node("mix", op, &[y, x]).unwrap()[0]
    }));
    assert!(!made(&|model, x| {
        let y = model.wire_node("move", AxisOp::Move(0, 1), &[x]).unwrap()[0];
        model.wire_node("back", AxisOp::Move(1, 0), &[y]).unwrap()[0]
    }));
    assert!(!made(&|model, x| {
        let y = model.wire_node("double", cast(f64::datum_type()), &[x]).unwrap()[0];
        model.wire_node("tanh", math::tanh(), &[y]).unwrap()[0]
    }));
}
