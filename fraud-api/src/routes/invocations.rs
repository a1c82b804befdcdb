//! MLflow's scoring protocol, on the feature columns.

use actix_web::HttpResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Parts, guarded, inference, many_rows};
use crate::http::body::Media;
use crate::http::keys::Role;
use crate::http::problem::ApiError;

/// Just one of the four may be there.
#[derive(Deserialize)]
struct Written {
    dataframe_split: Option<Split>,
    dataframe_records: Option<Vec<Map<String, Value>>>,
    inputs: Option<Value>,
    instances: Option<Value>,
}

#[derive(Deserialize)]
struct Split {
    #[serde(default)]
    columns: Option<Vec<String>>,
    data: Vec<Vec<Value>>,
}

/// MLflow's own error object.
fn as_mlflow_error(error: &ApiError) -> HttpResponse {
    error.log();
    let problem = error.problem();
    let code = match problem.status {
        400..500 => "BAD_REQUEST",
        503 => "TEMPORARILY_UNAVAILABLE",
        _ => "INTERNAL_ERROR",
    };
    let message = if problem.detail.is_empty() { problem.title.to_owned() } else { problem.detail };
    error.start_response().json(json!({ "error_code": code, "message": message }))
}

/// Runs the model on rows of features, as MLflow's server does.
#[utoipa::path(post, path = "/invocations", tag = "mlflow",
    request_body(content = crate::schema::InvocationsBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The probabilities, in order", body = crate::schema::Predictions),
        crate::schema::MlflowRefusals,
    ),
)]
pub async fn invocations(Parts(request, mut payload): Parts) -> HttpResponse {
    guarded(&request, (Role::Infer, as_mlflow_error), async |worker| {
        let taken = many_rows(worker, (&request, &mut payload), "application/json").await?;
        if taken.media != Media::Json {
            return Err(ApiError::MediaType { expected: "application/json" });
        }
        let scorer = super::predict::scorer(worker);
        let model = scorer.model().ok_or(ApiError::Model(fraud_core::error::ModelError::NoModel))?;
        let names: Vec<&str> = model.features().names().collect();
        let rows = rows(&taken.body, &names, worker.shared.settings.admission.max_batch_rows)?;
        let probabilities = inference::run(worker, model, &rows).await?;
        Ok(HttpResponse::Ok().json(json!({ "predictions": probabilities })))
    })
    .await
}

fn problem(pointer: impl Into<String>, problem: impl Into<String>) -> ApiError {
    ApiError::Malformed { pointer: pointer.into(), problem: problem.into() }
}

/// The rows of a request, one after another, features in the model's order.
///
/// # Errors
/// [`ApiError::Malformed`], [`ApiError::TooManyRows`].
pub fn rows(body: &[u8], features: &[&str], limit: usize) -> Result<Vec<f32>, ApiError> {
    let written: Written = serde_json::from_slice(body).map_err(|error| {
        problem(
            "",
            format!("one of `dataframe_split`, `dataframe_records`, `inputs`, `instances` was expected: {error}"),
        )
    })?;
    let table = Table { features, limit };
    match (written.dataframe_split, written.dataframe_records, written.inputs, written.instances) {
        (Some(split), None, None, None) => table.split(split),
        (None, Some(records), None, None) => table.records("/dataframe_records", &records),
        (None, None, Some(inputs), None) => table.tensor("/inputs", inputs),
        (None, None, None, Some(instances)) => table.tensor("/instances", instances),
        _ => Err(problem("", "give exactly one of `dataframe_split`, `dataframe_records`, `inputs`, `instances`")),
    }
}

struct Table<'a> {
    features: &'a [&'a str],
    limit: usize,
}

