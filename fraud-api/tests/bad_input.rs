//! What must be refused: each case its answer, none a crash, a hang, a 500 or a change of state.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use common::{Service, exchange, read_answer, read_answers, request, settings, transaction};
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
fn a_head_without_end_is_answered_431() {
    let mut settings = settings();
    settings.server.head_timeout = Span::seconds(20);
    let service = Service::start(settings);
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    stream.write_all(b"POST /predict HTTP/1.1\r\nhost: t\r\nx: ").unwrap();
    // A little at a time: bytes that nobody reads any more would make the system throw the answer away.
    let mut answer = None;
    for _ in 0..4_096 {
        if stream.write_all(&[b'y'; 512]).is_err() {
            break;
        }
        answer = read_answer(&mut stream);
        if answer.is_some() {
            break;
        }
    }
    assert_eq!(answer.unwrap().status, 431);
    unharmed(&service);
}

#[test]
fn methods_and_paths() {
    let service = service();
    let answer = service.get("/predict");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(service.post("/health", "").status, 405);
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        assert_eq!(request(service.address, method, "/predict", &[], b"").status, 405, "{method}");
    }
    for path in ["/health", "/labels", "/nope"] {
        assert_eq!(request(service.address, "BREW", path, &[], b"").status, 405, "{path}");
    }
    assert_eq!(request(service.management, "BREW", "/health", &[], b"").status, 405);
    assert!(!service.metrics().contains("BREW"), "an unknown method became a label");
    let connect = exchange(service.address, b"CONNECT t:80 HTTP/1.1\r\nhost: t\r\n\r\n");
    assert!(connect.is_none_or(|answer| (400..500).contains(&answer.status)));
    for query in ["record=maybe", "record=%ff", "explain=2"] {
        assert_eq!(service.post(&format!("/predict?{query}"), "{}").status, 400, "{query}");
    }
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
    // What a front end might take for the body of the first request and the service for a second one.
    let second = format!("POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let two = |headers: &str| format!("POST /labels HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\n0\r\n\r\n{second}");
    let length = second.len() + 5;
    let smuggled = [
        two(&format!("content-length: {length}\r\ntransfer-encoding: chunked")),
        two(&format!("content-length: {length}\r\nTransfer-Encoding:\tchunked")),
        two("transfer-encoding: identity, chunked"),
        two("transfer-encoding: xchunked"),
        two("transfer-encoding: chunked\r\ntransfer-encoding: identity"),
        two("transfer-encoding : chunked"),
        two("x: y\r\n transfer-encoding: chunked"),
        two("content-length: +5"),
        two("content-length: 5, 5"),
        two("content-length: 0x5"),
        two("content-length: 5\u{b}"),
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
    // Requests one behind the other are answered in order.
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let peek = |body: &str| {
        let head = "POST /predict?record=false HTTP/1.1\r\nhost: t\r\ncontent-length: ";
        format!("{head}{}\r\n\r\n{body}", body.len())
    };
    let pipelined = [peek(&body), peek("nonsense"), peek(&body), peek("{}")].concat();
    stream.write_all(pipelined.as_bytes()).unwrap();
    let answers = read_answers(&mut stream, 4);
    assert_eq!(answers, [200, 400, 200, 422]);

    // A good request, then garbage on the same connection: the first is answered, the rest ends it.
    let good = "GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n";
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{good}\u{1}garbage\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    assert!(read_answer(&mut stream).is_none_or(|answer| answer.status == 400));

    // Many that send their heads a byte at a time: the others are served meanwhile, and these are ended.
    let mut slow: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(service.address).unwrap()).collect();
    for byte in b"POST /pre" {
        slow.iter_mut().for_each(|stream| drop(stream.write_all(&[*byte])));
        assert_eq!(service.get("/health/live").status, 200);
    }
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(read_answer(stream).is_none_or(|answer| answer.status == 408));
        // Ended, not only silent.
        assert_eq!(std::io::Read::read(stream, &mut [0]).unwrap_or(0), 0);
    }

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
    // The same behind a request that is whole.
    let mut behind = TcpStream::connect(service.address).unwrap();
    behind.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let cut = "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: 200\r\n\r\n{\"tr";
    behind.write_all(format!("{}{cut}", peek(&body)).as_bytes()).unwrap();
    assert_eq!(read_answers(&mut behind, 2), [200, 408]);
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

#[test]
fn nesting_and_labels_that_are_none() {
    let service = service();
    let model = service.shared.life.info().unwrap().name;
    let infer = format!("/v2/models/{model}/infer");
    for path in ["/predict/batch", "/labels", "/invocations", infer.as_str()] {
        for nested in ["[".repeat(50_000), "{\"a\":".repeat(10_000), format!("{{\"inputs\":{}", "[".repeat(50_000))] {
            let status = service.post(path, &nested).status;
            assert!(status == 400 || status == 422, "{path} {}: {status}", &nested[..10]);
        }
        let invalid = [("content-type", "application/json")];
        let status = request(service.address, "POST", path, &invalid, b"{\"inputs\": [[\"\xff\"]]}").status;
        assert!(status == 400 || status == 422, "{path}: {status}");
    }
    for (body, expected) in [
        (r#"{"transaction_id": 1}"#, 422),
        (r#"{"label": 1}"#, 422),
        (r#"{"transaction_id": 1, "label": 2}"#, 422),
        (r#"{"transaction_id": 1, "label": "perhaps"}"#, 422),
        (r#"{"transaction_id": 1, "label": 1, "observed_at": "soon"}"#, 422),
        (r#"{"transaction_id": 1, "label": 1, "observed_at": "2200-01-01T00:00:00Z"}"#, 422),
        (r#"{"transaction_id": 1.5, "label": 1}"#, 422),
        (r#"{"transaction_id": 1, "label": 1"#, 400),
        (r#"{"transaction_id": 1, "label": 1}"#, 200),
    ] {
        assert_eq!(service.post("/labels", body).status, expected, "{body}");
    }
    unharmed(&service);
}
