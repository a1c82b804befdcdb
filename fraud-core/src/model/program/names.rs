//! tract's names for functions of one and of two numbers.

use tract_onnx::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseMiniOp;
use tract_onnx::tract_core::ops::{logic, math, nn};

use super::elementwise::{Operation, Unary};

pub(super) fn unary(op: &dyn ElementWiseMiniOp) -> Option<Unary> {
    if let Some(op) = op.downcast_ref::<nn::LeakyRelu>() {
        return Some(Unary::LeakyRelu(op.alpha));
    }
    if let Some(op) = op.downcast_ref::<math::PowConst>() {
        return Some(Unary::Power(op.exponent));
    }
    let known = [
        (op.is::<math::Abs>(), Unary::Abs),
        (op.is::<math::Exp>(), Unary::Exp),
        (op.is::<nn::HardSwish>(), Unary::HardSwish),
        (op.is::<math::Ln>(), Unary::Ln),
        (op.is::<math::Neg>(), Unary::Neg),
        (op.is::<math::Recip>(), Unary::Recip),
        (op.is::<math::Rsqrt>(), Unary::Rsqrt),
        (op.is::<nn::Sigmoid>(), Unary::Sigmoid),
        (op.is::<nn::silu::Silu>(), Unary::Silu),
        (op.is::<math::Sqrt>(), Unary::Sqrt),
        (op.is::<math::Square>(), Unary::Square),
        (op.is::<math::Tanh>(), Unary::Tanh),
    ];
    known.into_iter().find(|(is, _)| *is).map(|(_, function)| function)
}

pub(super) fn operation(op: &dyn BinMiniOp) -> Option<Operation> {
    let known = [
        (op.is::<math::Add>(), Operation::Add),
        (op.is::<math::Sub>(), Operation::Sub),
        (op.is::<math::SubF>(), Operation::SubFrom),
        (op.is::<math::Mul>(), Operation::Mul),
        (op.is::<math::Div>(), Operation::Div),
        (op.is::<math::Max>(), Operation::Max),
        (op.is::<math::Min>(), Operation::Min),
        (op.is::<math::Pow>(), Operation::Power),
        (op.is::<logic::CompLT>(), Operation::Less),
        (op.is::<logic::CompLTE>(), Operation::LessEqual),
        (op.is::<logic::CompGT>(), Operation::Greater),
        (op.is::<logic::CompGTE>(), Operation::GreaterEqual),
        (op.is::<logic::CompEq>(), Operation::Equal),
        (op.is::<logic::CompNE>(), Operation::NotEqual),
    ];
    known.into_iter().find(|(is, _)| *is).map(|(_, operation)| operation)
}
