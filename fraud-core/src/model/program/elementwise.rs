//! Steps that treat each number by itself, or with one beside it.

use super::functions::{exp, greater, lesser, plus, sigmoid, tanh};
use super::simd::Instructions;
use super::{Register, Registers};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unary {
    Abs,
    Exp,
    HardSwish,
    LeakyRelu(f32),
    Ln,
    Neg,
    Power(f32),
    Recip,
    Rsqrt,
    Sigmoid,
    Silu,
    Sqrt,
    Square,
    Tanh,
}

#[inline(always)]
fn each(x: &mut [f32], function: impl Fn(f32) -> f32) {
    for x in x {
        *x = function(*x);
    }
}

impl Unary {
    #[inline(always)]
    pub(super) fn apply<S: Instructions>(self, x: &mut [f32]) {
        match self {
            Self::Abs => each(x, f32::abs),
            Self::Exp => each(x, exp::<S>),
            Self::HardSwish => each(x, |x| x * lesser(greater(plus::<S>(x, 1.0 / 6.0, 0.5), 0.0), 1.0)),
            Self::LeakyRelu(slope) => each(x, |x| if x < 0.0 { slope * x } else { x }),
            Self::Ln => each(x, f32::ln),
            Self::Neg => each(x, |x| -x),
            Self::Power(exponent) => each(x, |x| x.powf(exponent)),
            Self::Recip => each(x, f32::recip),
            Self::Rsqrt => each(x, |x| x.sqrt().recip()),
            Self::Sigmoid => each(x, sigmoid::<S>),
            Self::Silu => each(x, |x| x * sigmoid::<S>(x)),
            Self::Sqrt => each(x, f32::sqrt),
            Self::Square => each(x, |x| x * x),
            Self::Tanh => each(x, tanh::<S>),
        }
    }
}

/// A function of two numbers, the register's and the operand's; comparisons answer 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Sub,
    /// operand − register.
    SubFrom,
    Mul,
    Div,
    /// operand ÷ register.
    DivInto,
    Max,
    Min,
    /// register ^ operand.
    Power,
    /// operand ^ register.
    PowerOf,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

impl Operation {
    /// The same with register and operand exchanged.
    pub(super) fn swapped(self) -> Self {
        match self {
            Self::Sub => Self::SubFrom,
            Self::SubFrom => Self::Sub,
            Self::Div => Self::DivInto,
            Self::DivInto => Self::Div,
            Self::Power => Self::PowerOf,
            Self::PowerOf => Self::Power,
            Self::Less => Self::Greater,
            Self::Greater => Self::Less,
            Self::LessEqual => Self::GreaterEqual,
            Self::GreaterEqual => Self::LessEqual,
            Self::Add | Self::Mul | Self::Max | Self::Min | Self::Equal | Self::NotEqual => self,
        }
    }

    #[inline(always)]
    pub(super) fn apply(self, x: &mut [f32], width: usize, with: Values<'_>) {
        let truth = |truth: bool| if truth { 1.0 } else { 0.0 };
        match self {
            Self::Add => with.each(x, width, |a, b| a + b),
            Self::Sub => with.each(x, width, |a, b| a - b),
            Self::SubFrom => with.each(x, width, |a, b| b - a),
            Self::Mul => with.each(x, width, |a, b| a * b),
            Self::Div => with.each(x, width, |a, b| a / b),
            Self::DivInto => with.each(x, width, |a, b| b / a),
            Self::Max => with.each(x, width, greater),
            Self::Min => with.each(x, width, lesser),
            Self::Power => with.each(x, width, f32::powf),
            Self::PowerOf => with.each(x, width, |a, b| b.powf(a)),
            Self::Less => with.each(x, width, |a, b| truth(a < b)),
            Self::LessEqual => with.each(x, width, |a, b| truth(a <= b)),
            Self::Greater => with.each(x, width, |a, b| truth(a > b)),
            Self::GreaterEqual => with.each(x, width, |a, b| truth(a >= b)),
            Self::Equal => with.each(x, width, |a, b| truth(a == b)),
            Self::NotEqual => with.each(x, width, |a, b| truth(a != b)),
        }
    }
}

/// What stands beside a register.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// Another register, as wide or of one column.
    Register(Register),
    /// A constant row.
    Row(Vec<f32>),
    Scalar(f32),
}

/// An operand of a block.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// Rows, or one column of them.
    Rows(&'a [f32], usize),
    Row(&'a [f32]),
    Scalar(f32),
}

impl Operand {
    #[inline(always)]
    pub(super) fn values<'a>(&'a self, registers: &'a Registers<'_>) -> Values<'a> {
        match self {
            Self::Register(register) => Values::Rows(registers.get(*register), register.width),
            Self::Row(row) => Values::Row(row),
            Self::Scalar(scalar) => Values::Scalar(*scalar),
        }
    }
}

impl Values<'_> {
    #[inline(always)]
    fn each(self, x: &mut [f32], width: usize, function: impl Fn(f32, f32) -> f32) {
        match self {
            Self::Rows(values, own) if own == width => {
                x.iter_mut().zip(values).for_each(|(x, value)| *x = function(*x, *value));
            }
            Self::Rows(values, _) => {
                for (row, value) in x.chunks_exact_mut(width).zip(values) {
                    row.iter_mut().for_each(|x| *x = function(*x, *value));
                }
            }
            Self::Row(values) => {
                for row in x.chunks_exact_mut(width) {
                    row.iter_mut().zip(values).for_each(|(x, value)| *x = function(*x, *value));
                }
            }
            Self::Scalar(value) => x.iter_mut().for_each(|x| *x = function(*x, value)),
        }
    }

    fn at(self, row: usize, column: usize) -> f32 {
        match self {
            Self::Rows(values, 1) => values[row],
            Self::Rows(values, width) => values[row * width + column],
            Self::Row(values) => values[column],
            Self::Scalar(value) => value,
        }
    }
}

/// The first where x is not 0, else the second.
#[inline(always)]
pub(super) fn select(x: &mut [f32], width: usize, (yes, no): (Values<'_>, Values<'_>)) {
    for (row, x) in x.chunks_exact_mut(width).enumerate() {
        for (column, x) in x.iter_mut().enumerate() {
            *x = if *x == 0.0 { no.at(row, column) } else { yes.at(row, column) };
        }
    }
}
