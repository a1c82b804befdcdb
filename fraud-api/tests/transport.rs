//! HTTPS, and models that come from an address.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Service, bare_model, default_model, exchange, post, read_answer, request, settings, transaction};
use fraud_core::service::settings::Span;
use fraud_core::service::source::hex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};

/// A client that trusts one certificate and nothing else.
fn trusting(certificate: &str) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn over_tls(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
    name: &str,
    raw: &[u8],
) -> std::io::Result<String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = rustls::ClientConnection::new(config.clone(), name).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    stream.write_all(raw)?;
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    while !text.ends_with(b"}") {
        match stream.read(&mut buffer)? {
            0 => break,
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn https_serves_whoever_trusts_the_certificate_and_nobody_in_the_clear() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut settings = settings();
    settings.server.tls_cert_file = Some(certificate.clone());
    settings.server.tls_key_file = Some(key);
    settings.server.head_timeout = Span::millis(500);
    let service = Service::start(settings.clone());
    let body = transaction("a", 1, 2, 10.0, 1);
    let raw = format!("POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let config = trusting(&made.cert.pem());
    let answer = over_tls(service.address, &config, "localhost", raw.as_bytes()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Another name, or a client that trusts somebody else: no request gets through.
    assert!(over_tls(service.address, &config, "elsewhere", raw.as_bytes()).is_err());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    assert!(over_tls(service.address, &trusting(&other.cert.pem()), "localhost", raw.as_bytes()).is_err());
    // Plain HTTP to it is no request, and one that begins a handshake and stops holds nothing up.
    assert!(exchange(service.address, raw.as_bytes()).is_none_or(|answer| answer.status == 400));
    let idle = TcpStream::connect(service.address).unwrap();
    assert!(over_tls(service.address, &config, "localhost", raw.as_bytes()).unwrap().contains("\"duplicate\":true"));
    drop(idle);
    assert_eq!(service.metric("fraud_store_events "), 1.0);
    service.finish();
    // A key that is not the certificate's is noticed before anything is served.
    let foreign = folder.path().join("other.key");
    std::fs::write(&foreign, other.signing_key.serialize_pem()).unwrap();
    settings.server.tls_key_file = Some(foreign);
    assert!(Service::try_start(settings.clone()).err().unwrap().contains("TLS"));
    settings.server.tls_key_file = Some(certificate);
    assert!(Service::try_start(settings).err().unwrap().contains("tls.crt"));
}

/// Serves files by path on a free port, until dropped.
struct Files {
    address: SocketAddr,
    fetched: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Files {
    fn serve(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let served = Self { address: listener.local_addr().unwrap(), fetched: Arc::default(), over: Arc::default() };
        let (fetched, over) = (served.fetched.clone(), served.over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default();
                fetched.fetch_add(1, Ordering::Relaxed);
                let _ = match files.iter().find(|(name, _)| *name == path) {
                    Some((_, bytes)) => {
                        let head =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
                        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(bytes))
                    }
                    None => {
                        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    }
                };
            }
        });
        served
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

#[test]
fn a_model_from_an_address_must_be_the_one_that_was_named() {
    let model = bare_model();
    let files = Files::serve(vec![("/models/7.onnx", model.clone()), ("/cut", default_model()[..5_000].to_vec())]);
    let named = |path: &str, sha256: String| {
        let mut settings = settings();
        settings.model.url = Some(files.url(path));
        settings.model.sha256 = Some(sha256);
        settings
    };
    let hash = hex(&Sha256::digest(&model));
    let service = Service::start(named("/models/7.onnx", hash.clone()));
    let answer = service.predict(&transaction("a", 1, 2, 10.0, 1));
    assert_eq!((answer.status, answer.json()["model_version"].as_str()), (200, Some(&hash[..12])));
    assert!(service.metrics().contains(&hash), "the metrics name the file's hash");
    // It is fetched anew when asked.
    let before = files.fetched.load(Ordering::Relaxed);
    assert_eq!(request(service.management, "POST", "/admin/model/reload", &[], b"").status, 200);
    assert_eq!(files.fetched.load(Ordering::Relaxed), before + 1);

    let refused = |settings| Service::try_start(settings).err().unwrap();
    let other = refused(named("/models/7.onnx", "0".repeat(64)));
    assert!(other.contains(&hash) && other.contains("model.sha256"), "{other}");
    let cut = refused(named("/cut", hex(&Sha256::digest(&default_model()[..5_000]))));
    assert!(!cut.is_empty());
    assert!(refused(named("/none?token=secret", hash.clone())).contains("404"));
    assert!(!refused(named("/none?token=secret", hash.clone())).contains("secret"));
    let mut small = named("/models/7.onnx", hash);
    small.model.max_bytes = 1_000;
    assert!(!refused(small).is_empty());
}

#[test]
fn an_address_that_goes_away_leaves_the_model_that_serves() {
    let model = bare_model();
    let files = Files::serve(vec![("/m", model.clone())]);
    let mut settings = settings();
    settings.model.url = Some(files.url("/m"));
    settings.model.sha256 = Some(hex(&Sha256::digest(&model)));
    let service = Service::start(settings);
    drop(files);
    let refused = request(service.management, "POST", "/admin/model/reload", &[], b"");
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(service.predict(&transaction("a", 1, 2, 10.0, 1)).status, 200);
    // One connection, many requests, while nothing can be fetched.
    let mut stream = TcpStream::connect(service.address).unwrap();
    for n in 0..50 {
        let body = transaction(&n.to_string(), 1, 2, 1.0, 2);
        stream.write_all(&post("/predict", &body)).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    }
}
