//! LabelEncoder: a value of one kind for each value of another.

use std::sync::Arc;

use std::collections::HashMap;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use super::kernel::as_type;
use crate::error::ModelError;
use crate::model::onnx::attributes::{Attributes, bad};
use crate::model::onnx::tensors;

/// A key that can be looked up: floats by value, with one NaN and one zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Integer(i64),
    Float(u64),
    Text(String),
}

fn float_key(value: f64) -> Key {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    Key::Float(canonical.to_bits())
}

/// The values, one more than there are keys: the last is the default.
#[derive(Debug, Clone)]
enum Values {
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Texts(Vec<String>),
}

impl Values {
    fn datum_type(&self) -> DatumType {
        match self {
            Self::Integers(_) => i64::datum_type(),
            Self::Floats(_) => f32::datum_type(),
            Self::Doubles(_) => f64::datum_type(),
            Self::Texts(_) => String::datum_type(),
        }
    }
}

#[derive(Debug)]
struct Table {
    places: HashMap<Key, usize>,
    values: Values,
    keys: DatumType,
    /// Type of the answer, where it is another than that of `values`.
    answer: DatumType,
}

#[derive(Debug, Clone)]
pub(crate) struct LabelEncoder(Arc<Table>);

impl PartialEq for LabelEncoder {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LabelEncoder {}

/// Reads the attributes of any of the operator's versions.
pub(crate) fn label_encoder(node: &NodeProto) -> Result<LabelEncoder, ModelError> {
    let attributes = Attributes(node);
    let classes = attributes.texts("classes_strings")?;
    if !classes.is_empty() {
        // Version 1: the type of the input decides the direction; only text to number leads to a score.
        let keys: Vec<Key> = classes.iter().cloned().map(Key::Text).collect();
        let default = attributes.int("default_int64").unwrap_or(-1);
        let values = (0..classes.len() as i64).chain([default]).collect();
        return table(node, (keys, String::datum_type()), Values::Integers(values));
    }
    let keys = keys(node)?;
    let values = values(node)?;
    table(node, keys, values)
}

fn table(node: &NodeProto, (keys, kind): (Vec<Key>, DatumType), values: Values) -> Result<LabelEncoder, ModelError> {
    let length = match &values {
        Values::Integers(values) => values.len(),
        Values::Floats(values) => values.len(),
        Values::Doubles(values) => values.len(),
        Values::Texts(values) => values.len(),
    };
    if keys.len() + 1 != length {
        return Err(bad(node, format!("there are {} keys for {} values", keys.len(), length.saturating_sub(1))));
    }
    let mut places = HashMap::with_capacity(keys.len());
    for (place, key) in keys.into_iter().enumerate() {
        places.entry(key).or_insert(place);
    }
    let answer = match Attributes(node).tensor("values_tensor").map(|tensor| tensor.data_type) {
        Some(5) => i16::datum_type(),
        Some(6) => i32::datum_type(),
        _ => values.datum_type(),
    };
    Ok(LabelEncoder(Arc::new(Table { places, values, keys: kind, answer })))
}

fn keys(node: &NodeProto) -> Result<(Vec<Key>, DatumType), ModelError> {
    let attributes = Attributes(node);
    if let Some(tensor) = attributes.tensor("keys_tensor") {
        let wrong = |problem| bad(node, problem);
        return Ok(if is_text(tensor) {
            (tensors::texts(tensor).map_err(wrong)?.into_iter().map(Key::Text).collect(), String::datum_type())
        } else if is_float(tensor) {
            (tensors::numbers(tensor).map_err(wrong)?.into_iter().map(float_key).collect(), f64::datum_type())
        } else {
            (tensors::integers(tensor).map_err(wrong)?.into_iter().map(Key::Integer).collect(), i64::datum_type())
        });
    }
    let texts = attributes.texts("keys_strings")?;
    let integers = attributes.ints("keys_int64s");
    Ok(if !texts.is_empty() {
        (texts.into_iter().map(Key::Text).collect(), String::datum_type())
    } else if !integers.is_empty() {
        (integers.iter().copied().map(Key::Integer).collect(), i64::datum_type())
    } else {
        let floats = attributes.floats("keys_floats").iter();
        (floats.map(|value| float_key(f64::from(*value))).collect(), f64::datum_type())
    })
}

fn values(node: &NodeProto) -> Result<Values, ModelError> {
    let attributes = Attributes(node);
    if let Some(tensor) = attributes.tensor("values_tensor") {
        let wrong = |problem| bad(node, problem);
        let default = attributes.tensor("default_tensor");
        let default_number = match default {
            Some(tensor) if !is_text(tensor) => tensors::numbers(tensor).map_err(wrong)?.first().copied(),
            _ => None,
        };
        #[allow(clippy::cast_possible_truncation)]
        return Ok(if is_text(tensor) {
            let default = default.map_or(Ok(Vec::new()), tensors::texts).map_err(wrong)?;
            let mut values = tensors::texts(tensor).map_err(wrong)?;
            values.push(default.first().cloned().unwrap_or_else(|| "_Unused".to_owned()));
            Values::Texts(values)
        } else if is_float(tensor) {
            let mut values = tensors::numbers(tensor).map_err(wrong)?;
            values.push(default_number.unwrap_or(0.0));
            if tensors::is_double(tensor) {
                Values::Doubles(values)
            } else {
                Values::Floats(values.into_iter().map(|value| value as f32).collect())
            }
        } else {
            let mut values = tensors::integers(tensor).map_err(wrong)?;
            values.push(default_number.map_or(-1, |value| value as i64));
            Values::Integers(values)
        });
    }
    let texts = attributes.texts("values_strings")?;
    let integers = attributes.ints("values_int64s");
    Ok(if !texts.is_empty() {
        let default = attributes.text("default_string")?.unwrap_or("_Unused").to_owned();
        Values::Texts(texts.into_iter().chain([default]).collect())
    } else if !integers.is_empty() {
        Values::Integers(integers.iter().copied().chain([attributes.int("default_int64").unwrap_or(-1)]).collect())
    } else {
        let default = attributes.float("default_float").unwrap_or(-0.0);
        Values::Floats(attributes.floats("values_floats").iter().copied().chain([default]).collect())
    })
}

fn is_text(tensor: &TensorProto) -> bool {
    tensor.data_type == 8
}

fn is_float(tensor: &TensorProto) -> bool {
    matches!(tensor.data_type, 1 | 11)
}

impl LabelEncoder {
    fn encode<T: Datum>(&self, input: &Tensor, values: &[T]) -> TractResult<Tensor> {
        let table = &*self.0;
        let place = |key: &Key| table.places.get(key).copied().unwrap_or(values.len() - 1);
        let view = input.try_as_plain_ram()?;
        let out: Vec<T> = if table.keys == String::datum_type() {
            view.as_slice::<String>()?.iter().map(|key| values[place(&Key::Text(key.clone()))].clone()).collect()
        } else if table.keys == i64::datum_type() {
            view.as_slice::<i64>()?.iter().map(|key| values[place(&Key::Integer(*key))].clone()).collect()
        } else {
            view.as_slice::<f64>()?.iter().map(|key| values[place(&float_key(*key))].clone()).collect()
        };
        tensor1(&out).into_shape(input.shape())
    }
}

impl Op for LabelEncoder {
    fn name(&self) -> StaticName {
        "LabelEncoder".into()
    }

    op_as_typed_op!();
}

impl EvalOp for LabelEncoder {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let out = match &self.0.values {
            Values::Integers(values) => self.encode(&inputs[0], values),
            Values::Floats(values) => self.encode(&inputs[0], values),
            Values::Doubles(values) => self.encode(&inputs[0], values),
            Values::Texts(values) => self.encode(&inputs[0], values),
        };
        Ok(tvec!(out?.into_tvalue()))
    }
}

impl TypedOp for LabelEncoder {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.0.values.datum_type().fact(inputs[0].shape.iter())))
    }

    as_op!();
}

impl Expansion for LabelEncoder {
    fn name(&self) -> StaticName {
        "LabelEncoder".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, self.0.answer)?;
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        // Floats are looked up as f64, which holds every f32: one kind of key for both.
        let keys = as_type(model, prefix, (inputs[0], self.0.keys))?;
        let values = model.wire_node(format!("{prefix}.values"), self.clone(), &[keys])?[0];
        Ok(tvec!(as_type(model, &format!("{prefix}.answer"), (values, self.0.answer))?))
    }
}
