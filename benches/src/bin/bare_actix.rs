//! The yardstick for `fraud-api`: the least that an actix-web service can do with the same request.
//!
//! It parses the design's transaction into a struct and answers fixed bytes of the size of a real answer.
//! Ordinary fastest settings: one resource, no middleware, texts borrowed from the body, no extractor
//! that is not needed. `bare_actix [PORT] [WORKERS]`.

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;

/// The request of the course projects that the service accepts.
#[derive(Deserialize)]
#[allow(dead_code)] // Parsed because the real service parses it too.
struct Request<'a> {
    #[serde(borrow)]
    transaction_id: &'a str,
    customer_id: i64,
    terminal_id: i64,
    tx_amount: f64,
    #[serde(borrow)]
    tx_datetime: &'a str,
}

const ANSWER: &[u8] = br#"{"transaction_id":"0000000000000000","fraud_probability":0.012345679,"risk_level":"low","decision":"approve","decision_source":"model","reasons":[],"duplicate":false,"late":false,"history_complete":true,"model_version":"000000000000","model_type":"onnx","policy_version":"default","confidence_score":0.98765434,"prediction_time":"2026-01-01T00:00:00.000Z"}"#;

async fn predict(body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Request<'_>>(&body) {
        Ok(request) => {
            std::hint::black_box(&request);
            HttpResponse::Ok().insert_header(ContentType::json()).body(ANSWER)
        }
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u16| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (port, workers) = (number(8100), number(1));
    HttpServer::new(|| App::new().route("/predict", web::post().to(predict)))
        .workers(workers.into())
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
