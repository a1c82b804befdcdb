//! Half precision becomes single: the engine computes some operators in f32 only, and nothing is lost by it.

use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, TensorProto};
use tract_onnx::tract_hir::internal::f16;

const HALF: i32 = 10;
const SINGLE: i32 = 1;

/// Rewrites every tensor, cast and input of half precision. Tensors must have been checked.
pub(crate) fn widen(graph: &mut GraphProto) {
    graph.initializer.iter_mut().for_each(tensor);
    for value in &mut graph.input {
        if let Some(Value::TensorType(kind)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            && kind.elem_type == HALF
        {
            kind.elem_type = SINGLE;
        }
    }
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(tensor);
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(widen);
            let names_type = ["to", "dtype", "output_dtype"].contains(&attribute.name.as_str());
            if names_type && attribute.i == i64::from(HALF) {
                attribute.i = i64::from(SINGLE);
            }
        }
    }
}

fn tensor(tensor: &mut TensorProto) {
    if tensor.data_type != HALF {
        return;
    }
    tensor.data_type = SINGLE;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ONNX keeps the 16 bits in 32.
    let stored = tensor.int32_data.iter().map(|bits| *bits as u16);
    let raw = tensor.raw_data.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    tensor.float_data = raw.chain(stored).map(|bits| f16::from_bits(bits).to_f32()).collect();
    tensor.raw_data.clear();
    tensor.int32_data.clear();
}
