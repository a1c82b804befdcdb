//! Graphs made by hand: what their inputs mean, which output is read, and what is refused before it is believed.

use fraud_core::error::ModelError;
use fraud_core::features::{FeatureDefinition, FeatureSet, Source};
use fraud_core::model::{LoadOptions, Model, OutputKind, OutputOptions};

#[path = "support/onnx.rs"]
mod onnx;
#[path = "../examples/score_matrix.rs"]
#[allow(dead_code)]
mod score_matrix;

use onnx::{FLOAT, Graph, INT, Node};

fn load(file: &[u8]) -> Result<Model, ModelError> {
    Model::from_bytes(file, &LoadOptions::default())
}

fn features(count: usize) -> FeatureSet {
    let feature = |at| FeatureDefinition { name: format!("F{at}"), source: Source::Amount };
    FeatureSet::new((0..count).map(feature).collect()).unwrap()
}

fn signature(loaded: Result<Model, ModelError>) -> String {
    match loaded {
        Err(ModelError::Signature { problem }) => problem,
        other => panic!("{other:?}"),
    }
}

/// A stump that compares one feature, in two classes.
fn stump(feature: i64) -> Node {
    Node::new("ml.TreeEnsembleClassifier", "input", "label probabilities")
        .ints("nodes_treeids", &[0, 0, 0])
        .ints("nodes_nodeids", &[0, 1, 2])
        .ints("nodes_featureids", &[feature, 0, 0])
        .texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"])
        .floats("nodes_values", &[0.5, 0.0, 0.0])
        .ints("nodes_truenodeids", &[1, 0, 0])
        .ints("nodes_falsenodeids", &[2, 0, 0])
        .ints("class_treeids", &[0, 0, 0, 0])
        .ints("class_nodeids", &[1, 1, 2, 2])
        .ints("class_ids", &[0, 1, 0, 1])
        .floats("class_weights", &[0.75, 0.25, 0.25, 0.75])
        .ints("classlabels_int64s", &[0, 1])
        .text("post_transform", "NONE")
}

/// The sum of the columns, each weighted, as the score of class 1.
fn linear(input: &str, weights: &[f32]) -> Node {
    Node::new("ml.LinearClassifier", input, "label probabilities")
        .floats("coefficients", weights)
        .floats("intercepts", &[0.0])
        .ints("classlabels_ints", &[0, 1])
}

fn outputs(graph: Graph, columns: u64) -> Graph {
    graph.output("label", INT, &[0]).output("probabilities", FLOAT, &[0, columns])
}