impl Table<'_> {
    fn check_rows(&self, rows: usize) -> Result<(), ApiError> {
        if rows > self.limit { Err(ApiError::TooManyRows { limit: self.limit }) } else { Ok(()) }
    }

    fn split(&self, split: Split) -> Result<Vec<f32>, ApiError> {
        self.check_rows(split.data.len())?;
        let Some(columns) = split.columns else { return self.lists("/dataframe_split/data", &split.data) };
        let mut places = Vec::with_capacity(self.features.len());
        for feature in self.features {
            let missing = || problem("/dataframe_split/columns", format!("`{feature}` is missing"));
            places.push(columns.iter().position(|column| column == feature).ok_or_else(missing)?);
        }
        let mut rows = Vec::with_capacity(split.data.len() * places.len());
        for (at, row) in split.data.iter().enumerate() {
            let pointer = || format!("/dataframe_split/data/{at}");
            if row.len() != columns.len() {
                return Err(problem(pointer(), format!("must have {} values", columns.len())));
            }
            for place in &places {
                rows.push(number(&row[*place], || format!("{}/{place}", pointer()))?);
            }
        }
        Ok(rows)
    }

    fn records(&self, pointer: &str, records: &[Map<String, Value>]) -> Result<Vec<f32>, ApiError> {
        self.check_rows(records.len())?;
        let mut rows = Vec::with_capacity(records.len() * self.features.len());
        for (at, record) in records.iter().enumerate() {
            for feature in self.features {
                let place = || format!("{pointer}/{at}/{feature}");
                let value = record.get(*feature).ok_or_else(|| problem(place(), "is missing"))?;
                rows.push(number(value, place)?);
            }
        }
        Ok(rows)
    }

    fn lists(&self, pointer: &str, lists: &[Vec<Value>]) -> Result<Vec<f32>, ApiError> {
        self.check_rows(lists.len())?;
        let width = self.features.len();
        let mut rows = Vec::with_capacity(lists.len() * width);
        for (at, list) in lists.iter().enumerate() {
            if list.len() != width {
                return Err(problem(format!("{pointer}/{at}"), format!("must have {width} values")));
            }
            for (column, value) in list.iter().enumerate() {
                rows.push(number(value, || format!("{pointer}/{at}/{column}"))?);
            }
        }
        Ok(rows)
    }

    /// A list of lists, a list of records, or one list of values per name.
    fn tensor(&self, pointer: &str, value: Value) -> Result<Vec<f32>, ApiError> {
        match value {
            Value::Array(items) if items.first().is_some_and(Value::is_object) => {
                let records: Vec<Map<String, Value>> = each(pointer, items)?;
                self.records(pointer, &records)
            }
            Value::Array(items) => self.lists(pointer, &each::<Vec<Value>>(pointer, items)?),
            Value::Object(columns) => self.columns(pointer, &columns),
            _ => Err(problem(pointer, "must be a list of rows, or an object of columns")),
        }
    }

    fn columns(&self, pointer: &str, columns: &Map<String, Value>) -> Result<Vec<f32>, ApiError> {
        // One input that holds whole rows, whatever its name.
        let mut entries = columns.iter();
        if let (Some((name, Value::Array(items))), None) = (entries.next(), entries.next())
            && self.features.len() > 1
            && items.first().is_some_and(Value::is_array)
        {
            let pointer = format!("{pointer}/{name}");
            return self.lists(&pointer, &each::<Vec<Value>>(&pointer, items.clone())?);
        }
        let mut rows: Vec<f32> = Vec::new();
        let width = self.features.len();
        let mut count = None;
        for (column, feature) in self.features.iter().enumerate() {
            let place = || format!("{pointer}/{feature}");
            let values = match columns.get(*feature) {
                Some(Value::Array(values)) => values.as_slice(),
                Some(value) => std::slice::from_ref(value),
                None => return Err(problem(place(), "is missing")),
            };
            self.check_rows(values.len())?;
            if *count.get_or_insert(values.len()) != values.len() {
                return Err(problem(place(), "has another number of rows than the others"));
            }
            rows.resize(values.len() * width, 0.0);
            for (row, value) in values.iter().enumerate() {
                // N × 1 columns come as lists of one.
                let value = match value {
                    Value::Array(one) if one.len() == 1 => &one[0],
                    value => value,
                };
                rows[row * width + column] = number(value, || format!("{}/{row}", place()))?;
            }
        }
        Ok(rows)
    }
}

