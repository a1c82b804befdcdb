//! What must hold before an ensemble is compiled. Linear in its size, no recursion: the input may be hostile.

use super::error::TreeError;
use super::spec::{Mode, Precision, TreeSpec};

/// Features in a row, at most.
pub(super) const MAX_FEATURES: usize = 1 << 24;
/// Nodes in an ensemble, at most.
pub(super) const MAX_NODES: usize = 1 << 30;
/// Targets or classes, at most; one row's scores are this many numbers.
pub(super) const MAX_TARGETS: usize = 1 << 16;

pub(super) fn validate(spec: &TreeSpec) -> Result<(), TreeError> {
    sizes(spec)?;
    weights(spec)?;
    reach(spec)
}

fn sizes(spec: &TreeSpec) -> Result<(), TreeError> {
    let counts = [
        ("features", spec.features, MAX_FEATURES),
        ("targets", spec.targets, MAX_TARGETS),
        ("trees", spec.roots.len(), MAX_NODES),
        ("nodes", spec.nodes.len(), MAX_NODES),
        ("weights", spec.weights.len(), MAX_NODES),
        ("base values", spec.base_values.len(), MAX_TARGETS),
    ];
    for (what, found, limit) in counts {
        if found > limit {
            return Err(TreeError::TooMany { what, found, limit });
        }
    }
    for (what, found, _) in &counts[1..4] {
        if *found == 0 {
            return Err(TreeError::Empty { what });
        }
    }
    Ok(())
}

fn weights(spec: &TreeSpec) -> Result<(), TreeError> {
    // Sums must stay finite: as many weights of this size as there may be trees do.
    let limit = match spec.precision {
        Precision::Float => f64::from(f32::MAX),
        Precision::Double => 1e280,
    };
    let finite = |what, index, value: f64| {
        if value.abs() <= limit { Ok(()) } else { Err(TreeError::NotFinite { what, index, value }) }
    };
    for (index, weight) in spec.weights.iter().enumerate() {
        finite("weight", index, weight.weight)?;
        if weight.target as usize >= spec.targets {
            return Err(TreeError::TargetOutOfRange { weight: index, target: weight.target, targets: spec.targets });
        }
    }
    spec.base_values.iter().enumerate().try_for_each(|(index, value)| finite("base value", index, *value))
}

/// Walks all trees from their roots; checks the nodes met and that none is met twice.
fn reach(spec: &TreeSpec) -> Result<(), TreeError> {
    let mut met = vec![false; spec.nodes.len()];
    let mut pending = Vec::new();
    let mut listed = 0;
    for (tree, &root) in spec.roots.iter().enumerate() {
        if root as usize >= spec.nodes.len() {
            return Err(TreeError::RootOutOfRange { tree, root, nodes: spec.nodes.len() });
        }
        pending.push(root as usize);
        while let Some(index) = pending.pop() {
            if std::mem::replace(&mut met[index], true) {
                return Err(TreeError::ReachedTwice { node: index });
            }
            listed += node(spec, index)?;
            if listed > spec.weights.len() {
                return Err(TreeError::WeightsShared { node: index });
            }
            if spec.nodes[index].mode != Mode::Leaf {
                pending.extend([spec.nodes[index].no as usize, spec.nodes[index].yes as usize]);
            }
        }
    }
    Ok(())
}

/// One node by itself; answers how many weights it lists.
fn node(spec: &TreeSpec, index: usize) -> Result<usize, TreeError> {
    let node = &spec.nodes[index];
    match node.mode {
        Mode::Leaf => {
            let (first, count) = (node.first_weight, node.weight_count);
            let weights = spec.weights.len();
            if first as usize + count as usize > weights {
                return Err(TreeError::WeightsOutOfRange { node: index, first, count, weights });
            }
            return Ok(count as usize);
        }
        Mode::Member(set) if set as usize >= spec.sets.len() => {
            return Err(TreeError::SetOutOfRange { node: index, set, sets: spec.sets.len() });
        }
        Mode::Member(_) => {}
        _ if node.threshold.is_nan() => return Err(TreeError::ThresholdNan { node: index }),
        _ => {}
    }
    if node.feature as usize >= spec.features {
        let (feature, features) = (node.feature, spec.features);
        return Err(TreeError::FeatureOutOfRange { node: index, feature, features });
    }
    for child in [node.yes, node.no] {
        if child as usize >= spec.nodes.len() {
            return Err(TreeError::ChildOutOfRange { node: index, child, nodes: spec.nodes.len() });
        }
    }
    Ok(0)
}
