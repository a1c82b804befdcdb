//! A look at the file's protobuf structure before it is decoded: how much memory its decoding will take.
//!
//! A few bytes of protobuf can decode to a hundred times as much memory (empty messages, packed small
//! integers). This walk allocates nothing, and refuses a file that would.

use crate::error::ModelError;

/// Decoded bytes allowed beside a multiple of the file's size.
const FLOOR: u64 = 64 << 20;
/// Decoded bytes allowed per byte of file; what exporters write needs at most about four.
const RATIO: u64 = 8;
/// Nesting of graphs, attributes, tensors and types.
const MAX_DEPTH: u32 = 40;

#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    Function,
    Sparse,
    Other,
}

/// What a length-delimited field holds, and the bytes it costs besides its content.
enum Content {
    Nested(Message, u64),
    /// Text or bytes.
    Bytes,
    /// Packed whole numbers of one byte or more each.
    PackedVarints,
    PackedFixed,
}

fn content(message: Message, field: u64) -> Content {
    use Content::{Bytes, Nested, PackedFixed, PackedVarints};
    match (message, field) {
        (Message::Model, 7) => Nested(Message::Graph, 400),
        (Message::Model, 8 | 14) => Nested(Message::Other, 64),
        (Message::Model, 20) => Nested(Message::Function, 400),
        (Message::Model, 25) => Nested(Message::Function, 400),
        (Message::Graph, 1) | (Message::Function, 7) => Nested(Message::Node, 256),
        (Message::Graph, 5) | (Message::Attribute, 5 | 10) | (Message::Sparse, 1 | 2) => Nested(Message::Tensor, 448),
        (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Nested(Message::Sparse, 1_024),
        (Message::Graph, 11..=13) => Nested(Message::ValueInfo, 160),
        (Message::Graph, 14) => Nested(Message::Other, 128),
        (Message::Node, 5) => Nested(Message::Attribute, 1_800),
        (Message::Attribute, 6 | 11) => Nested(Message::Graph, 400),
        (Message::Attribute, 7) | (Message::Tensor, 4 | 10) => PackedFixed,
        (Message::Attribute, 8) | (Message::Tensor, 1 | 5 | 7 | 11) => PackedVarints,
        (Message::Attribute, 14 | 15) | (Message::ValueInfo, 2) => Nested(Message::Type, 160),
        (Message::Tensor, 13) => Nested(Message::Other, 64),
        // Of the other kinds of type the decoder reads nothing.
        (Message::Type, 1) => Nested(Message::TensorType, 64),
        (Message::TensorType, 2) => Nested(Message::Shape, 32),
        (Message::Shape, 1) => Nested(Message::Dimension, 64),
        _ => Bytes,
    }
}

/// Refuses bytes that are no protobuf message of ONNX's shape, or that would decode to too much memory.
pub(crate) fn check(bytes: &[u8]) -> Result<(), ModelError> {
    let budget = FLOOR + RATIO * bytes.len() as u64;
    let mut spent = 0;
    walk(bytes, Message::Model, &mut Walk { budget, spent: &mut spent, depth: 0 })
        .map_err(|problem| ModelError::NotOnnx { problem: problem.to_owned() })
}

struct Walk<'a> {
    budget: u64,
    spent: &'a mut u64,
    depth: u32,
}

impl Walk<'_> {
    fn spend(&mut self, bytes: u64) -> Result<(), &'static str> {
        *self.spent += bytes;
        if *self.spent > self.budget { Err("it would take far more memory than its size") } else { Ok(()) }
    }
}

fn walk(mut bytes: &[u8], message: Message, walk_state: &mut Walk<'_>) -> Result<(), &'static str> {
    if walk_state.depth > MAX_DEPTH {
        return Err("its messages are nested too deeply");
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = key >> 3;
        if field == 0 {
            return Err("the bytes are not a protobuf message");
        }
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
                // A list may be written one by one.
                walk_state.spend(8)?;
            }
            1 => skip(&mut bytes, 8)?,
            5 => skip(&mut bytes, 4)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| TRUNCATED)?;
                let inner = bytes.get(..length).ok_or(TRUNCATED)?;
                bytes = &bytes[length..];
                match content(message, field) {
                    Content::Bytes => walk_state.spend(40 + length as u64)?,
                    Content::PackedFixed => walk_state.spend(length as u64)?,
                    Content::PackedVarints => walk_state.spend(8 * length as u64)?,
                    Content::Nested(nested, cost) => {
                        walk_state.spend(cost)?;
                        walk_state.depth += 1;
                        walk(inner, nested, walk_state)?;
                        walk_state.depth -= 1;
                    }
                }
            }
            _ => return Err("the bytes are not a protobuf message"),
        }
    }
    Ok(())
}

const TRUNCATED: &str = "the file ends too early: it is truncated or not an ONNX model";

fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for shift in 0..10 {
        let (first, rest) = bytes.split_first().ok_or(TRUNCATED)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << (7 * shift);
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("the bytes are not a protobuf message")
}

fn skip(bytes: &mut &[u8], count: usize) -> Result<(), &'static str> {
    *bytes = bytes.get(count..).ok_or(TRUNCATED)?;
    Ok(())
}
