//! What must be refused: each case its answer, none a crash, a hang, a 500 or a change of state.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use common::{Service, exchange, read_answer, request, settings, transaction};
use fraud_core::service::settings::Span;

fn service() -> Service {
    let mut settings = settings();
    settings.admission.deadline = Span::millis(600);
    settings.server.head_timeout = Span::millis(600);
    Service::start(settings)
}

/// Still there, and nothing was recorded.
fn unharmed(service: &Service) {
    assert_eq!(service.get("/health").status, 200);
    assert_eq!(service.metric("fraud_store_events "), 0.0);
    let text = service.metrics();
    assert!(!text.contains("status_code=\"500\""), "{text}");
}

#[test]
fn bodies_that_are_no_transaction() {
    let service = service();
    let whole = transaction("a", 1, 2, 10.0, 1);
    let with = |from: &str, to: &str| whole.replace(from, to);
    let nested = "[".repeat(100_000);
    let cases: Vec<(String, u16)> = vec![
        (String::new(), 400),
        ("nonsense".to_owned(), 400),
        (whole[..40].to_owned(), 400),
        (format!("{whole}{whole}"), 400),
        (nested[..60_000].to_owned(), 422),
        (format!("{{\"x\": {}1{}, {}", &nested[..100], "]".repeat(100), &whole[1..]), 200),
        ("[]".to_owned(), 422),
        ("7".to_owned(), 422),
        ("null".to_owned(), 422),
        ("{}".to_owned(), 422),
        (with("\"tx_amount\": 10", "\"tx_amount\": -1"), 422),
        (with("\"tx_amount\": 10", "\"tx_amount\": 1e10"), 422),
        (with("\"tx_amount\": 10", "\"tx_amount\": 1e999"), 422),
        (with("\"tx_amount\": 10", "\"tx_amount\": NaN"), 400),
        (with("\"tx_amount\": 10", "\"tx_amount\": \"10\""), 422),
        (with("\"tx_amount\": 10", "\"tx_amount\": null"), 422),
        (with("\"tx_amount\": 10", "\"tx_amount\": 10, \"tx_amount\": 10"), 422),
        (with("\"customer_id\": 1", "\"customer_id\": [1]"), 422),
        (with("\"customer_id\": 1", "\"customer_id\": 18446744073709551616"), 422),
        (with("\"a\"", &format!("\"{}\"", "x".repeat(129))), 422),
        (with("2026-01-01", "2026-02-30"), 422),
        (with("2026-01-01 12:00:00", "9999-12-31 23:59:59"), 422),
        (with("2026-01-01 12:00:00", "now"), 422),
    ];
    for (body, expected) in &cases {
        let path = if *expected == 200 { "/predict?record=false" } else { "/predict" };
        let answer = service.post(path, body);
        assert_eq!(answer.status, *expected, "{}: {answer:?}", &body[..body.len().min(200)]);
        if *expected != 200 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert!(answer.json()["type"].as_str().unwrap().starts_with("urn:fraud-api:problem:"));
            assert!(!answer.text().contains("xxxx"), "the answer repeats what may identify somebody");
        }
    }
    let invalid =
        request(service.address, "POST", "/predict", &[("content-type", "application/json")], b"{\"a\": \"\xff\"}");
    assert_eq!(invalid.status, 400);
    unharmed(&service);
}

#[test]
fn types_encodings_and_sizes() {
    let service = service();
    let body = transaction("a", 1, 2, 10.0, 1);
    let post =
        |headers: &[(&str, &str)], body: &[u8]| request(service.address, "POST", "/predict", headers, body).status;
    assert_eq!(post(&[("content-type", "text/plain")], body.as_bytes()), 415);
    assert_eq!(post(&[("content-type", "application/x-www-form-urlencoded")], body.as_bytes()), 415);
    assert_eq!(post(&[("content-type", "application/json"), ("content-encoding", "gzip")], body.as_bytes()), 415);
    assert_eq!(post(&[("content-type", "application/json")], &vec![b' '; 10 << 20]), 413);
    let head = format!("POST /predict HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    assert!(matches!(exchange(service.address, head.as_bytes()).map(|answer| answer.status), Some(431) | None));
    // A body without an announced length is cut off at the limit, too.
    let mut chunked = b"POST /predict HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..100 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b' '; 4_096]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert!(matches!(exchange(service.address, &chunked).map(|answer| answer.status), Some(413) | None));
    assert_eq!(post(&[], &[]), 400);
    unharmed(&service);
}

#[test]
fn methods_and_paths() {
    let service = service();
    let answer = service.get("/predict");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(service.post("/health", "").status, 405);
    for path in ["/nope", "/admin/model", "/predict/", "/..%2f..%2fetc/passwd", "/docs/../../x", "/v2/models/other"] {
        assert_eq!(service.get(path).status, 404, "{path}");
    }
    assert!(!service.metrics().contains("passwd"), "an unknown path became a label");
    assert!(!service.metrics().contains("/nope"), "an unknown path became a label");
    unharmed(&service);
}

#[test]
fn garbage_smuggling_and_slowness() {
    let service = service();
    let body = transaction("a", 1, 2, 10.0, 1);
    let smuggled = [
        // Two lengths that disagree.
        format!("POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\ncontent-length: 300\r\n\r\n{body}"),
        // A length and chunks.
        format!(
            "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len(),
            body.len()
        ),
        "POST /predict HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n".to_owned(),
        "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n{}".to_owned(),
        "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999999999999\r\n\r\n{}".to_owned(),
        "POST /predict HTTP/1.1\r\nhost : t\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
    ];
    for raw in &smuggled {
        let answer = exchange(service.address, raw.as_bytes());
        let status = answer.as_ref().map_or(400, |answer| answer.status);
        assert!((400..500).contains(&status), "{raw:?}: {answer:?}");
    }
    // A good request, then garbage on the same connection: the first is answered, the rest ends it.
    let good = "GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n";
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{good}\u{1}garbage\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    assert!(read_answer(&mut stream).is_none_or(|answer| answer.status == 400));

    // Heads and bodies that trickle, or stop.
    let mut trickle = TcpStream::connect(service.address).unwrap();
    trickle.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    trickle.write_all(b"POST /predict HTTP/1.1\r\nhost: t\r\n").unwrap();
    assert!(read_answer(&mut trickle).is_none_or(|answer| answer.status == 408));
    let mut half = TcpStream::connect(service.address).unwrap();
    half.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    half.write_all(
        b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n{\"tr",
    )
    .unwrap();
    assert_eq!(read_answer(&mut half).unwrap().status, 408);
    // A body that is broken off is nobody's transaction.
    let mut broken = TcpStream::connect(service.address).unwrap();
    write!(broken, "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1).unwrap();
    drop(broken);
    unharmed(&service);
}

#[test]
fn batches_and_tensors_that_do_not_fit() {
    let mut settings = settings();
    settings.admission.max_batch_rows = 3;
    let service = Service::start(settings);
    for (path, body, expected) in [
        ("/predict/batch", "[1,2,3,4]", 413),
        ("/predict/batch", "[1,", 400),
        ("/invocations", "{}", 400),
        ("/invocations", r#"{"inputs": [[1]]}"#, 400),
        ("/invocations", r#"{"inputs": [[],[],[],[]]}"#, 413),
        ("/v2/models/other/infer", "{}", 404),
        ("/v2/models/other/versions/1/infer", "{}", 404),
        ("/labels", "[{}]", 200),
    ] {
        assert_eq!(service.post(path, body).status, expected, "{path} {body}");
    }
    unharmed(&service);
}
