//! Tensors as the file holds them → plain lists.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

/// More elements than any tensor of a scoring model has.
pub(crate) const MAX_ELEMENTS: u64 = 1 << 28;

/// The number of elements that the dimensions claim.
pub(crate) fn elements(tensor: &TensorProto) -> Result<u64, String> {
    let claimed = tensor.dims.iter().try_fold(1_u64, |product, dim| {
        let dim = u64::try_from(*dim).ok()?;
        product.checked_mul(dim).filter(|product| *product <= MAX_ELEMENTS)
    });
    claimed.ok_or_else(|| format!("tensor `{}` claims dimensions that are negative or too large", tensor.name))
}

/// Bytes of one element, for the types that a scoring model may use; texts have none.
fn element_bytes(data_type: i32) -> Option<u64> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Bool | DataType::Uint8 | DataType::Int8 => 1,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 => 2,
        DataType::Uint32 | DataType::Int32 | DataType::Float => 4,
        DataType::Uint64 | DataType::Int64 | DataType::Double => 8,
        DataType::String => 0,
        _ => return None,
    })
}

/// Refuses a tensor whose content is not what its type and dimensions claim.
pub(crate) fn check(tensor: &TensorProto) -> Result<(), String> {
    let claimed = elements(tensor)?;
    let name = &tensor.name;
    let bytes = element_bytes(tensor.data_type)
        .ok_or_else(|| format!("tensor `{name}` has the element type {}, which is not supported", tensor.data_type))?;
    let found = if bytes > 0 && !tensor.raw_data.is_empty() {
        let raw = tensor.raw_data.len() as u64;
        if raw.is_multiple_of(bytes) { raw / bytes } else { u64::MAX }
    } else {
        let lists = [
            tensor.float_data.len(),
            tensor.int32_data.len(),
            tensor.int64_data.len(),
            tensor.double_data.len(),
            tensor.uint64_data.len(),
            tensor.string_data.len(),
        ];
        lists.iter().sum::<usize>() as u64
    };
    if found != claimed {
        return Err(format!("tensor `{name}` claims {claimed} elements and holds others"));
    }
    Ok(())
}

pub(crate) fn is_double(tensor: &TensorProto) -> bool {
    tensor.data_type == DataType::Double as i32
}

/// A tensor of numbers, widened to f64.
pub(crate) fn numbers(tensor: &TensorProto) -> Result<Vec<f64>, String> {
    check(tensor)?;
    let raw = &tensor.raw_data;
    let kind = DataType::try_from(tensor.data_type).ok();
    Ok(match kind {
        Some(DataType::Float) if raw.is_empty() => tensor.float_data.iter().map(|value| f64::from(*value)).collect(),
        Some(DataType::Float) => raw_values(raw, |bytes: [u8; 4]| f64::from(f32::from_le_bytes(bytes))),
        Some(DataType::Double) if raw.is_empty() => tensor.double_data.clone(),
        Some(DataType::Double) => raw_values(raw, f64::from_le_bytes),
        _ => integers(tensor)?.into_iter().map(|value| value as f64).collect(),
    })
}

/// A tensor of whole numbers.
pub(crate) fn integers(tensor: &TensorProto) -> Result<Vec<i64>, String> {
    check(tensor)?;
    let raw = &tensor.raw_data;
    let narrow = || tensor.int32_data.iter().map(|value| i64::from(*value)).collect();
    Ok(match DataType::try_from(tensor.data_type).ok() {
        Some(DataType::Int64) if raw.is_empty() => tensor.int64_data.clone(),
        Some(DataType::Int64) => raw_values(raw, i64::from_le_bytes),
        Some(DataType::Int32) if raw.is_empty() => narrow(),
        Some(DataType::Int32) => raw_values(raw, |bytes| i64::from(i32::from_le_bytes(bytes))),
        Some(DataType::Uint8 | DataType::Bool) if raw.is_empty() => narrow(),
        Some(DataType::Uint8 | DataType::Bool) => raw_values(raw, |bytes: [u8; 1]| i64::from(bytes[0])),
        Some(DataType::Int16 | DataType::Uint16) if raw.is_empty() => narrow(),
        Some(DataType::Int16) => raw_values(raw, |bytes| i64::from(i16::from_le_bytes(bytes))),
        Some(DataType::Uint16) => raw_values(raw, |bytes| i64::from(u16::from_le_bytes(bytes))),
        Some(DataType::Int8) if raw.is_empty() => narrow(),
        Some(DataType::Int8) => raw_values(raw, |bytes| i64::from(i8::from_le_bytes(bytes))),
        _ => return Err(format!("tensor `{}` is not of a supported type", tensor.name)),
    })
}

/// A tensor of texts.
pub(crate) fn texts(tensor: &TensorProto) -> Result<Vec<String>, String> {
    check(tensor)?;
    let texts = tensor.string_data.iter().map(|bytes| String::from_utf8(bytes.clone()));
    texts.collect::<Result<_, _>>().map_err(|_| format!("tensor `{}` is not UTF-8", tensor.name))
}

fn raw_values<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect()
}