/// A forest fitted on data without fraud is sure of the one class it saw: that is not the probability of fraud.
#[test]
fn a_model_of_one_class_is_refused_unless_it_is_fraud() {
    let forest = |class: i64| {
        let leaf = Node::new("ml.TreeEnsembleClassifier", "input", "label probabilities")
            .ints("nodes_treeids", &[0])
            .ints("nodes_nodeids", &[0])
            .ints("nodes_featureids", &[0])
            .texts("nodes_modes", &["LEAF"])
            .floats("nodes_values", &[0.0])
            .ints("nodes_truenodeids", &[0])
            .ints("nodes_falsenodeids", &[0])
            .ints("class_treeids", &[0])
            .ints("class_nodeids", &[0])
            .ints("class_ids", &[0])
            .floats("class_weights", &[1.0])
            .ints("classlabels_int64s", &[class]);
        outputs(Graph::new().input("input", FLOAT, &[0, 15]), 1).node(leaf).file()
    };
    // As skl2onnx writes naive Bayes and bagging, and a tree.
    let looked_up = outputs(Graph::new().input("input", FLOAT, &[0, 15]), 1)
        .ints("classes", &[0])
        .node(Node::new("ReduceMax", "input", "most").ints("axes", &[1]))
        .node(Node::new("Softmax", "most", "probabilities").int("axis", 1))
        .node(Node::new("ArgMax", "probabilities", "place").int("axis", 1).int("keepdims", 0))
        .node(Node::new("ml.ArrayFeatureExtractor", "classes place", "label"));
    let constant = outputs(Graph::new().input("input", FLOAT, &[0, 15]), 1)
        .ints("zero", &[0])
        .ints("one", &[1])
        .node(Node::new("Shape", "input", "shape"))
        .node(Node::new("Slice", "shape zero one", "rows"))
        .node(Node::new("ConstantOfShape", "rows", "label").tensor("value", &[0]))
        .node(Node::new("ReduceMax", "input", "most").ints("axes", &[1]))
        .node(Node::new("Softmax", "most", "probabilities").int("axis", 1));
    for (name, file) in [("forest", forest(0)), ("looked up", looked_up.file()), ("constant", constant.file())] {
        match load(&file) {
            Err(ModelError::Output { problem }) => assert!(problem.contains("only class `0`"), "{name}: {problem}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(load(&forest(1)).unwrap().predict(&[0.0; 15]).unwrap(), 1.0);
    let output = OutputOptions { label: Some("0".to_owned()), ..OutputOptions::default() };
    let named = Model::from_bytes(&forest(0), &LoadOptions { output, ..LoadOptions::default() });
    assert_eq!(named.unwrap().predict(&[0.0; 15]).unwrap(), 1.0);
}

#[test]
fn a_list_of_no_features_or_of_too_many_is_refused() {
    let graph = Graph::new()
        .input("input", FLOAT, &[])
        .output("prob", FLOAT, &[0, 1])
        .node(Node::new("ReduceMax", "input", "most").ints("axes", &[1]))
        .node(Node::new("Sigmoid", "most", "prob"));
    let listed = |features: &str| load(&[graph.file(), onnx::metadata(&[("fraud.features", features)])].concat());
    assert!(signature(listed("[]")).contains("names 0 features"));
    assert!(signature(listed(&features(1_025).to_json())).contains("1025"));
    let set = LoadOptions { features: Some(features(0)), ..LoadOptions::default() };
    assert!(signature(Model::from_bytes(&graph.file(), &set)).contains("names 0 features"));
    assert_eq!(listed(&features(1_024).to_json()).unwrap().features().len(), 1_024);
}

/// One input per column, each named, joined to one matrix for a node that weighs column i with i.
fn columns(names: &[&str], used: &[&str]) -> Vec<u8> {
    let graph = names.iter().fold(Graph::new(), |graph, name| graph.input(name, FLOAT, &[0, 1]));
    let weights: Vec<f32> = (0..used.len()).map(|at| at as f32).collect();
    let joined = Node::new("Concat", &used.join(" "), "x").int("axis", 1);
    outputs(graph, 2).node(joined).node(linear("x", &weights)).file()
}

/// What the model answers for rows that hold one 1 each.
fn weights(model: Result<Model, ModelError>) -> Vec<f32> {
    let model = model.unwrap();
    let width = model.features().len();
    (0..width)
        .map(|at| (0..width).map(|column| f32::from(u8::from(at == column))).collect::<Vec<_>>())
        .map(|row| model.predict(&row).unwrap())
        .collect()
}

fn score(file: &[u8]) -> Result<Model, ModelError> {
    Model::from_bytes(file, &LoadOptions { kind: OutputKind::Score, ..LoadOptions::default() })
}

#[test]
fn columns_are_found_by_name_or_by_order_but_never_by_both() {
    let handbook = FeatureSet::handbook();
    let names: Vec<&str> = handbook.names().collect();
    let counted: Vec<f32> = (0..15).map(|at| at as f32).collect();

    // By name, in whatever order the file has them.
    let mut turned = names.clone();
    turned.reverse();
    let reversed: Vec<f32> = counted.iter().rev().copied().collect();
    assert_eq!(weights(score(&columns(&turned, &turned))), reversed);

    // By order, where no input has a feature's name.
    let plain: Vec<String> = (0..15).map(|at| format!("f{at}")).collect();
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    assert_eq!(weights(score(&columns(&plain, &plain))), counted);

    // One name misspelt: by order, every other column would be another feature than its name says.
    turned[3] = "TERMINAL_ID_RISK_7DAYS_WINDOW";
    let problem = signature(score(&columns(&turned, &turned)));
    assert!(problem.contains("14 of its inputs") && problem.contains("(`TERMINAL_ID_RISK_7DAYS_WINDOW`)"), "{problem}");
    // As well where the score needs none of those that have a feature's name.
    let mixed: Vec<&str> = names[..5].iter().chain(&plain[5..]).copied().collect();
    signature(score(&columns(&mixed, &mixed[5..])));
}

#[test]
fn columns_that_the_score_does_not_need_count_where_order_decides() {
    let handbook = FeatureSet::handbook();
    let names: Vec<&str> = handbook.names().collect();
    let expected = |used: &[usize]| {
        let mut weights = [0.0; 15];
        used.iter().enumerate().for_each(|(weight, column)| weights[*column] = weight as f32);
        weights
    };
    assert_eq!(weights(score(&columns(&names, &[names[9], names[4], names[2]]))), expected(&[9, 4, 2]));
    // Of inputs that are no features at all, as long as those that are left are.
    let foreign = ["note", names[7], names[1]];
    assert_eq!(weights(score(&columns(&foreign, &foreign[1..]))), expected(&[7, 1]));
    assert_eq!(weights(score(&columns(&foreign, &foreign[2..]))), expected(&[1]));

    let plain: Vec<String> = (0..20).map(|at| format!("f{at}")).collect();
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    assert_eq!(weights(score(&columns(&plain[..15], &[plain[9], plain[4], plain[2]]))), expected(&[9, 4, 2]));
    assert_eq!(weights(score(&columns(&plain[..15], &[plain[9]]))), expected(&[9]));
    // Fifteen of twenty are left: nobody says which fifteen.
    assert!(signature(score(&columns(&plain, &plain[5..]))).contains("20 columns"));
}

#[test]
fn inputs_of_several_columns_go_by_order_and_a_name_among_them_must_agree() {
    let groups = |first: &str, second: &str| {
        let graph =
            Graph::new().input(first, FLOAT, &[0, 1]).input(second, FLOAT, &[0, 1]).input("rest", FLOAT, &[0, 13]);
        let weights: Vec<f32> = (0..15).map(|at| at as f32).collect();
        let joined = Node::new("Concat", &format!("{first} {second} rest"), "x").int("axis", 1);
        outputs(graph, 2).node(joined).node(linear("x", &weights)).file()
    };
    let counted: Vec<f32> = (0..15).map(|at| at as f32).collect();
    assert_eq!(weights(score(&groups("a", "b"))), counted);
    assert_eq!(weights(score(&groups("TX_AMOUNT", "TX_DURING_WEEKEND"))), counted);
    assert!(signature(score(&groups("TX_DURING_WEEKEND", "TX_AMOUNT"))).contains("does not stand where"));
    signature(score(&groups("TX_AMOUNT", "b")));
}

/// Where neither the file nor the settings say how wide rows are, the default is no more than a guess.
#[test]
fn a_width_that_the_nodes_contradict_is_said_to_be_unstated() {
    let graph = || outputs(Graph::new().input("input", FLOAT, &[]), 2);
    let zeros = |count: usize| vec![0.0; count];
    let scaled = |count: usize| {
        Node::new("ml.Scaler", "input", "x").floats("offset", &zeros(count)).floats("scale", &zeros(count))
    };
    let cases = [
        ("trees", graph().node(stump(17)), "at least 18 columns"),
        ("linear", graph().node(linear("input", &zeros(12))), "takes 12 columns"),
        ("scaler", graph().node(scaled(30)).node(linear("x", &zeros(30))), "takes 30 columns"),
        (
            "network",
            graph()
                .floats("mean", &[7], &zeros(7))
                .floats("w", &[7, 2], &zeros(14))
                .node(Node::new("Sub", "input mean", "x"))
                .node(Node::new("MatMul", "x w", "probabilities"))
                .node(Node::new("ArgMax", "probabilities", "label").int("axis", 1).int("keepdims", 0)),
            "takes 7 columns",
        ),
        (
            "dense",
            graph()
                .floats("w", &[2, 9], &zeros(18))
                .node(Node::new("Gemm", "input w", "probabilities").int("transB", 1))
                .node(Node::new("ArgMax", "probabilities", "label").int("axis", 1).int("keepdims", 0)),
            "takes 9 columns",
        ),
        (
            "columns",
            graph()
                .ints("places", &[3, 20])
                .node(Node::new("ml.ArrayFeatureExtractor", "input places", "x"))
                .node(linear("x", &zeros(2))),
            "at least 21 columns",
        ),
    ];
    for (name, graph, expected) in cases {
        let problem = signature(load(&graph.file()));
        assert!(problem.contains(expected) && problem.contains("`fraud.features`"), "{name}: {problem}");
    }
    // Whoever lists the features decides, and a graph that states its width contradicts itself.
    let listed = LoadOptions { features: Some(features(12)), ..LoadOptions::default() };
    assert!(Model::from_bytes(&graph().node(linear("input", &zeros(12))).file(), &listed).is_ok());
    let stated = outputs(Graph::new().input("input", FLOAT, &[0, 15]), 2).node(linear("input", &zeros(12)));
    assert!(matches!(load(&stated.file()), Err(ModelError::BadGraph { .. })));
}

/// The example takes the matrix's word for the width where the file gives none.
#[test]
fn the_example_scores_matrices_of_other_widths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let score = LoadOptions { kind: OutputKind::Score, ..LoadOptions::default() };
    let load = |file: Vec<u8>, columns: usize| {
        std::fs::write(&path, file).unwrap();
        score_matrix::load(&path, score.clone(), columns).map(|model| model.features().len())
    };
    let unstated = outputs(Graph::new().input("input", FLOAT, &[]), 2).node(stump(3)).file();
    assert_eq!(load(unstated.clone(), 12).unwrap(), 12);
    assert_eq!(load(unstated.clone(), 15).unwrap(), 15);
    let listed = [unstated, onnx::metadata(&[("fraud.features", &features(4).to_json())])].concat();
    assert_eq!(load(listed.clone(), 4).unwrap(), 4);
    assert!(load(listed, 5).unwrap_err().to_string().contains("the matrix has 5 columns, the model takes 4"));
    let stated = outputs(Graph::new().input("input", FLOAT, &[0, 12]), 2).node(stump(3)).file();
    assert_eq!(load(stated.clone(), 12).unwrap(), 12);
    assert!(load(stated, 13).is_err());
}