fn each<T: serde::de::DeserializeOwned>(pointer: &str, items: Vec<Value>) -> Result<Vec<T>, ApiError> {
    let read = |(at, item): (usize, Value)| {
        serde_json::from_value(item).map_err(|_| problem(format!("{pointer}/{at}"), "is not a row like the others"))
    };
    items.into_iter().enumerate().map(read).collect()
}

/// A feature's value; `null` is NaN, which is how pandas writes a missing one.
fn number(value: &Value, pointer: impl Fn() -> String) -> Result<f32, ApiError> {
    match value {
        Value::Null => Ok(f32::NAN),
        Value::Bool(value) => Ok(f32::from(u8::from(*value))),
        #[allow(clippy::cast_possible_truncation)] // The one cast to the model's f32.
        Value::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN) as f32),
        _ => Err(problem(pointer(), "must be a number")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<Vec<f32>, String> {
        rows(json.as_bytes(), &["A", "B"], 3).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn all_four_formats_say_the_same() {
        for json in [
            r#"{"dataframe_split":{"columns":["B","X","A"],"data":[[2,9,1],[4,9,3]]}}"#,
            r#"{"dataframe_split":{"columns":["B","A"],"index":[0,1],"data":[[2,1],[4,3]]}}"#,
            r#"{"dataframe_split":{"data":[[1,2],[3,4]]}}"#,
            r#"{"dataframe_records":[{"A":1,"B":2},{"B":4.0,"A":3,"C":"x"}]}"#,
            r#"{"inputs":[[1,2],[3,4]]}"#,
            r#"{"inputs":{"A":[1,3],"B":[[2],[4]]}}"#,
            r#"{"inputs":{"float_input":[[1,2],[3,4]]}}"#,
            r#"{"instances":[[1,2],[3,4]]}"#,
            r#"{"instances":[{"A":1,"B":2},{"A":3,"B":4}]}"#,
        ] {
            assert_eq!(read(json).unwrap(), [1.0, 2.0, 3.0, 4.0], "{json}");
        }
        assert_eq!(read(r#"{"inputs":{"A":1,"B":2}}"#).unwrap(), [1.0, 2.0]);
        assert!(read(r#"{"inputs":[[null,true]]}"#).unwrap()[0].is_nan());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (json, part) in [
            ("{}", "exactly one"),
            ("1", "was expected"),
            (r#"{"inputs":[[1,2]],"instances":[[1,2]]}"#, "exactly one"),
            (r#"{"dataframe_split":{"columns":["A"],"data":[[1]]}}"#, "`B` is missing"),
            (r#"{"dataframe_split":{"columns":["A","B"],"data":[[1]]}}"#, "/dataframe_split/data/0"),
            (r#"{"dataframe_records":[{"A":1}]}"#, "/dataframe_records/0/B"),
            (r#"{"inputs":[[1,"x"]]}"#, "/inputs/0/1"),
            (r#"{"inputs":[[1,2],3]}"#, "/inputs/1"),
            (r#"{"inputs":"x"}"#, "/inputs"),
            (r#"{"inputs":{"A":[1],"B":[1,2]}}"#, "/inputs/B"),
            (r#"{"instances":[[1,2],[1,2],[1,2],[1,2]]}"#, "TooManyRows"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in "[{}\\[\\]\",:AB0-9.a-z]{0,120}") {
            for key in ["inputs", "instances", "dataframe_split", "dataframe_records"] {
                let _ = read(&format!("{{\"{key}\":{value}}}"));
            }
        }
    }
}
