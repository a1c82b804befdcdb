//! An inference request, read into rows.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::tensor::{Datatype, Numbers};
use super::{INPUT, LABEL, PROBABILITY};
use crate::http::problem::ApiError;

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(default, borrow)]
    outputs: Vec<Output<'a>>,
}

/// Parameters that mean something here; others are passed over.
#[derive(Deserialize, Default)]
struct Parameters {
    binary_data_size: Option<usize>,
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    shape: Vec<u64>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    parameters: Parameters,
}

/// A request as the model wants it.
#[derive(Debug, PartialEq)]
pub struct InferRequest {
    /// To be given back.
    pub id: Option<String>,
    /// Row after row, each as wide as the features.
    pub rows: Vec<f32>,
    /// How many rows.
    pub count: usize,
    /// Outputs to give, and whether as bytes.
    pub outputs: Vec<(&'static str, bool)>,
}

fn problem(pointer: String, problem: impl Into<String>) -> ApiError {
    ApiError::Malformed { pointer, problem: problem.into() }
}

/// Reads a request: its JSON, and the bytes that follow it. `features` are the model's, in order.
///
/// # Errors
/// [`ApiError::Malformed`] that says what does not fit, [`ApiError::TooManyRows`].
pub fn read((json, mut bytes): (&[u8], &[u8]), features: &[&str], limit: usize) -> Result<InferRequest, ApiError> {
    let written: Written<'_> = serde_json::from_slice(json)
        .map_err(|error| problem(String::new(), format!("not an inference request: {error}")))?;
    if written.inputs.is_empty() {
        return Err(problem("/inputs".to_owned(), "there is no input"));
    }
    let mut tensors = Vec::with_capacity(written.inputs.len());
    for (at, input) in written.inputs.iter().enumerate() {
        tensors.push(tensor(input, at, &mut bytes, (features.len(), limit))?);
    }
    if !bytes.is_empty() {
        return Err(problem(String::new(), format!("{} bytes follow the tensors", bytes.len())));
    }
    let (rows, count) = assemble(&written.inputs, tensors, features)?;
    let binary = written.parameters.binary_data_output.unwrap_or(false);
    let outputs = match written.outputs.as_slice() {
        [] => vec![(PROBABILITY, binary)],
        some => some.iter().enumerate().map(|(at, output)| named(output, at, binary)).collect::<Result<_, _>>()?,
    };
    Ok(InferRequest { id: written.id.map(Cow::into_owned), rows, count, outputs })
}

fn named(output: &Output<'_>, at: usize, binary: bool) -> Result<(&'static str, bool), ApiError> {
    let name = [PROBABILITY, LABEL].into_iter().find(|name| *name == output.name);
    let unknown = || problem(format!("/outputs/{at}/name"), format!("the outputs are `{PROBABILITY}` and `{LABEL}`"));
    Ok((name.ok_or_else(unknown)?, output.parameters.binary_data.unwrap_or(binary)))
}

struct Tensor {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

fn tensor(input: &Input<'_>, at: usize, bytes: &mut &[u8], (width, limit): (usize, usize)) -> Result<Tensor, ApiError> {
    let place = |field: &str| format!("/inputs/{at}/{field}");
    let datatype = Datatype::read(&input.datatype)
        .ok_or_else(|| problem(place("datatype"), "features are FP32, FP64, INT64 or another number type"))?;
    let (rows, columns) = match *input.shape.as_slice() {
        [rows] => (rows, 1),
        [rows, columns] => (rows, columns),
        _ => return Err(problem(place("shape"), "must be [rows] or [rows, columns]")),
    };
    let (rows, columns) = match (usize::try_from(rows), usize::try_from(columns)) {
        (Ok(rows), Ok(columns)) if (1..=width).contains(&columns) && rows > 0 => (rows, columns),
        _ => return Err(problem(place("shape"), format!("must be [rows, {width}] with at least one row"))),
    };
    if rows > limit {
        return Err(ApiError::TooManyRows { limit });
    }
    let count = rows * columns;
    let values = match (input.parameters.binary_data_size, input.data) {
        (Some(_), Some(_)) => return Err(problem(place("data"), "there are both `data` and `binary_data_size`")),
        (None, None) => return Err(problem(place("data"), "there is neither `data` nor `binary_data_size`")),
        (Some(size), None) => {
            if size != count * datatype.bytes() {
                let expected = format!("must be {} for this shape and datatype", count * datatype.bytes());
                return Err(problem(place("parameters/binary_data_size"), expected));
            }
            let (mine, rest) = bytes
                .split_at_checked(size)
                .ok_or_else(|| problem(place("parameters/binary_data_size"), "is more than the bytes that follow"))?;
            *bytes = rest;
            let mut values = Vec::with_capacity(count);
            datatype.decode(mine, &mut values);
            values
        }
        (None, Some(data)) => {
            let mut reader = serde_json::Deserializer::from_str(data.get());
            Numbers { datatype, limit: count }.deserialize(&mut reader).map_err(|error| {
                let mut text = error.to_string();
                text.truncate(text.rfind(" at line ").unwrap_or(text.len()));
                problem(place("data"), text)
            })?
        }
    };
    if values.len() != count {
        let found = format!("has {} elements, its shape says {count}", values.len());
        return Err(problem(place("data"), found));
    }
    Ok(Tensor { values, rows, columns })
}

/// One tensor of all features, or one tensor per feature by name.
fn assemble(inputs: &[Input<'_>], mut tensors: Vec<Tensor>, features: &[&str]) -> Result<(Vec<f32>, usize), ApiError> {
    let width = features.len();
    if let [Tensor { values, rows, columns }] = tensors.as_mut_slice()
        && (inputs[0].name == INPUT || *columns == width && !features.contains(&&*inputs[0].name))
    {
        // [width] alone is one row.
        let one = *columns == 1 && *rows == width && width > 1;
        if *columns != width && !one {
            return Err(problem("/inputs/0/shape".to_owned(), format!("must be [rows, {width}]")));
        }
        return Ok((std::mem::take(values), if one { 1 } else { *rows }));
    }
    let count = tensors.first().map_or(0, |tensor| tensor.rows);
    let mut rows = vec![0.0; count * width];
    let mut given = vec![false; width];
    for (at, (input, tensor)) in inputs.iter().zip(&tensors).enumerate() {
        let unknown = || problem(format!("/inputs/{at}/name"), format!("is neither `{INPUT}` nor a feature's name"));
        let column = features.iter().position(|name| *name == input.name).ok_or_else(unknown)?;
        if tensor.columns != 1 || tensor.rows != count {
            return Err(problem(format!("/inputs/{at}/shape"), format!("must be [{count}] or [{count}, 1]")));
        }
        if std::mem::replace(&mut given[column], true) {
            return Err(problem(format!("/inputs/{at}/name"), "is there twice"));
        }
        rows.iter_mut().skip(column).step_by(width).zip(&tensor.values).for_each(|(place, value)| *place = *value);
    }
    match given.iter().position(|given| !given) {
        Some(missing) => Err(problem("/inputs".to_owned(), format!("feature `{}` is missing", features[missing]))),
        None => Ok((rows, count)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FEATURES: [&str; 2] = ["A", "B"];

    fn ask(json: &str, bytes: &[u8]) -> Result<InferRequest, String> {
        read((json.as_bytes(), bytes), &FEATURES, 10).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn one_tensor_or_one_per_feature() {
        let one =
            ask(r#"{"id":"x","inputs":[{"name":"features","shape":[2,2],"datatype":"FP64","data":[1,2,3,4]}]}"#, b"");
        let one = one.unwrap();
        assert_eq!((one.rows.as_slice(), one.count), ([1.0, 2.0, 3.0, 4.0].as_slice(), 2));
        assert_eq!((one.id.as_deref(), one.outputs.as_slice()), (Some("x"), [(PROBABILITY, false)].as_slice()));
        let named = ask(
            r#"{"inputs":[{"name":"B","shape":[2],"datatype":"INT64","data":[2,4]},
                          {"name":"A","shape":[2,1],"datatype":"FP32","data":[[1],[3]]}]}"#,
            b"",
        );
        assert_eq!(named.unwrap().rows, [1.0, 2.0, 3.0, 4.0]);
        let other = ask(r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#, b"");
        assert_eq!(other.unwrap().count, 1);
    }

    #[test]
    fn bytes_follow_the_json() {
        let json = r#"{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],
            "outputs":[{"name":"fraud_label","parameters":{"binary_data":true}},{"name":"fraud_probability"}]}"#;
        let bytes = [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat();
        let asked = ask(json, &bytes).unwrap();
        assert_eq!(asked.rows, [1.0, 2.0]);
        assert_eq!(asked.outputs, [(LABEL, true), (PROBABILITY, false)]);
        assert!(ask(json, &bytes[..7]).is_err() && ask(json, &[bytes.clone(), vec![0]].concat()).is_err());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"features",{rest}}}]}}"#);
        for (json, part) in [
            ("[]".to_owned(), "not an inference request"),
            (r#"{"inputs":[]}"#.to_owned(), "no input"),
            (input(r#""shape":[1,3],"datatype":"FP32","data":[1,2,3]"#), "/inputs/0/shape"),
            (input(r#""shape":[1,2,1],"datatype":"FP32","data":[1,2]"#), "/inputs/0/shape"),
            (input(r#""shape":[0,2],"datatype":"FP32","data":[]"#), "/inputs/0/shape"),
            (input(r#""shape":[11,2],"datatype":"FP32","data":[]"#), "TooManyRows"),
            (input(r#""shape":[18446744073709551615,2],"datatype":"FP32","data":[]"#), "TooManyRows"),
            (input(r#""shape":[1,2],"datatype":"BYTES","data":["a","b"]"#), "/inputs/0/datatype"),
            (input(r#""shape":[1,2],"datatype":"FP32","data":[1]"#), "has 1 elements"),
            (input(r#""shape":[1,2],"datatype":"FP32","data":[1,2,3]"#), "more elements"),
            (input(r#""shape":[1,2],"datatype":"FP32""#), "neither `data`"),
            (r#"{"inputs":[{"name":"A","shape":[1],"datatype":"FP32","data":[1]}]}"#.to_owned(), "`B` is missing"),
            (r#"{"inputs":[{"name":"C","shape":[1],"datatype":"FP32","data":[1]}]}"#.to_owned(), "/inputs/0/name"),
            (
                input(r#""shape":[1,2],"datatype":"FP32","data":[1,2]"#)
                    .replace("]}]}", "]}],\"outputs\":[{\"name\":\"p\"}]}"),
                "/outputs/0/name",
            ),
        ] {
            let error = ask(&json, b"").unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(json in "[{}\\[\\]\",:a-z0-9.]{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read((json.as_bytes(), &bytes), &FEATURES, 10);
        }

        #[test]
        fn what_is_read_has_the_shape_it_says(
            rows in 0_u64..20, columns in 0_u64..5, size in 0_usize..200,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let json = format!(
                r#"{{"inputs":[{{"name":"features","shape":[{rows},{columns}],"datatype":"FP32","parameters":{{"binary_data_size":{size}}}}}]}}"#
            );
            if let Ok(asked) = read((json.as_bytes(), &bytes), &FEATURES, 10) {
                prop_assert_eq!(asked.rows.len(), asked.count * 2);
                prop_assert_eq!(size, bytes.len());
            }
        }
    }
}
